"""Encode prompts, decode ids with each token's characters, and identify a tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.domain.problem import GivenSolution
from rjepa_core.domain.trace import Completion, Prompt
from rjepa_core.errors import SettingsError, UsageError

REPLACEMENT = "\ufffd"
# The function that a chat template calls for the time.
_CLOCK = "strftime_now"
_MARK = "rjepa-7f3d0c-statement"


@attrs.frozen(eq=False)
class Rendered:
    """A prompt as the model sees it.

    Attributes:
        text: with the chat's markup.
        ids: int32 [P].
        statement: token range of the statement; tokens that share a character with it belong to it.
    """

    text: str
    ids: NDArray[np.int32]
    statement: tuple[int, int]


class TextCodec:
    """A fast tokenizer with its chat template.

    Decoding runs through the ids once and never encodes a text again.
    """

    def __init__(self, tokenizer: Any) -> None:
        if not getattr(tokenizer, "is_fast", False):
            raise UsageError(
                f"{tokenizer.name_or_path}: only fast tokenizers say which characters a token "
                "covers; save the checkpoint with a tokenizer.json"
            )
        self.tokenizer = tokenizer
        added = tokenizer.added_tokens_decoder
        control = {i: token.content for i, token in added.items() if token.special}
        control.update(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
        self.special = set(control)
        self._control = tuple(control.values())
        self._template = _template_of(tokenizer)
        self.content = tokenizer_content(tokenizer, control, self._template)
        # Decoders may strip the first token's space; after an anchor, no token is the first.
        self._anchor = tokenizer("a", add_special_tokens=False).input_ids[-1:]
        self._anchor_length = len(self._decode_raw(self._anchor))
        self._pieces: dict[int, str] = {}

    @property
    def chat_format(self) -> str:
        """Hash of the chat template, or `plain`."""
        template = self.tokenizer.chat_template
        if not template:
            return "plain"
        return hashlib.sha256(str(template).encode()).hexdigest()[:16]

    @property
    def reads_clock(self) -> bool:
        """Whether the chat template writes the date."""
        return _CLOCK in (self._template or "")

    def count(self, text: str) -> int:
        return len(self.tokenizer(text, add_special_tokens=False).input_ids)

    def render(self, prompt: Prompt) -> tuple[str, NDArray[np.int32], tuple[int, int]]:
        """Return a prompt's text, ids (int32 [P]) and the token range of the statement.

        Tokens that share a character with the statement belong to it.
        """
        text, start = self._format(prompt)
        start += prompt.statement_start
        stop = start + prompt.statement_stop - prompt.statement_start
        plain = not self.tokenizer.chat_template
        coded = self.tokenizer(text, add_special_tokens=plain, return_offsets_mapping=True)
        ids, offsets = coded["input_ids"], coded["offset_mapping"]
        if plain and ids and ids[-1] == self.tokenizer.eos_token_id:
            ids, offsets = ids[:-1], offsets[:-1]
        inside = [i for i, (a, b) in enumerate(offsets) if b > start and a < stop]
        return text, np.asarray(ids, np.int32), (inside[0], inside[-1] + 1)

    def control_token(self, prompt: Prompt) -> str | None:
        """Return a control token in the prompt's own text, where it would act as one, or None."""
        text = (prompt.system or "") + "\n" + prompt.user
        return next((token for token in self._control if token in text), None)

    def _format(self, prompt: Prompt) -> tuple[str, int]:
        """Return the prompt as the model sees it, and where its user text starts."""
        if not self.tokenizer.chat_template:
            before = f"{prompt.system}\n\n" if prompt.system else ""
            return f"{before}{prompt.user}\n\nSolution:\n", len(before)
        # A short statement may occur in the markup too ("a" in "assistant"); the mark does not.
        before = self._chat(prompt, _MARK).partition(_MARK)[0]
        text = self._chat(prompt, prompt.user)
        if not text.startswith(before + prompt.user):
            raise SettingsError(
                f"{self.tokenizer.name_or_path}: its chat template changes the user's text, so "
                "that the statement cannot be found in it"
            )
        return text, len(before)

    def _chat(self, prompt: Prompt, user: str) -> str:
        messages = [{"role": "user", "content": user}]
        if prompt.system:
            messages.insert(0, {"role": "system", "content": prompt.system})
        chosen = {"add_generation_prompt": True, "enable_thinking": prompt.thinking}
        try:
            if self.reads_clock and prompt.date is not None:
                return _on_day(self.tokenizer, self._template, prompt.date, messages, **chosen)
            text: str = self.tokenizer.apply_chat_template(messages, tokenize=False, **chosen)
        except Exception as error:  # a template is a program and may raise anything
            raise SettingsError(self._refusal(prompt, error)) from error
        return text

    def _refusal(self, prompt: Prompt, error: Exception) -> str:
        said = " ".join(str(error).split()) or type(error).__name__
        name = self.tokenizer.name_or_path
        if prompt.system:
            return (
                f"prompt.system: the chat template of {name} refuses this prompt ({said}); leave "
                "the system text out, or say it in prompt.templates"
            )
        return f"model.name: the chat template of {name} refuses this prompt ({said})"

    def decode(self, ids: Sequence[int]) -> tuple[str, NDArray[np.int32]]:
        """Return the text of the ids, and int32 [T, 2], the characters that each token covers.

        Tokens that only together form whole characters share one range; special tokens have none.
        """
        parts: list[str] = []
        offsets = np.zeros((len(ids), 2), np.int32)
        position, begun = 0, 0
        for i, token in enumerate(ids):
            if token in self.special:
                if begun < i:
                    position = self._decode_incomplete(ids, begun, i, parts, offsets, position)
                offsets[i] = position
                begun = i + 1
                continue
            piece = self.text_of(ids[begun : i + 1])
            if not piece.endswith(REPLACEMENT):
                parts.append(piece)
                offsets[begun : i + 1] = (position, position + len(piece))
                position += len(piece)
                begun = i + 1
        if begun < len(ids):
            self._decode_incomplete(ids, begun, len(ids), parts, offsets, position)
        return "".join(parts), offsets

    def _decode_incomplete(
        self,
        ids: Sequence[int],
        begun: int,
        end: int,
        parts: list[str],
        offsets: NDArray[np.int32],
        position: int,
    ) -> int:
        """Decode tokens that never completed a character, as they are; return the new position."""
        piece = self.text_of(ids[begun:end])
        parts.append(piece)
        offsets[begun:end] = (position, position + len(piece))
        return position + len(piece)

    def text_of(self, ids: Sequence[int]) -> str:
        """Return the text of ids that are not special, as decoded after other tokens."""
        if len(ids) == 1 and ids[0] in self._pieces:
            return self._pieces[ids[0]]
        text = self._decode_raw([*self._anchor, *ids])[self._anchor_length :]
        if len(ids) == 1:
            self._pieces[ids[0]] = text
        return text

    def _decode_raw(self, ids: Sequence[int]) -> str:
        return str(
            self.tokenizer.decode(
                [int(i) for i in ids],
                skip_special_tokens=False,
                clean_up_tokenization_spaces=False,
            )
        )

    def read(self, prompt: Prompt, solution: GivenSolution) -> Completion:
        """Return a given solution as a completion; the text is what its ids decode to."""
        text, prompt_ids, statement = self.render(prompt)
        if solution.text is not None:
            ids = self._plain_ids(solution.text)
            decoded, offsets = self.decode(ids)
            starts = None
        else:
            ids, lengths = [], []
            for i, step in enumerate(solution.steps):
                end = "\n" if i + 1 < len(solution.steps) else ""
                lengths.append(len(ids))
                ids += self._plain_ids(step.rstrip("\n") + end)
            decoded, offsets = self.decode(ids)
            starts = tuple(int(offsets[n, 0]) for n in lengths if n < len(ids))
        return Completion(
            prompt_text=text,
            prompt_ids=prompt_ids,
            statement_span=statement,
            text=decoded,
            ids=np.asarray(ids, np.int32),
            offsets=offsets,
            finish_reason="given",
            step_starts=starts,
        )

    def _plain_ids(self, text: str) -> list[int]:
        """Return the ids of a text, treating nothing in it as a control token."""
        coded = self.tokenizer(text, add_special_tokens=False, split_special_tokens=True)
        return [int(i) for i in coded.input_ids]


