"""The inference service: text generation and embeddings."""
