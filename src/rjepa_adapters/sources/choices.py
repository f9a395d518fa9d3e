"""Multiple choice: find the choices of a row, and which of them its answer names."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from string import ascii_uppercase
from typing import Any

import attrs

from .record import Record, is_null, scalar_text

CHOICE_NAMES = ("choices", "options", "answer_choices", "endings")
# The name of a row's choices in `problems.fields`, whatever fields they are in.
CHOICES = "choices"
# Further names of the answer of a row with choices.
ANSWER_NAMES = (
    "correct_option",
    "correct_choice",
    "answer_idx",
    "answer_index",
    "answer_letter",
    "correct",
    "cop",
    "gold",
    "target",
    "label",
)
_COLUMN = re.compile(r"(?P<kind>option|opt|op|choice|answer_choice)_?(?P<label>[a-j]|\d)")
_LABELLED = re.compile(r"\(?(?P<label>[A-Za-z0-9])\s*[).:]\s*(?P<text>.*)", re.S)
# Choices in one text: `a ) 38 , b ) 27.5 , c ) 30`.
_IN_A_ROW = re.compile(r"(?:^|[\s,;])\(?([A-Za-z])\s*[).]\s")
# Texts of this many characters in all do not occur in a statement, in order, by chance.
_NO_CHANCE = 24


class ChoiceError(ValueError):
    """An answer names none of the choices."""


@attrs.frozen
class Choices:
    """The choices of a row.

    Attributes:
        fields: the fields they were read from.
        texts: of the choices; None for an empty one.
        labels: the row's own, as many as texts, or none.
    """

    fields: tuple[str, ...]
    texts: tuple[str | None, ...]
    labels: tuple[str, ...] = ()

    def lettered(self) -> str:
        """Return a line per choice, such as `A. …`."""
        return "\n".join(
            f"{_letter(i)}. {text}" for i, text in enumerate(self.texts) if text is not None
        )

    def are_in(self, statement: str) -> bool:
        """Return whether a statement contains the choices already."""
        texts = {i: re.escape(text) for i, text in enumerate(self.texts) if text is not None}
        labelled = [rf"(?<!\w){_letter(i)}\s*[).:]\s*{text}(?!\w)" for i, text in texts.items()]
        if _occur_in_order(labelled, statement):
            return True
        bare = [rf"(?<!\w){text}(?!\w)" for text in texts.values()]
        return sum(map(len, texts.values())) >= _NO_CHANCE and _occur_in_order(bare, statement)

    def named(self, answer: Any, lettered: bool) -> str | None:
        """Return the letter of the choice that an answer names, or its text if not `lettered`.

        None for a missing answer, as in test sets; any other text is returned unchanged.

        Raises:
            ChoiceError: the answer is a number or a letter that no choice has.
        """
        if isinstance(answer, list):
            found = [self.named(one, lettered) for one in answer]
            return ", ".join(one for one in found if one is not None) or None
        text = scalar_text(answer)
        if text is None or text.strip() in ("", "-1"):
            return None
        place = self.place_of(answer)
        if place is None:
            return text.strip()
        return _letter(place) if lettered else self.texts[place]

    def place_of(self, answer: Any) -> int | None:
        """Return the index of the choice that an answer names by label, letter, text or number.

        Raises:
            ChoiceError: the answer is a number or a letter that no choice has.
        """
        text, is_text = (scalar_text(answer) or "").strip(), isinstance(answer, str)
        bare = text.strip("(). :").lower()
        labels = [label.lower() for label in self.labels]
        if bare in labels:
            return labels.index(bare)
        letters = [_letter(i).lower() for i in range(len(self.texts))]
        if bare in letters:
            return letters.index(bare)
        same = [text.lower() == (own or "").strip().lower() for own in self.texts]
        if is_text and any(same):
            return same.index(True)
        if bare.isdecimal():
            # Counted from 0, as in all data sets that give a number.
            if int(bare) < len(self.texts) and self.texts[int(bare)] is not None:
                return int(bare)
            if not is_text:
                raise ChoiceError(f"{text} is none of {len(self.texts)} choices, counted from 0")
        if len(bare) == 1 and text.strip("(). :").isupper():
            raise ChoiceError(f"{text!r} is none of {len(self.texts)} choices")
        match = _LABELLED.fullmatch(text)
        if match and match["label"].lower() in letters:
            place = letters.index(match["label"].lower())
            own = self.texts[place]
            if own is not None and own.strip() == match["text"].strip():
                return place
        return None


def find_choices(record: Record) -> Choices | None:
    """Return the choices of a row; None if it has none."""
    for field in record.present(CHOICE_NAMES):
        found = read_choices(record.values[field], field)
        if found is not None:
            return found
    return _in_columns(record)


def read_choices(value: Any, field: str) -> Choices | None:
    """Return the choices in a list, objects or a text with their labels; None if it has none."""
    labels: list[str] = []
    if isinstance(value, str):
        value = _from_text(value)
    if isinstance(value, list) and all(isinstance(one, Mapping) for one in value):
        value = {"text": [one.get("text") for one in value], "label": [*_labels_of(value)]}
    if isinstance(value, Mapping):
        texts = value.get("text")
        if isinstance(texts, list):
            given = value.get("label")
            labels = [str(one) for one in given] if isinstance(given, list) else []
            value = texts
        elif all(len(str(key)) == 1 and str(key).isalnum() for key in value):
            labels, value = [str(key) for key in value], list(value.values())
    if not isinstance(value, list):
        return None
    texts = [None if is_null(one) else scalar_text(one) for one in value]
    if sum(text is not None for text in texts) < 2 or len(texts) > len(ascii_uppercase):
        return None
    if any(text is None and not is_null(one) for text, one in zip(texts, value, strict=True)):
        return None
    own = [_LABELLED.fullmatch(text or "") for text in texts]
    if all(one and one["label"].upper() == _letter(i) for i, one in enumerate(own)):
        texts = [one["text"] for one in own if one]
    return Choices((field,), tuple(texts), tuple(labels) if len(labels) == len(texts) else ())


def _labels_of(choices: list[Any]) -> Iterator[str]:
    for one in choices:
        for name in ("label", "key", "id"):
            if name in one:
                yield str(one[name])
                break


def _from_text(text: str) -> Any:
    if text.lstrip()[:1] in ("[", "{"):
        try:
            return json.loads(text)
        except (ValueError, RecursionError):
            return None
    found = list(_IN_A_ROW.finditer(text))
    if [one[1].upper() for one in found] != list(ascii_uppercase[: len(found)]):
        return None
    ends = [one.start() for one in found[1:]] + [len(text)]
    return [text[one.end() : end].strip(" ,;\n") for one, end in zip(found, ends, strict=True)]


def _in_columns(record: Record) -> Choices | None:
    """Return the choices in columns such as `option1`, `opa`, or `A` if the answer is a letter."""
    columns: dict[str, dict[str, str]] = {}
    for plain, field in record.plain.items():
        if match := _COLUMN.fullmatch(plain):
            columns.setdefault(match["kind"], {})[match["label"]] = field
    letters = {plain: field for plain, field in record.plain.items() if plain in _LETTERS}
    answers = record.present(("answer", *ANSWER_NAMES))
    if any(str(record.values[name]).strip().lower() in letters for name in answers):
        columns["letter"] = letters
    for found in columns.values():
        labels = sorted(found)
        if labels not in ([*"abcdefghij"[: len(labels)]], [*"123456789"[: len(labels)]]):
            continue
        chosen = read_choices([record.values[found[label]] for label in labels], "")
        if chosen is not None:
            fields = tuple(found[label] for label in labels)
            return attrs.evolve(chosen, fields=fields, labels=tuple(labels))
    return None


_LETTERS = set("abcdefghij")


def _occur_in_order(patterns: list[str], text: str) -> bool:
    position = 0
    for pattern in patterns:
        found = re.compile(pattern, re.I).search(text, position)
        if found is None:
            return False
        position = found.end()
    return True


def _letter(place: int) -> str:
    return ascii_uppercase[place]
