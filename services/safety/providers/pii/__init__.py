"""`inline::pii`: what identifies a person, found by its form and checked by what is known about it."""