def _template_of(tokenizer: Any) -> str | None:
    """Return the chat template in use, even if there are several; None if there is none."""
    if not tokenizer.chat_template:
        return None
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        raise UsageError(f"{tokenizer.name_or_path}: {' '.join(str(error).split())}") from None


def _on_day(
    tokenizer: Any, template: str | None, day: str, messages: list[dict[str, str]], **chosen: Any
) -> str:
    """Return the chat as `apply_chat_template` renders it, at midnight of a day.

    That function cannot be given another clock than its own.
    """
    from transformers.utils.chat_template_utils import _compile_jinja_template

    compiled = _compile_jinja_template(template)
    clock = {_CLOCK: lambda format: datetime.fromisoformat(day).strftime(format)}
    text: str = compiled.render(
        messages=messages, **{**tokenizer.special_tokens_map, **chosen, **clock}
    )
    return text


# How texts are truncated and padded, which is never done here.
_RUNTIME = ("truncation", "padding", "version")
# What surrounds a text shows in the ids of a sample; otherwise it only affects offsets.
_SEEN = ("post_processor",)
_TEXT = "The 2nd  step:\n\tx = 3.50 × 17 — naïve café, 漢字 🙂\r\n\n"


def tokenizer_content(tokenizer: Any, control: Mapping[int, str], template: str | None) -> str:
    """Return 16 hexadecimal digits that identify a tokenizer by its effect.

    Neither the files' layout nor anything without effect on ids and texts counts: the order of
    keys, whether a library writes null, false or nothing, or the padding that was set last.

    Args:
        tokenizer: of transformers.
        control: texts of the control tokens, by id.
        template: the chat template, which may write named special tokens.
    """
    named = {name: str(token) for name, token in tokenizer.special_tokens_map.items()}
    text = _TEXT + "".join(f" {token} a{token}b" for token in control.values())
    facts = {
        **_pipeline(tokenizer),
        "control": {str(number): token for number, token in control.items()},
        "named": {name: token for name, token in named.items() if name in (template or "")},
        # By the same call that tokenises prompts, so that transformers' own settings show.
        "ids": tokenizer(text, add_special_tokens=False).input_ids,
        "framed": tokenizer("a", add_special_tokens=True).input_ids,
    }
    text = json.dumps(facts, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _pipeline(tokenizer: Any) -> dict[str, Any]:
    """Return the vocabulary, merges, and the processing of a text before and after."""
    try:
        state = json.loads(tokenizer.backend_tokenizer.to_str())
    except Exception:  # the library raises nothing narrower
        # A part that is Python code cannot be serialised.
        return {"vocabulary": tokenizer.get_vocab()}
    model = state.pop("model")
    if merges := model.get("merges"):
        # Older files have `a b`, newer ones [a, b].
        model["merges"] = [m.split(" ", 1) if isinstance(m, str) else m for m in merges]
    added = sorted(state.pop("added_tokens", []), key=lambda token: token["id"])
    kept = {key: value for key, value in state.items() if key not in _RUNTIME + _SEEN}
    return {"model": _without_empty(model), "added": _without_empty(added), **_without_empty(kept)}


def _without_empty(value: Any) -> Any:
    """Return a value without keys whose values are null, false or empty."""
    if isinstance(value, dict):
        return {key: _without_empty(one) for key, one in value.items() if _is_set(one)}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        return [_without_empty(one) for one in value]
    return value


def _is_set(value: Any) -> bool:
    return not (value is None or value is False or value in ("", [], {}))
