"""The API reference: what Griffe makes of the source with the site's extension."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import pkgutil
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import griffe
import pytest
import yaml
from pages import DOCS

import rjepa_core

CORE = (DOCS / "reference/api/core.md").read_text()


def load(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, DOCS / "site" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def package() -> griffe.Module:
    extension = load("attrs_classes").AttrsClasses()
    found = griffe.load(
        "rjepa_core",
        search_paths=[DOCS.parent / "src"],
        extensions=griffe.Extensions(extension),
        docstring_parser="google",
    )
    assert isinstance(found, griffe.Module)
    return found


def defaults(package: griffe.Module, path: str) -> dict[str, str]:
    found = package[path]
    function = found["__init__"] if found.is_class else found
    return {p.name: str(p.default) for p in function.parameters if p.name != "self"}


def test_every_name_has_its_place_on_the_core_s_page() -> None:
    elsewhere = {
        "hookimpl",
        "RJepaError",
        "UsageError",
        *(n for n in rjepa_core.__all__ if n.endswith("Settings")),
    }
    described = re.findall(r"^::: rjepa_core\.(\w+)$", CORE, re.MULTILINE)
    assert sorted(described) == sorted(set(rjepa_core.__all__) - elsewhere)
    listed = re.findall(r"^\| \[`(\w+)`\]", CORE, re.MULTILINE)
    functions = {n for n in described if not inspect.isclass(getattr(rjepa_core, n))}
    assert set(listed) == functions
    assert set(described[: len(listed)]) == functions, "functions come first"


def test_a_class_is_described_once() -> None:
    page = type("Page", (), {"file": type("File", (), {"src_uri": "reference/api/ports.md"})})
    text = (DOCS / "reference/api/ports.md").read_text()
    shown = load("one_home").on_page_markdown(text, page=page)
    [members] = re.findall(r"::: rjepa_core\.ports\.store\n    options: \{members: (.*)\}", shown)
    assert "Snapshot" in members
    assert "LatentStore" not in members
    assert "[`LatentStore`][rjepa_core.LatentStore]" in shown


def test_a_package_without_a_list_shows_what_it_imports() -> None:
    public = load("one_home").public
    assert {"EvaluateSettings", "Table", "damage_store"} <= set(public(rjepa_core.evaluation))
    assert "Mapping" not in public(importlib.import_module("rjepa_core.ports.store"))


def test_a_store_has_all_of_its_methods(package: griffe.Module) -> None:
    """Those it inherits, and the special ones that a reader uses, each with a docstring."""
    text = (DOCS.parent / "mkdocs.yml").read_text()
    assert "inherited_members: true" in text
    shown = re.search(r'"\^(__\([\w|]+\)__)\$"', text)
    assert shown
    members = package["ports.store.LatentStore"].all_members
    for name in ("write", "commit", "__len__", "__getitem__", "__contains__", "__iter__"):
        assert members[name].docstring, name
    for name in ("__len__", "__getitem__", "__contains__", "__iter__", "__enter__"):
        assert re.fullmatch(shown[1], name)
        assert members[name].docstring, name


def test_defaults_are_values(package: griffe.Module) -> None:
    assert defaults(package, "domain.identity.Generation") == {
        "kind": "None",
        **dict.fromkeys(("max_new_tokens", "temperature", "top_p", "top_k", "seed"), "None"),
        "keep_notes": "False",
        "stop": "()",
        "end_ids": "None",
        "sampler": "None",
    }
    assert defaults(package, "grading.summarise") == {"store": "None", "draws": "1000"}
    assert defaults(package, "settings.PromptSettings")["templates"] == "…"
    assert defaults(package, "settings.ExtractionSettings")["scheduler"] == (
        "AdapterSettings(name='adaptive')"
    )
    assert "SHORT" not in defaults(package, "settings.ProblemSettings")


def test_no_internal_is_in_a_signature(package: griffe.Module) -> None:
    shown = {
        f"{found.path}({parameter.name}={parameter.default})"
        for found in objects(package)
        if isinstance(found, griffe.Function) and not found.path.startswith("rjepa_core.testing")
        for parameter in found.parameters
        if re.search(r"\blambda\b|\b_[A-Za-z]|\blater\(", str(parameter.default))
    }
    assert shown == set()


def objects(parent: griffe.Object) -> Iterator[griffe.Object]:
    yield parent
    for member in parent.members.values():
        if isinstance(member, griffe.Object):
            yield from objects(member)


def test_errors_are_links_and_returns_are_whole(package: griffe.Module) -> None:
    options = yaml.safe_load(
        re.findall(r"docstring_options: (\{.*\})", (DOCS.parent / "mkdocs.yml").read_text())[0]
    )
    for path in ("ports.store.LatentStore.get", "ports.store.LatentStore.read_latents"):
        for section in package[path].docstring.parse("google", **options):
            if section.kind is griffe.DocstringSectionKind.raises:
                named = {str(one.annotation): one.annotation for one in section.value}
                found = named["DamagedRecordError"].canonical_path
                assert found == "rjepa_core.errors.DamagedRecordError"
    for found in objects(package):
        if not isinstance(found, griffe.Function):
            continue
        sections = found.docstring.parse("google", **options) if found.docstring else []
        for section in sections:
            if section.kind is griffe.DocstringSectionKind.returns:
                assert len(section.value) == 1, found.path
                assert str(section.value[0].annotation) == str(found.returns), found.path


def test_a_function_with_the_name_of_its_module_is_a_function(package: griffe.Module) -> None:
    assert package["grade"].final_target.path == "rjepa_core.grading.grade.grade"


SECTIONS = re.compile(r"^( *)(Attributes|Args|Raises):\n((?:\1 +.*(?:\n|$)|\n)+)", re.MULTILINE)


def entries() -> Iterator[tuple[str, str]]:
    """Every entry of a section of a docstring, with the place of it."""
    for module in pkgutil.walk_packages(rjepa_core.__path__, "rjepa_core."):
        if ".testing" not in module.name:
            found = importlib.import_module(module.name)
            for thing in vars(found).values():
                if getattr(thing, "__module__", None) != module.name:
                    continue
                for one in [thing, *vars(thing).values()] if inspect.isclass(thing) else [thing]:
                    if not inspect.isroutine(one) and not isinstance(one, type | property):
                        continue
                    text = inspect.cleandoc(getattr(one, "__doc__", None) or "")
                    for section in SECTIONS.finditer(text):
                        body = textwrap.dedent(section[3])
                        for entry in re.split(r"\n(?=\S)", body):
                            yield f"{module.name}: {entry}", entry


def test_an_entry_of_a_docstring_is_names_and_a_text_that_says_something() -> None:
    """A reader of the site meets it alone: what it is like is to be found elsewhere."""
    wrong = [
        place
        for place, entry in entries()
        if not re.match(r"[*\w.]+(, [*\w.]+)*: \S", entry)
        or re.search(r": as for `|see their class|constants below", entry)
    ]
    assert wrong == []
