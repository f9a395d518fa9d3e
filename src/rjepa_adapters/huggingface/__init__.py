"""The Hugging Face backend: dense, GGUF and AWQ checkpoints, generated and encoded in batches."""
