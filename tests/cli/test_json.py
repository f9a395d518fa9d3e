"""Every command has `--json`, as the reference promises, and prints one object with it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import attrs
import click
import pytest
from click.testing import Result

from rjepa_cli.commands import serve
from rjepa_core.plugins import Registry, ServiceAdapter

from .test_help import ALL, GROUPS, find

Invoke = Callable[..., Result]


@pytest.mark.parametrize("name", [name for name in ALL if name not in (*GROUPS, "demo")])
def test_every_command_has_it(name: str) -> None:
    command, context = find(name)
    params = [p for p in command.get_params(context) if isinstance(p, click.Option)]
    assert any("--json" in param.opts for param in params)


@pytest.mark.parametrize(
    "arguments",
    [
        "show s",
        "show s p1",
        "show s --history",
        "show s --failures",
        "grade s",
        "plugins",
        "plugins seeded",
        "store verify s",
        "store compact s",
        "store rm s p1 --yes",
        "store export s shards",
        "store repair s fixed",
        "store merge all s",
        "extract --problems problems.jsonl --backend seeded --model m --store n",
        "extract --problems problems.jsonl --backend seeded --model m --store n --dry-run",
        "extract --problems problems.jsonl --backend seeded --model m --store n --print-config",
        "train --store s --out run --print-config",
    ],
)
def test_one_object(store: str, invoke: Invoke, arguments: str) -> None:
    result = invoke(*arguments.split(), "--json")
    assert result.exit_code == 0, result.stderr
    assert isinstance(json.loads(result.stdout), dict)


def test_a_service_says_where_it_listens(invoke: Invoke, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = attrs.evolve(
        Registry().find(ServiceAdapter, "http"),
        serve=lambda served, options, say: say("serving http://127.0.0.1:8100"),
        check=lambda settings: None,
    )

    @contextmanager
    def opened(*arguments: Any) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(stored=None)

    monkeypatch.setattr(serve, "open_served", opened)
    monkeypatch.setattr(Registry, "find", lambda self, kind, name: adapter)
    result = invoke("serve", "--world-model", "runs/wm", "--json")
    assert json.loads(result.stdout) == {
        "address": "http://127.0.0.1:8100",
        "world_model": "runs/wm",
        "model": None,
        "store": None,
    }
