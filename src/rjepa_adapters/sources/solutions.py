"""Read the solutions of a record, in any form, and the answers inside them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rjepa_core import text as words
from rjepa_core.domain.answer import marked_answer
from rjepa_core.domain.problem import GivenSolution

from .fields import CORRECT, LABELS, NAMES, SOLUTION_NAMES, Fields
from .record import Record, is_null, kind_of, plain_name, scalar_text

# A list in one of these fields is the steps of one solution; elsewhere it is several solutions.
_STEP_NAMES = NAMES["steps"]
_PLURALS = ("solutions", "responses", "completions")
_STEP_TEXTS = ("text", "content", "step", "statement")
_SOLUTION_TEXTS = (*NAMES["solution"], "text", "content", "generation", "output", "answer")
_DATA_SET_NAMES = {"alpaca": ("output",), "mbpp": ("code",)}
LONGEST_LABEL = 200
_TRUTH = {"true": "true", "1": "true", "yes": "true", "false": "false", "0": "false", "no": "false"}


def given_solutions(
    fields: Fields, record: Record, keep_notes: bool = False, reply: str | None = None
) -> tuple[GivenSolution, ...]:
    """Return a record's solutions, with the labels that belong to each.

    Args:
        reply: the assistant's answer in a conversation, used if no field holds a solution.

    Raises:
        InputError: there is no solution, or one of a type that cannot be read.
    """
    found = _find(fields, record, reply)
    shared = _labels(record.values, record.plain)
    correct = _own_labels(record, len(found))
    result = []
    for i, (parts, labels) in enumerate(found):
        metadata = {**shared, **labels}
        if correct is not None:
            metadata.setdefault("correct", correct[i])
        result.append(_solution(parts, metadata, keep_notes))
    return tuple(result)


# A solution before its notes are dropped: a text or its steps, and its own labels.
_Found = tuple[str | list[str], dict[str, str]]


def _find(names: Fields, record: Record, reply: str | None) -> list[_Found]:
    for ours in ("steps", "solution"):
        if field := names.given.get(ours):
            value = record.values[field]
            return _read(record, field, "" if is_null(value) else value, ours == "steps")
    fields = names.candidates(record, "steps") + names.candidates(record, "solution")
    if "solution" not in names.given:
        fields += record.present(_DATA_SET_NAMES.get(_data_set(record), ()))
    unreadable: str | None = None
    empty: str | None = None
    for field in fields:
        value = record.values[field]
        if is_null(value):
            continue
        if not isinstance(value, str | list | dict):
            unreadable = unreadable or field
        elif _is_empty(value):
            empty = empty or field
        else:
            return _read(record, field, value, plain_name(field) in _STEP_NAMES)
    if nested := list(_nested(record)):
        return nested
    if reply is not None:
        return [(record.text("assistant", "solution", reply), {})]
    if empty is not None:
        return [("", {})]
    for field in names.candidates(record, "answer"):
        value = record.values[field]
        if isinstance(value, str) and (is_worked(value) or not value.strip()):
            return [(record.text(field, "solution"), {})]
    if unreadable is not None:
        raise _wrong_type(record, unreadable, record.values[unreadable])
    if fields:
        return [("", {})]
    raise record.error(
        f"no solution for problems.traces; the row has {record.listed()}; "
        "name its field: problems.fields.solution=NAME or problems.fields.steps=NAME"
    )


def _data_set(record: Record) -> str:
    """Return the data set whose names for a solution are too common to be used for others."""
    if "instruction" in record.plain:
        return "alpaca"
    return "mbpp" if {"code", "test_list"} <= record.plain.keys() else ""


def _is_empty(value: str | list[Any] | dict[str, Any]) -> bool:
    return not (value.strip() if isinstance(value, str) else value)


def _read(record: Record, field: str, value: Any, as_steps: bool) -> list[_Found]:
    """Return the solutions in one field."""
    if isinstance(value, str):
        unpacked = _unpack(value) if as_steps or plain_name(field) in _PLURALS else None
        if unpacked is None:
            return [(record.text(field, "solution", value), {})]
        value = unpacked
    if isinstance(value, Mapping):
        return [_from_object(record, field, value)]
    if not isinstance(value, list):
        raise _wrong_type(record, field, value)
    if not value:
        return [("", {})]
    if all(isinstance(item, list) for item in value):
        return [(_steps(record, field, item), {}) for item in value]
    if as_steps:
        return [(_steps(record, field, value), {})]
    return [_one_of_several(record, field, item) for item in value]


def _one_of_several(record: Record, field: str, item: Any) -> _Found:
    if isinstance(item, str):
        return record.text(field, "solution", item), {}
    if isinstance(item, Mapping):
        return _from_object(record, field, item)
    if is_null(item):
        return "", {}
    raise _wrong_type(record, field, item)


def _unpack(text: str) -> list[Any] | None:
    """Return the list in a text of JSON, as a CSV cell holds it; None if it is no such list."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    # `[3]` is the text of a solution that happens to be JSON; steps and solutions are texts.
    return value if isinstance(value, list) and not _holds_scalars(value) else None


