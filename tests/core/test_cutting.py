"""Cutting: examples of each strategy, and what holds for every text and every tokenisation."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.cutting import STRATEGIES, Cut, cut, cut_completion
from rjepa_core.traces import Completion


def characters(text: str) -> np.ndarray:
    """Offsets of a tokenizer whose tokens are single characters."""
    return np.asarray([[i, i + 1] for i in range(len(text))], np.int32).reshape(-1, 2)


def steps(text: str, strategy: str = "auto") -> Cut:
    return cut(np.arange(len(text), dtype=np.int32), characters(text), text, strategy)


CASES = [
    # strategy asked, text, texts of the steps, answer, strategy used
    ("auto", "Step 1: a\nStep 2: b", ["Step 1: a\n", "Step 2: b"], None, "markers"),
    ("markers", "STEP 1: a\nstep 2 - b", ["STEP 1: a\n", "step 2 - b"], None, "markers"),
    ("markers", "1. a\n2. b\n3) c", ["1. a\n", "2. b\n", "3) c"], None, "markers"),
    ("markers", "**Step 1** a\n**Step 2:** b", ["**Step 1** a\n", "**Step 2:** b"], None, "markers"),
    ("markers", "## Step 1\na\n\n## Step 2\nb", ["## Step 1\na\n\n", "## Step 2\nb"], None, "markers"),
    ("markers", "Well. 1.5 is not it\n2.5 neither", ["Well. 1.5 is not it\n2.5 neither"], None, "markers"),
    ("markers", "Let us see.\nStep 1: a\nStep 2: b", ["Let us see.\nStep 1: a\n", "Step 2: b"], None, "markers"),
    ("markers", "Step 1: a. Step 2: b", ["Step 1: a. ", "Step 2: b"], None, "markers"),
    ("markers", "Step 1: as in step 2 we add", ["Step 1: as in step 2 we add"], None, "markers"),
    ("auto", "one\n\n two \nthree", ["one\n\n ", "two \n", "three"], None, "lines"),
    ("auto", "Step 1: a\nb", ["Step 1: a\n", "b"], None, "lines"),
    ("auto", "She has 3. Mr. Fox has 4.5! So?", ["She has 3. ", "Mr. Fox has 4.5! ", "So?"], None, "sentences"),
    ("sentences", "三个。四个。", ["三个。", "四个。"], None, "sentences"),
    ("sentences", "Half (e.g. two) remain. J. Doe left.", ["Half (e.g. two) remain. ", "J. Doe left."], None, "sentences"),
    ("auto", "a = 1\nb = 2\n#### 72", ["a = 1\n", "b = 2"], "#### 72", "lines"),
    ("auto", "a = 1\nb = 2\nA: 72\n\n", ["a = 1\n", "b = 2"], "A: 72", "lines"),
    ("auto", "a\nb\n**Answer: 72**", ["a\n", "b"], "**Answer: 72**", "lines"),
    ("auto", "a\nb\nThe final answer: 7", ["a\n", "b"], "The final answer: 7", "lines"),
    ("auto", "a\nb\n\\boxed{\\frac{1}{2}}", ["a\n", "b"], "\\boxed{\\frac{1}{2}}", "lines"),
    ("auto", "a\nb\n$\\boxed{72}$.", ["a\n", "b"], "$\\boxed{72}$.", "lines"),
    ("auto", "a\nso \\boxed{72} it is", ["a\n", "so \\boxed{72} it is"], None, "lines"),
    ("auto", "a\n#### 72\nb", ["a\n", "#### 72\n", "b"], None, "lines"),
    ("auto", "a\nAnswer: she has 3 left. Then she buys more.", ["a\n", "Answer: she has 3 left. Then she buys more."], None, "lines"),
    ("auto", "#### 72", [], "#### 72", "sentences"),
    ("auto", " \n\t ", [], None, "sentences"),
]  # fmt: skip


@pytest.mark.parametrize(("strategy", "text", "texts", "answer", "used"), CASES)
def test_examples(
    strategy: str, text: str, texts: list[str], answer: str | None, used: str
) -> None:
    found = steps(text, strategy)
    assert list(found.texts) == texts
    assert found.answer == answer
    assert found.strategy == used


def test_a_token_that_straddles_a_cut_belongs_to_the_earlier_step() -> None:
    text = "one\ntwo"
    found = cut(np.arange(3), np.asarray([[0, 2], [2, 5], [5, 7]]), text, "lines")
    assert found.texts == ("one\nt", "wo")


def test_a_space_in_front_of_a_steps_first_word_goes_with_the_word() -> None:
    text = "It is 3. Then 4."
    offsets = np.asarray([[0, 2], [2, 5], [5, 7], [7, 8], [8, 13], [13, 15], [15, 16]])
    found = cut(np.arange(7), offsets, text, "sentences")
    assert found.texts == ("It is 3.", " Then 4.")
    # A space in a token of its own, or a line break, stays with the step that it ends.
    offsets = np.asarray([[0, 2], [2, 5], [5, 7], [7, 8], [8, 9], [9, 13], [13, 15], [15, 16]])
    assert cut(np.arange(8), offsets, text, "sentences").texts == ("It is 3. ", "Then 4.")
    text = "one\ntwo\nthree"
    offsets = np.asarray([[0, 3], [3, 7], [7, 8], [8, 13]])
    assert cut(np.arange(4), offsets, text, "lines").texts == ("one\ntwo\n", "three")


def test_no_cut_inside_a_character() -> None:
    """The smiley's two tokens stay together, though the first begins before the cut."""
    text = "a.\n🙂 b"
    offsets = np.asarray([[0, 2], [2, 4], [3, 4], [4, 5], [5, 6]])
    found = cut(np.arange(5), offsets, text, "lines")
    assert found.texts == ("a.\n🙂", " b")


