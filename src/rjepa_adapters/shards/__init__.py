"""Stores as shards of safetensors and Parquet, or as Hugging Face datasets.

All of it knows the store port alone, so that any store can be exported and imported.
"""
