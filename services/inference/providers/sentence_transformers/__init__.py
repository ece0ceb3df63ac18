"""`inline::sentence-transformers`: embedding models in this process."""
