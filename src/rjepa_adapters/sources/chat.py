"""Conversations: lists of messages, as in the training data of chat models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

_ROLES = {
    "user": "user",
    "human": "user",
    "system": "system",
    "developer": "system",
    "assistant": "assistant",
    "gpt": "assistant",
    "model": "assistant",
}
# Keys of the speaker and of the text, in OpenAI's form and ShareGPT's.
_KEYS = (("role", "content"), ("from", "value"))


class ChatError(ValueError):
    """A conversation is not a problem; the message says why."""


@attrs.frozen
class Chat:
    """A conversation.

    Attributes:
        turns: the role, `user`, `system` or `assistant` if it is known, and the text of each.
    """

    turns: tuple[tuple[str, str], ...]

    def said_by(self, role: str) -> list[str]:
        """Return the texts of a role."""
        return [text for speaker, text in self.turns if speaker == role and text.strip()]

    @property
    def system(self) -> str:
        """The system's text, or an empty one."""
        return "\n\n".join(self.said_by("system"))

    @property
    def problem(self) -> str:
        """The user's last message.

        Raises:
            ChatError: there is none, or there are messages before it, which would be lost.
        """
        for speaker, _ in self.turns:
            if speaker not in _ROLES.values():
                raise ChatError(f"has a message of role {speaker!r}, which cannot be posed")
        last = self._last_of_user()
        if last is None:
            raise ChatError("has no message of the user's")
        before = sum(speaker != "system" for speaker, _ in self.turns[:last])
        if before:
            raise ChatError(
                f"has {before} other {'message' if before == 1 else 'messages'} before the user's "
                "last, which would be lost; write them into one text"
            )
        return self.turns[last][1]

    @property
    def reply(self) -> str | None:
        """The assistant's reply to it; None if there is none."""
        last = self._last_of_user()
        later = self.turns[last + 1 :] if last is not None else ()
        texts = [text for speaker, text in later if speaker == "assistant"]
        return "\n\n".join(texts) if texts else None

    def _last_of_user(self) -> int | None:
        places = [i for i, (speaker, _) in enumerate(self.turns) if speaker == "user"]
        return places[-1] if places else None


def read_chat(value: Any) -> Chat | None:
    """Return the conversation in a value, also as JSON in a text; None if it is something else.

    Raises:
        ChatError: a message holds something other than text.
    """
    if isinstance(value, str):
        value = _unpacked(value)
    if isinstance(value, Mapping):
        value = _transposed(value)
    if not isinstance(value, list) or not value:
        return None
    for speaker, said in _KEYS:
        if all(isinstance(one, Mapping) and speaker in one and said in one for one in value):
            return Chat(tuple(_turn(one[speaker], one[said]) for one in value))
    return None


def _turn(speaker: Any, said: Any) -> tuple[str, str]:
    role = str(speaker).strip().lower()
    return _ROLES.get(role, role), "\n\n".join(_texts(said))


def _texts(said: Any) -> Iterator[str]:
    if isinstance(said, str):
        yield said
    elif isinstance(said, list):
        for part in said:
            yield from _texts(part)
    elif isinstance(said, Mapping) and isinstance(said.get("text"), str):
        yield said["text"]
    elif said is not None:
        kind = said.get("type", "object") if isinstance(said, Mapping) else type(said).__name__
        raise ChatError(f"holds {kind!r} beside text")


def _unpacked(text: str) -> Any:
    if not text.lstrip().startswith("[{"):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _transposed(value: Mapping[str, Any]) -> list[dict[str, Any]] | None:
    """Return messages from a dictionary of lists, a form in which `datasets` may store them."""
    for keys in _KEYS:
        columns = [value.get(key) for key in keys]
        if all(isinstance(column, list) for column in columns):
            rows = zip(*columns, strict=False)
            return [dict(zip(keys, row, strict=True)) for row in rows]
    return None
