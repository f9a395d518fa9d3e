"""The step strategies there are, and what an identity says of one.

The rules of a strategy have a version, which an identity names (`auto-2`), so that what was cut in
two ways never has one fingerprint. A strategy without a version means the newest; an identity
without one was written before there were any, and means the first.
"""

from __future__ import annotations

from ..errors import IdentityError

FIRST_STRATEGIES = ("auto", "markers", "lines", "sentences")
STRATEGIES = (*FIRST_STRATEGIES, "paragraphs")
NEWEST = 2
_BY_VERSION = {1: FIRST_STRATEGIES, 2: STRATEGIES}
KNOWN_STRATEGIES = (
    *STRATEGIES,
    *(f"{name}-{version}" for version, names in _BY_VERSION.items() for name in names),
)
KEEP, DROP = "keep", "drop"
THINKING = (KEEP, DROP)
_WITHOUT = " without thinking"
# What an identity may say.
STORED_STRATEGIES = (
    *FIRST_STRATEGIES,
    *(f"{name}-2{end}" for end in ("", _WITHOUT) for name in STRATEGIES),
)


def rules_of(strategy: str) -> tuple[str, int]:
    """A strategy's name without its version, and the version of the rules.

    Raises:
        ValueError: there is no such strategy.
    """
    if strategy not in KNOWN_STRATEGIES:
        raise ValueError(f"unknown step strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    name, _, version = strategy.partition("-")
    return name, int(version or NEWEST)


def stored_strategy(strategy: str, thinking: str = KEEP) -> str:
    """What an identity says of a strategy; the first rules' have no version there."""
    name, version = rules_of(strategy)
    if version == 1:
        return name
    return f"{name}-{version}{_WITHOUT if thinking == DROP else ''}"


def read_stored(stored: str) -> tuple[str, str]:
    """The strategy, version and all, and what becomes of thinking, of an identity.

    Raises:
        IdentityError: this version knows no such rules.
    """
    if stored not in STORED_STRATEGIES:
        raise IdentityError(
            f"steps were cut by the rules {stored!r}, which this version of rjepa does not know; "
            "update it"
        )
    strategy = stored.removesuffix(_WITHOUT)
    if strategy in FIRST_STRATEGIES:
        strategy += "-1"
    return strategy, DROP if stored.endswith(_WITHOUT) else KEEP
