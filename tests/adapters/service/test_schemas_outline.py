"""JSON bodies that are refused unparsed, and those that would take long."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.service.problem_details import ProblemError
from rjepa_adapters.service.schemas import check_outline

KNOWN = ("space", "latents", "a/b")
MIB = 1024**2


def fault(body: bytes, commas: int = 1000, quotes: int = 1000) -> tuple[str, str | None] | None:
    try:
        check_outline(body, KNOWN, commas, quotes)
    except ProblemError as error:
        return error.detail, error.pointer
    return None


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (b'{"space": "x", "latents": [1, 2]}', None),
        (b'{"space": "x", "latents": [], "space": "x"}', ("comes twice", "/space")),
        (b'{"space": 1, "\\u0073pace": 2}', ("comes twice", "/space")),
        (b'{"space":1,"latents":2,"latents" \n: 3}', ("comes twice", "/latents")),
        (b'{"a/b": 1, "a/b": 2}', ("comes twice", "/a~1b")),
        (b'{"other": 1}', ("is not known", "/other")),
        (b'{"space": {"a": 1}}', ("is not known", "/a")),
        # What stands in texts is no key.
        (rb'{"space": "say \"space\": \"latents\": x", "latents": "\\"}', None),
        (b'{"space": "x,", "latents": ["space", "space", ":"]}', None),
        # What is no JSON is the parser's.
        (b'{"space": "' + b"x" * 99, None),
        (b'{"space\\x": 1, "space\\x": 2}', None),
        (b"\xff\xfe", None),
        (b"", None),
    ],
)
def test_keys(body: bytes, wanted: tuple[str, str] | None) -> None:
    assert fault(body) == wanted


@given(st.dictionaries(st.sampled_from(KNOWN), st.text() | st.lists(st.text() | st.floats())))
def test_what_is_no_fault_is_left_alone(fields: dict[str, object]) -> None:
    for ascii_only in (True, False):
        text = json.dumps(fields, ensure_ascii=ascii_only)
        assert fault(text.encode("utf-8", "surrogatepass"), 10**6, 10**6) is None


@given(st.lists(st.tuples(st.sampled_from(KNOWN), st.text()), max_size=4))
def test_twice_is_found_whatever_stands_between(pairs: list[tuple[str, str]]) -> None:
    fields = ", ".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in pairs)
    twice = len({key for key, _ in pairs}) < len(pairs)
    found = fault(f"{{{fields}}}".encode(), 10**6, 10**6)
    assert (found is not None and found[0] == "comes twice") == twice


@pytest.mark.parametrize(
    "body",
    [
        b"{" + b",".join(b'"%d":1' % i for i in range(1_000_000)) + b"}",
        b'{"space":[' + b'"",' * 4_000_000 + b'""]}',
        b'{"latents":[' + b"[]," * 4_000_000 + b"[]]}",
        b'{"space":"' + b'\\"' * (8 * MIB),
        b'{"space":"' + b"\\" * (16 * MIB),
        b'"' * (16 * MIB),
        b"[" * (16 * MIB),
        b" " * (16 * MIB),
    ],
)
def test_no_body_takes_long(body: bytes) -> None:
    began = time.process_time()
    fault(body)
    fault(body, commas=10**9)
    assert time.process_time() - began < 0.5
