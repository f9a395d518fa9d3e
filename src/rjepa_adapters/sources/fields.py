"""Which field of a record is what: the usual names, and those that the user gave."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from rjepa_core.errors import InputError, UsageError
from rjepa_core.text import shell_word

from .choices import CHOICES, find_choices
from .record import Record, plain_name

# Our names, and the names they go by; the first one present is taken.
NAMES: Mapping[str, tuple[str, ...]] = {
    "statement": (
        "statement",
        "question",
        "problem",
        "prompt",
        "input",
        "instruction",
        "messages",
        "conversations",
        "conversation",
    ),
    "id": ("problem_id", "id", "uid", "unique_id", "task_id"),
    "domain": ("domain",),
    "subdomain": ("subdomain", "type", "subject"),
    "answer": (
        "final_answer",
        "answer",
        "expected_answer",
        "ground_truth",
        "correct_answer",
        "answerkey",
        "answer_key",
    ),
    "steps": ("steps", "cot"),
    "solution": (
        "solution",
        "solutions",
        "response",
        "responses",
        "completion",
        "completions",
        "canonical_solution",
    ),
}
SOLUTION_NAMES = (*NAMES["steps"], *NAMES["solution"])
# Labels of a solution, not of its problem.
CORRECT = ("correct", "is_correct")
LABELS = (*CORRECT, "model", "cot_id")


@attrs.frozen
class Fields:
    """Our names to the source's, as the user gave them; "" takes no field.

    Attributes:
        given: `statement`, `id`, `domain`, `subdomain`, `answer`, `steps` or `solution` to a name,
            to several as `Body+Question`, or to one within a field, as `reward_model.ground_truth`.
    """

    given: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Fields:
        """Raises:
        UsageError: a name on the left is none of ours, or the statement is taken from nowhere.
        """
        for name in given:
            if name not in NAMES:
                near = difflib.get_close_matches(name, NAMES, 1)
                hint = f"did you mean {near[0]!r}? " if near else ""
                raise UsageError(
                    f"problems.fields.{name}: no field of a problem is called {name!r}; "
                    f"{hint}known: {', '.join(NAMES)}"
                )
        if not given.get("statement", "any"):
            raise UsageError(
                "problems.fields.statement: a problem needs its statement; name the field"
            )
        return cls(dict(given))

    def check(self, record: Record) -> None:
        """Raises:
        InputError: the record lacks a field that the user named.
        """
        for ours, theirs in self.given.items():
            for part in self.parts(record, theirs):
                choices = part == CHOICES and find_choices(record) is not None
                if not choices and not record.find(part)[0]:
                    near = difflib.get_close_matches(part, record.names, 1)
                    hint = f"; did you mean {near[0]!r}?" if near else ""
                    raise record.error(
                        f"no field {part!r} (problems.fields.{ours}={shell_word(theirs)}); "
                        f"the row has {record.listed()}{hint}"
                    )

    def parts(self, record: Record, theirs: str) -> list[str]:
        """Return the source's fields in a name as it was given: `Body+Question` is two of them."""
        if not theirs or theirs in record.names:
            return [theirs] if theirs else []
        return [part.strip() for part in theirs.split("+")]

    def candidates(self, record: Record, ours: str) -> list[str]:
        """Return the fields that may hold this: the user's alone, or those with a usual name."""
        if ours in self.given:
            return [self.given[ours]] if self.given[ours] else []
        return record.present(NAMES[ours])

    def has_statement(self, names: Iterable[str]) -> bool:
        """Return whether a table with these columns holds statements."""
        record = Record.of(dict.fromkeys(names), "")
        if "statement" in self.given:
            parts = self.parts(record, self.given["statement"])
            return all(part in record.names or part.split(".")[0] in record.names for part in parts)
        return bool(record.present(NAMES["statement"]))

    def no_statement(self, record: Record) -> InputError:
        """Return what to say of a record without a statement: what it has, and the likeliest of it."""
        likeliest = _likeliest(record.values)
        return record.error(
            f"no statement; the row has {record.listed()}; "
            f"name its field: problems.fields.statement={shell_word(likeliest)} (several: A+B)"
        )


def _likeliest(values: Mapping[str, Any]) -> str:
    """Return the field that may hold the statement: by its name, else the longest text."""
    taken = {*SOLUTION_NAMES, *LABELS, *(name for ours in NAMES.values() for name in ours)}
    texts = [
        name
        for name, value in values.items()
        if isinstance(value, str) and value.strip() and plain_name(name) not in taken
    ]
    for name in NAMES["statement"]:
        near = difflib.get_close_matches(name, texts, 1, cutoff=0.75)
        if near:
            return near[0]
    return max(texts, key=lambda name: len(values[name]), default="NAME")
