"""Texts, ids and characters agree, for tokenizers of different kinds and any text."""

from __future__ import annotations

from datetime import date
from typing import Any

import attrs
import numpy as np
import pytest
from hf_checkpoints import CHAT, byte_level, metaspace, wrapped
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.huggingface.tokenizer import TextCodec
from rjepa_core.domain.problem import GivenSolution, Problem
from rjepa_core.domain.prompt import pose
from rjepa_core.domain.segmentation import cut, cut_completion
from rjepa_core.domain.trace import Prompt, RecordKey
from rjepa_core.errors import SettingsError, UsageError
from rjepa_core.settings.templates import DEFAULT_TEMPLATES

CODECS = {"byte-level": TextCodec(byte_level()), "metaspace": TextCodec(metaspace())}
TEXTS = st.text(
    st.sampled_from("Step 123:.)\n *#A\\boxed{}é🙂👨‍👩‍👧½漢。!?"), max_size=60
) | st.text(max_size=40)


@pytest.fixture(params=CODECS)
def codec(request: pytest.FixtureRequest) -> TextCodec:
    return CODECS[request.param]


@given(text=TEXTS, kind=st.sampled_from(sorted(CODECS)))
def test_decoding_gives_the_text_back(text: str, kind: str) -> None:
    codec = CODECS[kind]
    text = text.encode("utf-8", "ignore").decode()
    ids = codec.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    decoded, offsets = codec.decode(ids)
    assert decoded == text
    check_offsets(offsets, decoded)


@given(ids=st.lists(st.integers(0, 599), max_size=40), kind=st.sampled_from(sorted(CODECS)))
def test_any_ids_decode_with_offsets(ids: list[int], kind: str) -> None:
    """A model may produce anything, broken characters and special tokens included."""
    decoded, offsets = CODECS[kind].decode(ids)
    check_offsets(offsets, decoded)


def check_offsets(offsets: np.ndarray, text: str) -> None:
    """Ranges move forward, touch each other or are shared, and together cover the text."""
    position = 0
    for i, (start, stop) in enumerate(offsets.tolist()):
        shared = i > 0 and [start, stop] == offsets[i - 1].tolist()
        assert shared or start == position
        assert stop >= start
        position = stop
    assert position == len(text)


@given(ids=st.lists(st.integers(0, 599), max_size=60), kind=st.sampled_from(sorted(CODECS)))
def test_a_steps_text_is_the_decoding_of_its_span(ids: list[int], kind: str) -> None:
    codec = CODECS[kind]
    text, offsets = codec.decode(ids)
    for strategy in ("auto", "lines", "sentences", "markers"):
        found = cut(np.asarray(ids, np.int32), offsets, text, strategy)
        for span, step in zip(found.spans, found.texts, strict=True):
            assert codec.decode(ids[span.start : span.stop])[0] == step


@given(text=TEXTS)
def test_plain_decoding_agrees(text: str) -> None:
    """For a byte-level tokenizer a span decodes by the tokenizer's own `decode` as well."""
    codec = CODECS["byte-level"]
    text = text.encode("utf-8", "ignore").decode()
    ids = codec.tokenizer(text, add_special_tokens=False, split_special_tokens=True).input_ids
    decoded, offsets = codec.decode(ids)
    for span, step in zip(*_spans(ids, offsets, decoded), strict=True):
        own = codec.tokenizer.decode(
            ids[span.start : span.stop], clean_up_tokenization_spaces=False
        )
        assert own == step


def _spans(ids: list[int], offsets: np.ndarray, text: str) -> tuple[Any, Any]:
    found = cut(np.asarray(ids, np.int32), offsets, text, "lines")
    return found.spans, found.texts


def prompt_of(statement: str, system: str | None = None) -> Prompt:
    return pose(Problem.make(statement), 0, DEFAULT_TEMPLATES, system)


@pytest.mark.parametrize("system", [None, "Be brief."])
def test_the_statement_is_found_in_the_prompt(codec: TextCodec, system: str | None) -> None:
    text, ids, (start, stop) = codec.render(prompt_of("How many are left?", system))
    assert "How many are left?" in text
    decoded = codec.decode(ids[start:stop].tolist())[0]
    assert "How many are left?" in decoded
    assert len(decoded) <= len("How many are left?") + 12  # only what shares a token with it
    assert ("Be brief." in text) == (system is not None)


def test_a_statement_that_stands_in_the_system_text_too(codec: TextCodec) -> None:
    _, ids, (start, stop) = codec.render(prompt_of("Go?", "Go? Yes."))
    before = codec.decode(ids[:start].tolist())[0]
    assert "Be" not in before
    assert before.count("Go?") == 1
    assert "Go?" in codec.decode(ids[start:stop].tolist())[0]


def test_without_a_chat_template_the_prompt_is_plain() -> None:
    codec = TextCodec(wrapped(byte_level().backend_tokenizer, chat=None))
    text, _, _ = codec.render(prompt_of("How many?", "Be brief."))
    assert text.startswith("Be brief.\n\n")
    assert text.endswith("Solution:\n")
    assert codec.chat_format == "plain"
    assert CODECS["byte-level"].chat_format != "plain"


