"""`inline::secrets`: keys, tokens and passwords in texts."""
