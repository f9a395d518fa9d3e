"""The version of the distribution `rjepa`."""

__version__ = "0.1.0"
