"""Data sets: rows of typed columns, checked when they come in, kept as files, known to the store."""
