"""Who gets what there is only so much of, and who has to make room."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.service.shares import Part, Shares, client_of


class Room:
    """Shares whose parts are kept by name; whoever has to go is noted."""

    def __init__(self, most: int, each: int, free: int = 0, times: int = 2) -> None:
        self.shares, self.gone = Shares(most, each, free, times), list[str]()
        self.parts: dict[str, Part] = {}

    def take(self, client: str, name: str, amount: int, idle: bool = True) -> bool:
        part = self.parts.setdefault(name, Part(client))
        if idle:
            self.shares.idle(part, lambda: self.gone.append(name))
        return self.shares.take(part, amount)


def test_a_client_has_a_share_and_all_have_a_limit() -> None:
    room = Room(most=10, each=6)
    assert room.take("a", "a1", 4, idle=False)
    assert room.take("a", "a2", 2, idle=False)
    assert not room.take("a", "a3", 1, idle=False)
    assert room.take("b", "b1", 4, idle=False)
    assert not room.take("b", "b2", 1, idle=False)
    room.shares.give_back(room.parts["a1"])
    assert room.take("b", "b2", 1, idle=False)
    assert not room.gone


def test_the_largest_that_waits_for_its_caller_makes_room() -> None:
    room = Room(most=100, each=100)
    assert room.take("a", "busy", 50, idle=False)
    assert room.take("a", "large", 30)
    assert room.take("a", "small", 19)
    assert room.take("b", "new", 5)
    assert room.gone == ["large"]
    assert room.parts["large"].size == 0
    # Nobody goes for one that would be about as large.
    assert room.take("b", "new", 20)
    assert not room.take("b", "new", 10)
    assert room.gone == ["large"]


def test_only_a_client_s_own_make_room_where_its_share_is_full() -> None:
    room = Room(most=100, each=10, times=1)
    assert room.take("b", "other", 10)
    assert room.take("a", "first", 5)
    assert room.take("a", "second", 5)
    assert room.take("a", "new", 1)
    assert room.gone == ["first"]


def test_of_connections_the_one_that_was_silent_longest_goes() -> None:
    room = Room(most=3, each=3, times=1)
    assert all(room.take("a", name, 1) for name in ("1", "2", "3"))
    room.shares.busy(room.parts["1"])
    room.shares.idle(room.parts["2"], lambda: room.gone.append("2"))
    assert room.take("a", "4", 1)
    assert room.gone == ["3"]


def test_a_little_and_what_is_alone_always_fits() -> None:
    room = Room(most=100, each=50, free=10)
    assert room.take("a", "huge", 500, idle=False)
    assert room.take("a", "little", 10, idle=False)
    assert not room.take("a", "little", 1, idle=False)
    assert not room.take("b", "other", 11, idle=False)


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5), st.integers(0, 40))))
def test_no_more_is_given_than_there_is(steps: list[tuple[str, int, int]]) -> None:
    room = Room(most=60, each=40)
    for client, number, amount in steps:
        name = f"{client}{number}"
        if amount:
            room.take(client, name, amount, idle=number % 2 == 0)
        elif name in room.parts:
            room.shares.give_back(room.parts[name])
        sizes = {name: part.size for name, part in room.parts.items() if part.size}
        assert sum(sizes.values()) <= 60 or len(sizes) == 1
        for one in "ab":
            own = [size for name, size in sizes.items() if name[0] == one]
            assert sum(own) <= 40 or len(own) == 1


@pytest.mark.parametrize(
    ("host", "client"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:0db8:0001:0002"),
        ("fe80::1%eth0", "fe80:0000:0000:0000"),
        ("testclient", "testclient"),
        (None, ""),
    ],
)
def test_who_an_address_stands_for(host: str | None, client: str) -> None:
    assert client_of(host) == client
