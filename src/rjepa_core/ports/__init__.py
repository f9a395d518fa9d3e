"""The ports: the interfaces through which the core uses what lies outside it."""
