"""Synthetic data: models answer dialogs, a reward model scores the answers, a filter keeps some."""
