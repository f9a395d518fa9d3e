"""The final answer that a text gives, without what stands around it."""

from __future__ import annotations

import time

import attrs
import pytest

from rjepa_core.domain.answer import answer_of, final_answer, reference_answer
from rjepa_core.domain.trace import Trace
from rjepa_core.testing.samples import sample_identity, sample_record

ANSWERS = [
    ("Answer: 2", "2"),
    ("A: 18", "18"),
    ("#### 18", "18"),
    ("16 + 2 = 18\n#### 18", "18"),
    ("**Answer:** 18", "18"),
    ("**Final Answer**: $\\boxed{35}$", "35"),
    ("- Ans: 5", "5"),
    ("So \\boxed{\\frac{1}{2}} it is.", "\\frac{1}{2}"),
    ("\\boxed{3}, no: \\boxed{4}", "4"),
    ("\\[ \\boxed{\\{4\\}} \\]", "\\{4\\}"),
    ("\\boxed 5 is it", "5"),
    ("\\fbox{3}", "3"),
    ("The answer is 18.", "18"),
    ("The final answer is $18.50. Bye", "$18.50"),
    ("The answer to the question is: 5 km", "5 km"),
    ("The answer is:\n18", "18"),
    ("The answer is 5, because 2 + 3 = 5.", "5"),
    ("Answer: The answer is B.", "B"),
    ("Answer: 18\n\nI hope that helps!", "18"),
    ("Answer: 3\nNo, wait. The answer is 4.", "4"),
    ("We get 18.", None),
    ("The answers are many.", None),
    ("Answer:", None),
    ("\\boxed{", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "answer"), ANSWERS)
def test_final_answer(text: str, answer: str | None) -> None:
    assert final_answer(text) == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [("18", "18"), (" 18 ", "18"), ("#### 18", "18"), ("A: 18", "18"), ("  ", None), (None, None)],
)
def test_reference_answer(text: str | None, answer: str | None) -> None:
    assert reference_answer(text) == answer


def trace(completion: str, **changes: object) -> Trace:
    found = sample_record(sample_identity()).trace
    changes = {"answer": None, "finish_reason": "stop", **changes}
    return attrs.evolve(found, completion=completion, **changes)  # type: ignore[arg-type]


def test_of_a_trace() -> None:
    assert answer_of(trace("x\nAnswer: 2", answer="Answer: 2")) == "2"
    assert answer_of(trace("x", answer="7")) == "7"
    assert answer_of(trace("So the answer is 5.")) == "5"
    assert answer_of(trace("So it goes.")) is None


def test_thinking_gives_none() -> None:
    assert answer_of(trace("<think>\nThe answer is 4.\n</think>\nHm. The answer is 5.")) == "5"
    assert answer_of(trace("<think>\nThe answer is 4.\n</think>\nHm.")) is None
    assert answer_of(trace("<think>\nThe answer is 4.")) is None
    assert answer_of(trace("The answer is 4.", prompt_text="Solve.\n<think>\n")) is None


def test_what_was_cut_off_is_no_answer() -> None:
    assert answer_of(trace("The answer is 18", finish_reason="length")) is None
    assert answer_of(trace("The answer is 18. Then", finish_reason="length")) == "18"
    assert answer_of(trace("Answer: 18\nThen", finish_reason="length")) == "18"
    assert answer_of(trace("Answer: 1", finish_reason="length")) is None
    assert answer_of(trace("Answer: 18\n", finish_reason="length")) == "18"
    assert answer_of(trace("It is \\boxed{18} and", finish_reason="length")) == "18"


@pytest.mark.parametrize(
    "part",
    ["\\boxed{", "{", "answer is ", "answer is", " ", "Answer: ", "\n", "> ", "*_-", "answer to "],
)
def test_long_texts_take_no_time(part: str) -> None:
    began = time.perf_counter()
    final_answer("answer is" + part * (100_000 // len(part)))
    assert time.perf_counter() - began < 1.0
