"""Scoring as a service: HTTP at the edge, batching behind it."""
