"""Executors, which decide where the extraction loop runs."""
