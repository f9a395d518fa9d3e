"""Share out limited resources among clients: connections, and bytes that are held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import attrs


@attrs.define(eq=False)
class Part:
    """The part of a resource that one connection or request has taken.

    Attributes:
        client: whose share it counts towards.
        size: the amount.
    """

    client: str
    size: int = 0


class Shares:
    """Gives parts of a resource to clients, evicting idle parts for new ones.

    Args:
        most: amount that all may take together.
        each: amount that one client may take.
        free: amount that any part may have, however much others took.
        times: how many times larger than another an idle part must be to be evicted for it.
    """

    def __init__(self, most: int, each: int, free: int = 0, times: int = 2) -> None:
        self._most, self._each, self._free, self._times = most, each, free, times
        self._taken = 0
        self._of: Counter[str] = Counter()
        # Parts whose callers are silent, the longest silent first, and how to end them.
        self._idle: dict[Part, Callable[[], None]] = {}

    def take(self, part: Part, amount: int) -> bool:
        """Add to a part if that much is left, and return whether it was; a lone part has no limit.

        If too little is left, the largest idle part is ended, provided that it is `times` larger;
        of equals, the one that has been idle longest.
        """
        while part.size + amount > self._free:
            own = part.size < self._of[part.client] > self._each - amount
            if not own and not part.size < self._taken > self._most - amount:
                break
            candidates = (
                one
                for one in self._idle
                if one is not part and (not own or one.client == part.client)
            )
            found = max(candidates, key=lambda one: one.size, default=None)
            if found is None or found.size < self._times * (part.size + amount):
                return False
            end = self._idle.pop(found)
            self.give_back(found)
            end()
        part.size += amount
        self._taken += amount
        self._of[part.client] += amount
        return True

    def give_back(self, part: Part, amount: int | None = None) -> None:
        """Return an amount of a part, by default all of it, to the resource."""
        amount = part.size if amount is None else amount
        part.size -= amount
        self._taken -= amount
        self._of[part.client] -= amount
        if self._of[part.client] <= 0:
            del self._of[part.client]
        if not part.size:
            self.busy(part)

    def idle(self, part: Part, end: Callable[[], None]) -> None:
        """Mark a part as idle, waiting for its caller; `end` is called to evict it."""
        self._idle.pop(part, None)
        self._idle[part] = end

    def busy(self, part: Part) -> None:
        """Mark a part as busy, so that it is not evicted."""
        self._idle.pop(part, None)


def client_of(host: str | None) -> str:
    """Return the client of an address: itself, or its /64 network in IPv6."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.exploded[:19]