def test_the_thinking_switch_reaches_the_template(codec: TextCodec) -> None:
    off = Prompt(RecordKey("a"), "x y", 0, 3)
    on = Prompt(RecordKey("a"), "x y", 0, 3, thinking=True)
    assert "<think>" in codec.render(off)[0]
    assert "<think>" not in codec.render(on)[0]


def test_a_template_that_changes_the_text_is_refused() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = "{{ messages[0]['content'] | upper }}"
    with pytest.raises(SettingsError, match="chat template"):
        TextCodec(tokenizer).render(prompt_of("how many?"))


def test_given_steps_stay_as_they_are(codec: TextCodec) -> None:
    steps = ("We add 3 and 4. That is 7.", "Then 2 go.", "5 are left.")
    read = codec.read(prompt_of("How many?"), GivenSolution(steps=steps))
    found = cut_completion(read)
    assert [t.strip() for t in found.texts] == list(steps)
    assert found.strategy == "given"
    assert read.finish_reason == "given"


def test_a_given_text_is_cut() -> None:
    codec = CODECS["byte-level"]
    read = codec.read(prompt_of("How many?"), GivenSolution("3 + 4 = 7\n7 - 2 = 5\n#### 5"))
    found = cut_completion(read)
    assert found.texts == ("3 + 4 = 7\n", "7 - 2 = 5")
    assert found.answer == "#### 5"


def test_control_tokens_in_a_solution_are_text() -> None:
    codec = CODECS["byte-level"]
    text = "Step 1: a<|im_end|>\n<|im_start|>user\nStep 2: b"
    read = codec.read(prompt_of("How many?"), GivenSolution(text))
    assert read.text == text
    assert not set(read.ids.tolist()) & set(codec.tokenizer.all_special_ids)


def test_control_tokens_in_a_prompt_are_found(codec: TextCodec) -> None:
    assert codec.control_token(prompt_of("How many?")) is None
    assert codec.control_token(prompt_of("a <|im_end|> b")) == "<|im_end|>"
    assert codec.control_token(prompt_of("a", "<|im_start|>")) == "<|im_start|>"


@pytest.mark.parametrize("statement", ["a", "s", "user", "<", "im"])
def test_a_statement_that_occurs_in_the_markup(codec: TextCodec, statement: str) -> None:
    text, start = codec._format(Prompt(RecordKey("x"), statement, 0, len(statement)))
    assert text[start - 5 : start] == "user\n"
    assert text[start : start + len(statement)] == statement


DATED = "{% set day = strftime_now('%d %b %Y, %H:%M') %}Today is {{ day }}.\n"


def dated(template: str = DATED + CHAT) -> TextCodec:
    tokenizer = byte_level()
    tokenizer.chat_template = template
    return TextCodec(tokenizer)


def test_a_template_that_reads_the_clock_is_told_the_prompts_day() -> None:
    codec = dated()
    assert codec.reads_clock
    prompt = attrs.evolve(prompt_of("How many?", "Be brief."), date="2024-02-29")
    text, _, (start, stop) = codec.render(prompt)
    assert text.startswith("Today is 29 Feb 2024, 00:00.\n<|im_start|>system\nBe brief.")
    assert "How many?" in codec.decode(codec.render(prompt)[1][start:stop].tolist())[0]
    other = codec.render(attrs.evolve(prompt, date="2025-01-01"))[0]
    assert other == text.replace("29 Feb 2024", "01 Jan 2025")


def test_a_day_changes_nothing_else() -> None:
    """The chat is the one that transformers renders."""
    codec, today = dated("{{ strftime_now('%Y-%m-%d') }}{{ eos_token }}" + CHAT), str(date.today())
    for system in (None, "Be brief."):
        for thinking in (False, True):
            prompt = attrs.evolve(prompt_of("How many?", system), thinking=thinking)
            own = codec.render(prompt)[0]
            if str(date.today()) == today:  # not at midnight
                assert codec.render(attrs.evolve(prompt, date=today))[0] == own
            assert own.startswith(f"{today}<|im_end|>")


@pytest.mark.parametrize("kind", CODECS)
def test_a_template_without_a_clock_is_told_no_day(kind: str) -> None:
    codec = CODECS[kind]
    assert not codec.reads_clock
    prompt = prompt_of("How many?")
    assert codec.render(attrs.evolve(prompt, date="2024-02-29"))[0] == codec.render(prompt)[0]


def test_of_several_templates_the_one_that_is_used_counts() -> None:
    tokenizer = byte_level()
    tokenizer.chat_template = {"default": CHAT, "tool_use": DATED + CHAT}
    assert not TextCodec(tokenizer).reads_clock
    tokenizer.chat_template = {"default": DATED + CHAT, "tool_use": CHAT}
    assert TextCodec(tokenizer).reads_clock
    tokenizer.chat_template = {"one": CHAT, "another": CHAT}
    with pytest.raises(UsageError, match="multiple chat templates"):
        TextCodec(tokenizer)
