"""Prompts: from messages and tools to what a model reads."""