def _holds_scalars(value: list[Any]) -> bool:
    return any(not isinstance(item, str | list | dict) for item in value)


def _steps(record: Record, field: str, items: list[Any]) -> list[str]:
    steps = []
    for number, item in enumerate(items, 1):
        if isinstance(item, Mapping):
            item = next((item[name] for name in _STEP_TEXTS if name in item), item)
        if not isinstance(item, str):
            raise record.error(
                f"step {number} in field {field!r} is {kind_of(item)}; it must be a text"
            )
        steps.append(record.text(field, f"step {number}", item))
    return steps


def _from_object(record: Record, field: str, value: Mapping[str, Any]) -> _Found:
    labels = _labels(value, {name: name for name in value})
    for name in _STEP_NAMES:
        if isinstance(value.get(name), list):
            return _steps(record, field, value[name]), labels
    for name in (*_SOLUTION_TEXTS, *_STEP_NAMES):
        if name in value and (is_null(value[name]) or isinstance(value[name], str)):
            return record.text(field, "solution", value[name] or ""), labels
    raise record.error(
        f"the solution in field {field!r} is an object without a text; "
        f"it has {', '.join(map(repr, value)) or 'no fields'}"
    )


def _nested(record: Record) -> Iterator[_Found]:
    """Yield the solutions of a record with one object per model, with their labels."""
    for field, value in record.values.items():
        if isinstance(value, Mapping) and any(name in value for name in SOLUTION_NAMES):
            text, labels = _from_object(record, field, value)
            yield text, {"model": field, **labels}


def _labels(values: Mapping[str, Any], plain: Mapping[str, str]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for name in LABELS:
        text = scalar_text(values[plain[name]]) if name in plain else None
        if text is not None and len(text) <= LONGEST_LABEL:
            if name in CORRECT:
                labels.setdefault("correct", _TRUTH.get(text.lower(), text))
            else:
                labels[name] = text
    return labels


def _own_labels(record: Record, count: int) -> list[str] | None:
    """Return the record's list of labels, one per solution; None if it has none."""
    for field in record.present(CORRECT):
        value = record.values[field]
        if isinstance(value, list):
            if len(value) != count:
                labels, solutions = words.count(len(value), "label"), words.count(count, "solution")
                raise record.error(f"field {field!r} has {labels} for {solutions}")
            texts = [scalar_text(item) or "" for item in value]
            return [_TRUTH.get(text.lower(), text) for text in texts]
    return None


def _solution(parts: str | list[str], metadata: dict[str, str], keep_notes: bool) -> GivenSolution:
    if isinstance(parts, str):
        return GivenSolution(parts if keep_notes else drop_notes(parts), metadata=metadata)
    steps = [step if keep_notes else drop_notes(step) for step in parts]
    # Steps without any text are an empty completion, which the run reports as such. An empty step
    # among others is kept: without it, the numbers of later steps would change.
    if not any(step.strip() for step in steps):
        return GivenSolution("", metadata=metadata)
    return GivenSolution(steps=tuple(steps), metadata=metadata)


def _wrong_type(record: Record, field: str, value: Any) -> Exception:
    return record.error(
        f"the solution in field {field!r} is {kind_of(value)}; "
        "it must be a text, a list of steps, or a list of solutions"
    )


# No space inside, so that `cout << a; cin >> b` is left alone.
_NOTE = re.compile(r"<<[^<>\s]+>>")
_SHORT_WORDS = 8


def drop_notes(text: str) -> str:
    """Return the text without `<<48/2=24>>` notes, keeping what they annotate."""
    while (shorter := _NOTE.sub("", text)) != text:
        text = shorter
    return text


def is_worked(answer: str) -> bool:
    """Return whether an answer shows its working: lines, a final-answer mark, or a sentence."""
    text = answer.strip()
    return "\n" in text or marked_answer(text) is not None or len(text.split()) >= _SHORT_WORDS
