"""Problem sources: JSON Lines, CSV, Parquet, Hugging Face datasets, and the demo's problems."""
