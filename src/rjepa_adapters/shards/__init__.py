"""Stores as shards of safetensors and Parquet and as Hugging Face datasets, through the store port alone."""
