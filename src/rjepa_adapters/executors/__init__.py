"""Executors: where the extraction loop runs."""
