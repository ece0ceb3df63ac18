"""Models of other families: their own chat template, and vLLM's tool parser for it."""
