"""What plugins take from the project: the core alone, and names that it has."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

PLUGINS = Path(__file__).parents[2] / "plugins"
SOURCES = sorted(PLUGINS.glob("*/src/**/*.py"))
# What makes its vectors comparable with those of the Hugging Face backend is that backend's own
# code: the checkpoint's identity, and how texts become tokens. To be moved where a plugin may look.
SHARED = {"rjepa-vllm/src/rjepa_vllm/checkpoint.py", "rjepa-vllm/src/rjepa_vllm/prompts.py"}


def imports(path: Path) -> Iterator[tuple[str, str | None]]:
    """Modules, and the name taken from each; relative ones are the plugin's own."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, None) for alias in node.names)


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(PLUGINS)))
def test_the_core_alone_and_names_that_it_has(path: Path) -> None:
    """The Ray, the Prefect and the vLLM plugin are tested in environments of their own; that the
    core went on without them shows here."""
    for module, name in imports(path):
        root = module.partition(".")[0]
        shared = str(path.relative_to(PLUGINS)) in SHARED and "rjepa_adapters.huggingface" in module
        assert shared or root not in ("rjepa_cli", "rjepa_adapters"), f"{path}: imports {module}"
        if root == "rjepa_core":
            found = importlib.import_module(module)
            if name is not None and not hasattr(found, name):
                importlib.import_module(f"{module}.{name}")


def test_there_are_plugins_to_look_at() -> None:
    names = {path.relative_to(PLUGINS).parts[0] for path in SOURCES}
    assert names >= {"rjepa-prefect", "rjepa-ray", "template"}
