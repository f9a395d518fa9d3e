"""The benchmark use case: how fast a model and a machine are at which size, and what to choose."""
