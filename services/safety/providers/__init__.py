"""Kinds of shields, one package each."""
