"""Makes the demo models from a seed: text generation, tokenizer, training and evaluation."""
