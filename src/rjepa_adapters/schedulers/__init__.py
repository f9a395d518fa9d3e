"""The built-in batch schedulers: fixed and adaptive."""
