"""Memory probes."""
