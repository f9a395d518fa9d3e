"""The grading use case: whether the answers in a store are right."""

from .normalise import comparable, same_text
from .refusals import needs_reference

__all__ = ["comparable", "needs_reference", "same_text"]