def test_steps_that_no_token_is_left_for_vanish() -> None:
    text = "a\nb\nc"
    found = cut(np.arange(2), np.asarray([[0, 4], [4, 5]]), text, "lines")
    assert found.texts == ("a\nb\n", "c")


def test_white_space_alone_is_no_step() -> None:
    text = "x\nA\n\ny"
    offsets = np.asarray([[0, 1], [1, 3], [3, 4], [4, 5], [5, 6]])
    assert cut(np.arange(5), offsets, text, "lines").texts == ("x\nA\n\n", "y")


def completion(text: str, finish: str, starts: tuple[int, ...] | None = None) -> Completion:
    return Completion(
        "",
        np.arange(1),
        (0, 1),
        text,
        np.arange(len(text)),
        characters(text),
        finish,
        starts,  # type: ignore[arg-type]
    )


def test_a_step_cut_off_by_the_length_limit_is_marked() -> None:
    cut_off = cut_completion(completion("Step 1: a\nStep 2: b and", "length"))
    assert [s.truncated for s in cut_off.spans] == [False, True]
    whole = cut_completion(completion("Step 1: a\nStep 2: b", "stop"))
    assert [s.truncated for s in whole.spans] == [False, False]


@pytest.mark.parametrize(
    "last", ["#### Step 3: Compute the to", "Answer: 1", "#### 7", "A: 1", "\\boxed{1}"]
)
def test_a_last_line_that_was_cut_off_is_no_answer(last: str) -> None:
    found = cut_completion(completion(f"Step 1: x.\nStep 2: y.\n{last}", "length"))
    assert found.answer is None
    assert found.spans[-1].truncated
    assert found.texts[-1].endswith(last)
    whole = cut_completion(completion("Step 1: x.\nStep 2: y.\nAnswer: 14\n", "length"))
    assert whole.answer == "Answer: 14"
    assert not whole.spans[-1].truncated


@pytest.mark.parametrize("line", ["a = 5", "ans = x", "#### Step 4: we add", "#### so. That is it"])
def test_lines_that_only_look_like_an_answer(line: str) -> None:
    assert steps(f"one\ntwo\n{line}").answer is None


def test_given_steps_are_kept() -> None:
    found = cut_completion(completion("a. b.\nc. d.\n#### 7", "given", (0, 6, 12)))
    assert found.texts == ("a. b.\n", "c. d.")
    assert found.answer == "#### 7"
    assert found.strategy == "given"


def test_an_unknown_strategy_is_refused() -> None:
    with pytest.raises(ValueError, match="markers, lines, sentences"):
        steps("a", "words")


TEXT = st.text(st.sampled_from("Step 12:.)\n\t *#A:é🙂漢。!?bx"), max_size=50) | st.text(
    max_size=30
)


@st.composite
def tokenised(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """A text in tokens of any lengths, some sharing a character, some without text."""
    text = draw(TEXT)
    offsets: list[tuple[int, int]] = []
    position = 0
    while position < len(text):
        size = draw(st.integers(0, 4))
        stop = min(len(text), position + size)
        shared = draw(st.integers(1, 3)) if stop > position else 1
        offsets += [(position, stop)] * shared
        position = stop
    offsets += [(position, position)] * draw(st.integers(0, 2))
    return text, np.asarray(offsets, np.int32).reshape(-1, 2)


@given(case=tokenised(), strategy=st.sampled_from(STRATEGIES))
def test_what_holds_for_every_text(case: tuple[str, np.ndarray], strategy: str) -> None:
    text, offsets = case
    found = cut(np.arange(len(offsets)), offsets, text, strategy)
    # Ordered, disjoint, non-empty, inside; side by side, so their union has no gap.
    assert all(0 <= s.start < s.stop <= len(offsets) for s in found.spans)
    assert all(a.stop == b.start for a, b in zip(found.spans, found.spans[1:], strict=False))
    for span, step in zip(found.spans, found.texts, strict=True):
        start, stop = offsets[span.start, 0], offsets[span.stop - 1, 1]
        assert text[start:stop] == step
        assert step.strip()
        # No cut falls inside a character that several tokens share.
        if span.start:
            assert offsets[span.start - 1, 1] <= start
        if span.stop < len(offsets):
            assert offsets[span.stop, 0] >= stop
    # Everything else is white space, has no text, or is the final-answer line.
    before = text[: offsets[found.spans[0].start, 0]] if found.spans else ""
    after = text[offsets[found.spans[-1].stop - 1, 1] :] if found.spans else text
    assert not before.strip()
    left = after.strip()
    assert not left or (found.answer is not None and found.answer.endswith(left))
