"""Build the statement of a row from the fields that belong to it."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

import attrs

from .chat import Chat, ChatError, read_chat
from .choices import CHOICE_NAMES, CHOICES, Choices, find_choices, read_choices
from .fields import LABELS, SOLUTION_NAMES, Fields
from .record import Record, is_null, kind_of, plain_name, scalar_text

# Fields that a question may refer to. A body is always part of its question; the others may also
# hold a mere label.
_BODY = "body"
_CONTEXTS = (_BODY, "passage", "context", "article", "paragraph", "story", "premise")
_WITH_CONTEXT = ("question", "instruction")
_TESTS = "test_list"
_LABEL_WORDS, _LABEL_LENGTH = 2, 30
# A text of this many words or characters may be part of a problem.
_LONG_WORDS, _LONG_LENGTH = 6, 100
# Words in the names of fields that belong in no prompt: results, and notes about a problem.
_NOT_POSED = re.compile(
    r"(?:^|_)(?:"
    r"solutions?|answers?|responses?|completions?|outputs?|rationales?|explanations?|exp|analysis|"
    r"reason(?:ing)?|"
    r"thoughts?|thinking|cot|proof|generations?|generated|chosen|rejected|feedback|critique|hints?|"
    r"labels?|formula|equation|program|code|tests?|judge|judgement|verdict|grade|score|reward|"
    r"url|link|source|license|comments?|metadata|meta|info|tags|keywords|title|author|topics?|"
    r"categor(?:y|ies)|subject|type|domain|level|difficulty|dataset|split|name"
    r")(?:_|$)"
)


@attrs.frozen
class Posed:
    """A row's statement, and where it came from.

    Attributes:
        text: the statement.
        fields: that it contains.
        choices: of the row; None if it has none.
        lettered: whether the statement contains the choices.
        chat: the conversation that it was taken from, if any.
    """

    text: str
    fields: tuple[str, ...]
    choices: Choices | None = None
    lettered: bool = False
    chat: Chat | None = None


def is_mbpp(record: Record) -> bool:
    """Return whether a row is a programming task with its tests in a list, as in MBPP."""
    return "code" in record.plain and isinstance(_value(record, _TESTS), list)


def pose_row(fields: Fields, record: Record) -> Posed:
    """Return the statement of a row, from the fields the user named or those that belong together.

    Raises:
        InputError: there is no statement, or it cannot be posed.
    """
    given = fields.given.get("statement")
    base = given or _base(fields, record)
    text, chat = statement_text(record, base)
    if not text.strip():
        raise record.error(f"the statement in field {base!r} is empty")
    choices = find_choices(record)
    posed = choices is not None and choices.are_in(text)
    if given:
        used = [part.split(".")[0] for part in fields.parts(record, given)]
        chats = (_chat(record, name) for name in used if name in record.names)
        chat = chat or next((one for one in chats if one is not None), None)
        return Posed(text, tuple(used), choices, posed, chat)
    parts, used = [text], [base]
    for before, name, part in _companions(record, base):
        if not part.strip():
            continue
        used.append(name)
        if part.strip() not in text:
            parts = [part, *parts] if before else [*parts, part]
    if choices is not None:
        used += choices.fields
        parts += [] if posed else [choices.lettered()]
    # A statement of one field keeps its white space, and so its id.
    whole = "\n\n".join(part.strip() for part in parts) if len(parts) > 1 else text
    return Posed(whole, tuple(used), choices, choices is not None, chat)


def _base(fields: Fields, record: Record) -> str:
    """Return the field that holds the statement, or its main part."""
    names = fields.candidates(record, "statement")
    if not names and is_mbpp(record) and "text" in record.plain:
        names = [record.plain["text"]]
    if not names:
        raise fields.no_statement(record)
    base = next((name for name in names if not is_null(record.values[name])), names[0])
    instruction = record.plain.get("instruction")
    if plain_name(base) == "input" and instruction and _is_text(record.values[instruction]):
        return instruction
    return base


def _companions(record: Record, base: str) -> Iterator[tuple[bool, str, str]]:
    """Yield further fields of the statement: whether they come before it, names and texts."""
    plain = plain_name(base)
    if plain in _WITH_CONTEXT:
        for name in reversed(record.present(_CONTEXTS)):
            text = _lines(record, name)
            if plain_name(name) == _BODY or not _is_label(text):
                yield plain == "question", name, text
    if plain == "instruction":
        for name in record.present(("input",)):
            yield False, name, _lines(record, name)
    if is_mbpp(record):
        name = record.plain[_TESTS]
        yield False, name, f"Your code should pass these tests:\n{_lines(record, name)}"


def statement_text(record: Record, field: str) -> tuple[str, Chat | None]:
    """Return the statement in a field, and the conversation that it was taken from, if any.

    Raises:
        InputError: it is not a text, or a conversation that is not a problem.
    """
    value = record.values[field]
    chat = _chat(record, field)
    if chat is None:
        return "" if is_null(value) else record.text(field, "statement"), None
    try:
        return record.text(field, "statement", chat.problem), chat
    except ChatError as error:
        raise record.error(f"the conversation in field {field!r} {error}") from None


def join_fields(record: Record, ours: str, parts: list[str]) -> Any:
    """Return the value of one of our fields, joined from several of the source.

    Raises:
        InputError: one of them is not a text.
    """
    values = [_found(record, part) for part in parts]
    if len(parts) == 1:
        return values[0]
    if ours == "steps":
        lists = [value if isinstance(value, list) else [value] for value in values]
        return [item for one in lists for item in one if not is_null(item)]
    texts = [_part(record, ours, *pair) for pair in zip(parts, values, strict=True)]
    glue = {"statement": "\n\n", "solution": "\n\n", "answer": " "}.get(ours, "-")
    return glue.join(text for text in texts if text) or None


def _found(record: Record, part: str) -> Any:
    there, value = record.find(part)
    choices = None if there or part != CHOICES else find_choices(record)
    return value if choices is None else choices.lettered()


def _part(record: Record, ours: str, name: str, value: Any) -> str:
    if is_null(value):
        return ""
    choices = read_choices(value, name) if plain_name(name) in CHOICE_NAMES else None
    if choices is not None:
        return choices.lettered()
    if ours == "statement" and read_chat(value) is not None:
        return statement_text(record.with_values({name: value}), name)[0].strip()
    text = _text_of(value)
    if text is None:
        raise record.error(f"the {ours} in field {name!r} is {kind_of(value)}; it must be a text")
    return record.text(name, ours, text).strip()


def unposed(record: Record, posed: Posed, used: Collection[str | None]) -> Iterator[str]:
    """Yield fields whose text may belong to the problem but is in no prompt."""
    for field in record.names:
        plain = plain_name(field)
        if field in used or plain in (*SOLUTION_NAMES, *LABELS):
            continue
        if posed.choices is not None and field in posed.choices.fields:
            continue
        known = plain in _CONTEXTS or plain in ("instruction", "input")
        if not known and _NOT_POSED.search(plain):
            continue
        value = record.values[field]
        text = _text_of(value)
        if text is None:
            # Paragraphs by title, and other structures of particular data sets.
            text = json.dumps(value, default=str) if known else ""
        enough = not _is_label(text) if known else _is_long(text)
        if enough and text.strip() not in posed.text:
            yield field


def _chat(record: Record, field: str) -> Chat | None:
    try:
        return read_chat(record.values[field])
    except ChatError as error:
        raise record.error(f"the conversation in field {field!r} {error}") from None


def _value(record: Record, plain: str) -> Any:
    return record.values[record.plain[plain]] if plain in record.plain else None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_label(text: str) -> bool:
    return len(text.split()) <= _LABEL_WORDS and len(text) < _LABEL_LENGTH


def _is_long(text: str) -> bool:
    if text.startswith(("http://", "https://")):
        return False
    return len(text.split()) >= _LONG_WORDS or len(text) >= _LONG_LENGTH


def _lines(record: Record, field: str) -> str:
    text = _text_of(record.values[field]) or ""
    return record.text(field, "statement", text)


def _text_of(value: Any) -> str | None:
    """Return a text, or the lines of a list of texts; None for anything else."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return "\n".join(value)
    return "" if is_null(value) else scalar_text(value)
