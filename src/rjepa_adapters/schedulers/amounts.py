"""Amounts of memory, as people write and read them."""

from __future__ import annotations

import re

_UNITS = {"": 0, "K": 10, "M": 20, "G": 30, "T": 40}
_AMOUNT = re.compile(r"\s*([\d.]+)\s*(?:([KMGT]?)(?:i?B|bytes)?)?\s*", re.I)


def parse_bytes(amount: int | str) -> int:
    """Bytes of `8GiB`, `512M`, `1.5 GB` or a plain number; a unit is a power of 1,024.

    Raises:
        ValueError: not an amount of memory.
    """
    if isinstance(amount, int):
        return amount
    found = _AMOUNT.fullmatch(amount)
    try:
        number = float(found[1]) if found else None
    except ValueError:
        number = None
    if found is None or number is None:
        raise ValueError(f"must be bytes, or an amount such as 8GiB or 512MiB, got {amount!r}")
    return int(number * (1 << _UNITS[(found[2] or "").upper()]))


def format_bytes(amount: float) -> str:
    """Bytes in the unit in which they are readable."""
    for unit, power in (("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if abs(amount) >= 1 << power:
            return f"{amount / (1 << power):.4g} {unit}"
    return f"{amount:.0f} bytes"
