"""What reads rows: one module a form of file."""
