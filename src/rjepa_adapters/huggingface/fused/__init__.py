"""Generate and encode in one pass, over rows in slots that are refilled as soon as one ends."""
