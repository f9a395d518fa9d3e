"""The meaning of a record's fields: their usual names, and those that the user gave."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

import attrs

from rjepa_core.errors import InputError, UsageError
from rjepa_core.text import shell_word

from .choices import CHOICES, find_choices
from .record import Record, plain_name

# Our names, and the names in sources; the first one present is used.
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
# Fields that are labels of a solution, not of its problem.
CORRECT = ("correct", "is_correct")
LABELS = (*CORRECT, "model", "cot_id")


@attrs.frozen
class Fields:
    """The user's mapping of our fields to the source's; "" uses no field.

    Attributes:
        given: `statement`, `id`, `domain`, `subdomain`, `answer`, `steps` or `solution`, mapped to
            a name, to several as `Body+Question`, or to a nested one as
            `reward_model.ground_truth`.
    """

    given: Mapping[str, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, given: Mapping[str, str]) -> Fields:
        """Return the checked mapping.

        Raises:
            UsageError: a key is not one of our fields, or the statement uses no field.
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
        """Check that a record has the fields that the user named.

        Raises:
            InputError: it lacks one.
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
        """Return the source's fields in a name that the user gave: `Body+Question` is two."""
        if not theirs or theirs in record.names:
            return [theirs] if theirs else []
        return [part.strip() for part in theirs.split("+")]

    def candidates(self, record: Record, ours: str) -> list[str]:
        """Return the fields that may hold ours: the user's, or those with a usual name."""
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
        """Return the error for a record without a statement; it suggests the likeliest field."""
        likeliest = _likeliest(record.values)
        return record.error(
            f"no statement; the row has {record.listed()}; "
            f"name its field: problems.fields.statement={shell_word(likeliest)} (several: A+B)"
        )


def _likeliest(values: Mapping[str, Any]) -> str:
    """Return the likeliest field for the statement: by its name, else the longest text."""
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
