"""`inline::vllm`: text generation and embeddings by vLLM's AsyncLLM in the service's own process, its engine core in another."""
