"""`inline::llama-guard`: generative guard models that the inference service serves."""
