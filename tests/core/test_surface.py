"""What `rjepa_core` exports: the API and nothing else, loaded in no time, each name explained."""

from __future__ import annotations

import importlib
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import rjepa_core

# Exported by version 0.1.0; code written against these runs.
OF_0_1 = [
    "AdapterSettings",
    "DataSettings",
    "EncodingSettings",
    "ExtractionSettings",
    "Failure",
    "Generation",
    "GivenSolution",
    "Grade",
    "GradeSummary",
    "Identity",
    "LatentRecord",
    "LatentSpace",
    "MaskerSettings",
    "ModelSettings",
    "Problem",
    "ProblemSettings",
    "PromptSettings",
    "RJepaError",
    "RecordKey",
    "Registry",
    "RunSettings",
    "SamplingSettings",
    "StepSettings",
    "StepSpan",
    "StoreSettings",
    "Summary",
    "Trace",
    "TrainSettings",
    "TrainingSettings",
    "UsageError",
    "WorldModelSettings",
    "grade",
    "hookimpl",
    "open_extraction",
    "open_store",
    "open_world_model",
    "run_extraction",
    "score",
    "summarise",
    "train_world_model",
]
ROOMS = "domain errors config text ports plugins extraction scoring evaluation grading training"
# What a number is counted in, or what a text or count is of.
UNIT = re.compile(
    r"second|hour|minute|byte|token|step|epoch|share|probabilit|weight|nats|rate|ratio|likeliest"
    r"|temperature|rises to 1|percent|norm|width|takes the|strength|number|disk|spread|mean"
    r"|mass|0 to 1|0 always|largest|dropout|in the blocks|dimensions|validation value|AdamW"
    r"|learning|lr`"
)


def test_dir_shows_the_api_and_nothing_else() -> None:
    assert dir(rjepa_core) == sorted([*rjepa_core.__all__, "__version__"])
    assert not [name for name in dir(rjepa_core) if inspect.ismodule(getattr(rjepa_core, name))]


def test_every_name_of_before_is_there() -> None:
    assert set(OF_0_1) <= set(dir(rjepa_core))
    for name in dir(rjepa_core):
        assert getattr(rjepa_core, name) is not None


def test_modules_are_there_without_being_shown() -> None:
    for room in ROOMS.split():
        assert importlib.import_module(f"rjepa_core.{room}") is getattr(rjepa_core, room)
    with pytest.raises(AttributeError, match="no attribute 'open_stor'"):
        rjepa_core.open_stor  # noqa: B018


def test_the_import_takes_no_time_and_no_torch() -> None:
    # The process's own time: other programs may keep the machine busy.
    code = (
        "import sys, time; began = time.process_time(); import rjepa_core; "
        "print(time.process_time() - began); dir(rjepa_core); "
        "[getattr(rjepa_core, name) for name in dir(rjepa_core)]; "
        "print([m for m in ('torch', 'transformers', 'pandas', 'pyarrow') if m in sys.modules])"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        for _ in range(3)
    ]
    assert min(float(run.stdout.split()[0]) for run in runs) < 0.3
    assert all(run.stdout.split("\n")[1] == "[]" for run in runs)


def faults(thing: Any) -> Iterator[str]:
    """What a docstring lacks.

    Every class and function has one. A class of values describes each of its fields, a function
    each of its parameters, and what it raises. Where a field, a parameter or a result is an array,
    its shape stands there as `[…]`; where a field is a float, what it is counted in.
    """
    doc = inspect.getdoc(thing) or ""
    if not doc or doc.startswith(f"{getattr(thing, '__name__', '')}("):
        yield "has no docstring"
        return
    if inspect.isclass(thing):
        if attrs.has(thing):
            yield from _undescribed(doc, "Attributes", _fields(thing))
        return
    if inspect.isfunction(thing):
        parameters = inspect.signature(thing, eval_str=False).parameters.values()
        described = {
            p.name: str(p.annotation) for p in parameters if p.default is inspect.Parameter.empty
        }
        if len(parameters) > 1:
            described = {p.name: str(p.annotation) for p in parameters}
        yield from _undescribed(doc, "Args", described)
        if "Raises:" not in doc:
            yield "does not say what it raises"
        result = str(inspect.signature(thing).return_annotation)
        if re.search("Array|Floats|Vectors", result) and "[" not in doc:
            yield "gives no shape of its result"


def _fields(cls: type[Any]) -> dict[str, str]:
    return {
        field.name: str(field.type) for field in attrs.fields(cls) if not field.name.startswith("_")
    }


def _undescribed(doc: str, section: str, kinds: dict[str, str]) -> Iterator[str]:
    found = re.search(rf"^{section}:\n((?:    .*\n?|\n)+)", doc, re.M)
    entries = dict[str, str]()
    for entry in re.split(r"\n(?=    \S)", f"\n{found[1]}" if found else ""):
        names, _, text = " ".join(entry.split()).partition(": ")
        # `top_p, top_k (int32 [P]): …`
        for name in re.sub(r"\([^)]*\)|`", "", names).split(","):
            entries[name.strip()] = f"{names} {text}"
    for name, kind in kinds.items():
        if name not in entries:
            yield f"does not describe {name}"
        elif re.search("NDArray|Floats|Vectors|TokenIds", kind) and "[" not in entries[name]:
            yield f"gives no shape of {name}"
        elif re.search(r"\bfloat\b", kind) and not UNIT.search(f"{name}: {entries[name]}"):
            yield f"gives no unit of {name}"


@pytest.mark.parametrize("name", rjepa_core.__all__)
def test_every_public_name_is_explained(name: str) -> None:
    assert list(faults(getattr(rjepa_core, name))) == []


def test_what_is_not_explained_is_found() -> None:
    @attrs.frozen
    class Bare:
        """Holds numbers.

        Attributes:
            latents: of the steps.
            wait: how long.
        """

        latents: "NDArray"  # type: ignore[name-defined]  # noqa: F821, UP037
        wait: float = 0.0
        more: int = 0

    def bare(one: int, two: int) -> None:
        """Does something.

        Args:
            one: a number.
        """

    assert list(faults(Bare)) == [
        "gives no shape of latents",
        "gives no unit of wait",
        "does not describe more",
    ]
    assert list(faults(bare)) == ["does not describe two", "does not say what it raises"]
    assert list(faults(lambda: 0)) == ["has no docstring"]
