"""Derive the commands that compute what a store lacks from its run history."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from rjepa_core.config import structure, unstructure
from rjepa_core.domain.identity import Identity
from rjepa_core.errors import UsageError
from rjepa_core.extraction.history import BEGIN
from rjepa_core.ports.store import LatentStore
from rjepa_core.settings import (
    DEFAULT_TEMPLATES,
    ExtractionSettings,
    ModelSettings,
    StepSettings,
    StoreSettings,
    rules_of,
)
from rjepa_core.text import shell_word

from ...options import FLAGS
from ...program import program

_KEPT_OF_A_RUN = ("allow_failures",)
Tree = dict[str, Any]


def commands(store: LatentStore, path: str) -> list[str]:
    """Return a command for each set of problems that runs on the store were asked for.

    It includes all settings from the store's identity and history that are not the defaults.

    Args:
        store: the store whose history is read.
        path: the `--store` of the commands.
    """
    identity = store.identity
    if identity is None:
        return []
    latest: dict[str, Mapping[str, Any]] = {}
    for run in store.history():
        problems = run.get("problems")
        if run.get("kind") not in (BEGIN, "extract") or not isinstance(problems, Mapping):
            continue
        asked = json.dumps([problems.get("sources"), problems.get("traces")])
        if asked not in latest or _asked(run) >= _asked(latest[asked]):
            latest[asked] = run
    return [command for run in latest.values() if (command := _command(run, identity, path))]


def _asked(run: Mapping[str, Any]) -> int:
    return int(run.get("asked", {}).get("problems", 0))


def _command(run: Mapping[str, Any], identity: Identity, path: str) -> str | None:
    try:
        settings = structure(ExtractionSettings, _tree(run, identity, path))
    except UsageError:
        # A run of another version, or with settings that a plugin no longer has.
        return None
    plain = unstructure(settings)
    defaults = unstructure(
        ExtractionSettings(model=ModelSettings(name="-"), store=StoreSettings(path="-"))
    )
    words = ["extract"]
    for key, value in _changed(plain, defaults, ""):
        words += _words(key, value)
    return " ".join([program(), *map(shell_word, [*words, "--resume"])])


def _tree(run: Mapping[str, Any], identity: Identity, path: str) -> Tree:
    space, generation = identity.space, identity.generation
    prompt = space.prompt
    tree: Tree = {key: run[key] for key in ("problems", "model", "backend", "scheduler")}
    tree["store"] = {"path": path}
    tree["run"] = {key: run["run"][key] for key in _KEPT_OF_A_RUN}
    tree["prompt"] = {
        "templates": dict(prompt.templates) or dict(DEFAULT_TEMPLATES),
        "system": prompt.system,
        "thinking": prompt.thinking,
    }
    steps = StepSettings.of(space.steps)
    # The store knows the version of its rules.
    tree["steps"] = {"strategy": rules_of(steps.strategy)[0], "thinking": steps.thinking}
    tree["encoding"] = {
        "layers": list(space.layers),
        "pooling": space.pooling,
        "logprobs": identity.logprobs,
        "store_dtype": space.store_dtype,
    }
    if generation.kind == "sampled" and not run["problems"].get("traces"):
        names = ("max_new_tokens", "temperature", "top_p", "top_k", "seed", "stop")
        tree["sampling"] = {name: getattr(generation, name) for name in names}
    return tree


def _changed(plain: Tree, defaults: Tree, where: str) -> Iterator[tuple[str, Any]]:
    """Yield full keys and values that are not the defaults."""
    for name, value in plain.items():
        key = f"{where}.{name}" if where else name
        default = defaults.get(name)
        if value == default:
            continue
        if isinstance(value, dict) and key != "prompt.templates":
            yield from _changed(value, default if isinstance(default, dict) else {}, key)
        else:
            yield key, value


def _words(key: str, value: Any) -> list[str]:
    """Return the arguments for a setting: its flag if it has one, else `--set`."""
    flag = next((flag for flag in FLAGS if flag.key == key), None)
    if isinstance(value, dict):
        # JSON in braces is read as YAML, so that a template may begin with any character.
        return ["--set", f"{key}={json.dumps(value, ensure_ascii=False)}"]
    if flag is None:
        text = ",".join(map(_text, value)) if isinstance(value, list) else _text(value)
        return ["--set", f"{key}={text}"]
    if flag.on:
        return [flag.name]
    values = value if isinstance(value, list) else [value]
    return [word for one in values for word in (flag.name, _text(one))]


def _text(value: Any) -> str:
    if value is None:
        return "none"
    return str(value).lower() if isinstance(value, bool) else str(value)
