"""Stop texts are found token by token, the same in both ways of running a model."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
from hf_checkpoints import byte_level, metaspace
from hf_traces import problems, prompts_of
from hypothesis import given
from hypothesis import strategies as st

from rjepa_adapters.huggingface.backend import HuggingFaceBackend
from rjepa_adapters.huggingface.generate import StopFinder
from rjepa_adapters.huggingface.tokenizer import TextCodec
from rjepa_core.domain.trace import Completion
from rjepa_core.extraction.outcomes import find_stop
from rjepa_core.settings.extraction import SamplingSettings

CODECS = {"byte-level": TextCodec(byte_level()), "metaspace": TextCodec(metaspace())}


@given(
    ids=st.lists(st.integers(0, 599), max_size=40),
    kind=st.sampled_from(sorted(CODECS)),
    at=st.tuples(st.integers(0, 60), st.integers(1, 4)),
)
def test_a_stop_text_is_found_with_the_token_that_completes_it(
    ids: list[int], kind: str, at: tuple[int, int]
) -> None:
    codec = CODECS[kind]
    text, offsets = codec.decode(ids)
    stop = text[at[0] : at[0] + at[1]] or "never there"
    finder = StopFinder(codec, [stop, "nor this one"])
    found = next((i for i, token in enumerate(ids) if finder.add(token)), None)
    place = find_stop(text, [stop])
    # Half a character at the end becomes text only when nothing can complete it.
    if "\ufffd" not in stop:
        assert (found is None) <= (place is None or text.endswith("\ufffd"))
    if found is not None:
        assert place is not None
        begins, ends = offsets[found]
        special = begins == ends
        assert place[1] <= ends
        assert special or begins < place[1] or "\ufffd" in text[: place[1]]


@pytest.mark.parametrize("batch", [1, 5])
def test_both_ways_end_at_the_same_token(small: HuggingFaceBackend, batch: int) -> None:
    prompts, sampling = prompts_of(problems(5)), SamplingSettings(max_new_tokens=30)
    for prompt in prompts:
        [whole] = small.generate([prompt], sampling)
        assert isinstance(whole, Completion)
        stop = whole.text[len(whole.text) // 2 :][:3]
        ending = attrs.evolve(sampling, stop=(stop,))
        answers = small.generate(prompts[:batch] if batch > 1 else [prompt], ending)
        answer = answers[prompts.index(prompt) if batch > 1 else 0]
        assert isinstance(answer, Completion)
        assert answer.finish_reason == "stop"
        assert answer.text == whole.text[: whole.text.index(stop)]
        assert np.array_equal(answer.ids, whole.ids[: len(answer.ids)])
        assert len(answer.ids) < len(whole.ids)
