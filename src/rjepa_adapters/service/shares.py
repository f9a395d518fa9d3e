"""Who may take how much of what there is only so much of: connections, bytes, places in a queue."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from ipaddress import IPv6Address, ip_address

import attrs


@attrs.define(eq=False)
class Part:
    """What one connection or request has taken.

    Attributes:
        client: whose share it counts to.
        size: how much it is.
    """

    client: str
    size: int = 0


class Shares:
    """Gives parts of a whole to clients, and has them make room for each other.

    Args:
        most: that all may take together.
        each: that one client may take.
        free: that a part may have whatever others took.
        times: how much larger than another a part must be to make room for it.
    """

    def __init__(self, most: int, each: int, free: int = 0, times: int = 2) -> None:
        self._most, self._each, self._free, self._times = most, each, free, times
        self._taken = 0
        self._of: Counter[str] = Counter()
        # Whose caller is waited for, the longest first, and how they are made to end.
        self._idle: dict[Part, Callable[[], None]] = {}

    def take(self, part: Part, amount: int) -> bool:
        """Add to a part, if that much is left; where there is no other, it may be of any size.

        Where it is not, the largest part that only waits for its caller is ended, if it is so much
        larger; of equals the one that has waited longest.
        """
        while part.size + amount > self._free:
            own = part.size < self._of[part.client] > self._each - amount
            if not own and not part.size < self._taken > self._most - amount:
                break
            crowd = (
                one
                for one in self._idle
                if one is not part and (not own or one.client == part.client)
            )
            found = max(crowd, key=lambda one: one.size, default=None)
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
        """Take from a part; all of it where no amount is named."""
        amount = part.size if amount is None else amount
        part.size -= amount
        self._taken -= amount
        self._of[part.client] -= amount
        if self._of[part.client] <= 0:
            del self._of[part.client]
        if not part.size:
            self.busy(part)

    def idle(self, part: Part, end: Callable[[], None]) -> None:
        """From now on the part's caller is waited for; `end` is called to have its room."""
        self._idle.pop(part, None)
        self._idle[part] = end

    def busy(self, part: Part) -> None:
        """The part is worked on, and makes room for nobody."""
        self._idle.pop(part, None)


def client_of(host: str | None) -> str:
    """Who an address stands for: itself, or the /64 network that one line has in IPv6."""
    try:
        address = ip_address((host or "").partition("%")[0])
    except ValueError:
        return host or ""
    if not isinstance(address, IPv6Address):
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return address.exploded[:19]
