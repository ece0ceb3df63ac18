"""`inline::rules`: patterns, topics, lengths and languages that an operator sets."""
