"""The ports: what the core asks of the world around it."""
