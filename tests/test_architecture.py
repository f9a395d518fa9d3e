"""The rules of the house that import-linter has no contract for."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import grimp
import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("rjepa_core", "rjepa_adapters", "rjepa_cli")
PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/src/*/__init__.py"))
USE_CASES = ("stores", "extraction", "scoring", "evaluation", "benchmark", "training", "grading")


@pytest.fixture(scope="module")
def graph() -> Iterator[grimp.ImportGraph]:
    added = [str(path) for path in ROOT.glob("plugins/*/src")]
    sys.path[:0] = added
    try:
        yield grimp.build_graph(*PACKAGES, *PLUGINS, exclude_type_checking_imports=True)
    finally:
        del sys.path[: len(added)]


def test_no_file_imports_itself_by_way_of_others(graph: grimp.ImportGraph) -> None:
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}
    assert _circles(imports) == []


def test_a_circle_would_be_found() -> None:
    imports = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": {"e"}}
    assert _circles(imports) == [["a", "b", "c"], ["e"]]


def test_use_cases_import_each_other_by_their_packages_alone(graph: grimp.ImportGraph) -> None:
    past_the_door = [
        f"{importer} -> {imported}"
        for importer in sorted(graph.modules)
        for imported in sorted(graph.find_modules_directly_imported_by(importer))
        if _use_case(importer) and _use_case(imported) not in (None, _use_case(importer))
        if imported.count(".") > 1
    ]
    assert past_the_door == []


def _use_case(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "rjepa_core" and parts[1:2] and parts[1] in USE_CASES else None


def _circles(imports: dict[str, set[str]]) -> list[list[str]]:
    """Modules that reach themselves, those of one circle together."""
    reached: dict[str, set[str]] = {}
    for module in imports:
        found: set[str] = set()
        waiting = list(imports[module])
        while waiting:
            one = waiting.pop()
            if one not in found:
                found.add(one)
                waiting.extend(imports.get(one, ()))
        reached[module] = found
    circular = [module for module in sorted(imports) if module in reached[module]]
    circles: list[list[str]] = []
    for module in circular:
        mates = [other for other in circular if other in reached[module]]
        circle = sorted(other for other in mates if module in reached[other])
        if circle not in circles:
            circles.append(circle)
    return circles
