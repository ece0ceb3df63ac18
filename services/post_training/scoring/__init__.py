"""Scoring answers by a reward model, which the inference service serves."""
