"""The available step strategies, and how an identity names one.

The rules of a strategy have a version, which an identity includes (`auto-2`), so that steps cut in
different ways never share a fingerprint. In the settings a strategy without a version means the
newest; in an identity it means the first, because identities had no versions then.
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
# The names that an identity may contain.
STORED_STRATEGIES = (
    *FIRST_STRATEGIES,
    *(f"{name}-2{end}" for end in ("", _WITHOUT) for name in STRATEGIES),
)


def rules_of(strategy: str) -> tuple[str, int]:
    """Return a strategy's name without its version, and the version of its rules.

    Raises:
        ValueError: there is no such strategy.
    """
    if strategy not in KNOWN_STRATEGIES:
        raise ValueError(f"unknown step strategy {strategy!r}; known: {', '.join(STRATEGIES)}")
    name, _, version = strategy.partition("-")
    return name, int(version or NEWEST)


def stored_strategy(strategy: str, thinking: str = KEEP) -> str:
    """Return a strategy's name in an identity; the first rules have no version there."""
    name, version = rules_of(strategy)
    if version == 1:
        return name
    return f"{name}-{version}{_WITHOUT if thinking == DROP else ''}"


def read_stored(stored: str) -> tuple[str, str]:
    """Return the strategy (with its version) and the treatment of thinking that an identity names.

    Raises:
        IdentityError: this version of rjepa does not know the rules.
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
