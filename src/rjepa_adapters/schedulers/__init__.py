"""Batch schedulers."""
