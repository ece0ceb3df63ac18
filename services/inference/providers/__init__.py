"""What generates: one adapter each."""
