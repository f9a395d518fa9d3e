"""Generating and encoding in one pass: rows in slots, refilled as soon as one ends."""
