"""Cutting: examples of each strategy, and what holds for every text and every tokenisation."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rjepa_core.domain.blocks import only_delimiters
from rjepa_core.domain.segmentation import cut, cut_completion
from rjepa_core.domain.step_spans import Cut
from rjepa_core.domain.trace import Completion
from rjepa_core.settings.strategies import KNOWN_STRATEGIES


def characters(text: str) -> np.ndarray:
    """Offsets of a tokenizer whose tokens are single characters."""
    return np.asarray([[i, i + 1] for i in range(len(text))], np.int32).reshape(-1, 2)


def steps(text: str, strategy: str = "auto", thinking: str = "keep") -> Cut:
    ids = np.arange(len(text), dtype=np.int32)
    return cut(ids, characters(text), text, strategy, thinking=thinking)


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


@pytest.mark.parametrize("version", ["", "-1", "-2"])
@pytest.mark.parametrize(("strategy", "text", "texts", "answer", "used"), CASES)
def test_examples(
    strategy: str, text: str, texts: list[str], answer: str | None, used: str, version: str
) -> None:
    found = steps(text, strategy + version)
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


def completion(
    text: str, finish: str, starts: tuple[int, ...] | None = None, prompt: str = ""
) -> Completion:
    return Completion(
        prompt,
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
    for name in ("words", "auto-3", "paragraphs-1"):
        with pytest.raises(ValueError, match="markers, lines, sentences"):
            steps("a", name)


THOUGHT = "<think>\nOkay, I need to add.\n\n17 is 10 and 7.\n</think>\n\n"
ANSWERED = "Step 1: Split the numbers.\nStep 2: Add: 42.\nAnswer: 42"
DISPLAYED = "Subtract 3:\n\\[\n2x = 8\n\\]\nSo:\n\\[\n\\boxed{4}\n\\]"


def test_the_first_rules_stay_as_they_were() -> None:
    found = steps(THOUGHT + ANSWERED, "auto-1")
    assert found.texts == (
        f"{THOUGHT}Step 1: Split the numbers.\n",
        "Step 2: Add: 42.",
    )
    assert not any(span.thinking for span in found.spans)
    found = steps(DISPLAYED, "auto-1")
    lines = ("Subtract 3:\n", "\\[\n", "2x = 8\n", "\\]\n", "So:\n", "\\[\n", "\\boxed{4}\n", "\\]")
    assert (found.texts, found.answer) == (lines, None)


THINKING = [
    # text, steps of thinking, other steps, answer, strategy
    (THOUGHT + ANSWERED,
     ["<think>\nOkay, I need to add.\n\n", "17 is 10 and 7.\n</think>\n\n"],
     ["Step 1: Split the numbers.\n", "Step 2: Add: 42."], "Answer: 42", "markers"),
    ("Hm. So.\n</think>\nWe add.\nWe get 3.\n#### 3",
     ["Hm. ", "So.\n</think>\n"], ["We add.\n", "We get 3."], "#### 3", "lines"),
    ("<think>\nPlan:\n1. one\n2. two\n</think>\na\nb",
     ["<think>\nPlan:\n", "1. one\n", "2. two\n</think>\n"], ["a\n", "b"], None, "lines"),
    ("<think>\na\n</think>\nb\n<think>\nc\n</think>\nd\nA: 5",
     ["<think>\na\n</think>\n", "<think>\nc\n</think>\n"], ["b\n", "d"], "A: 5", "lines"),
    ("<think>\n\n</think>\n\nStep 1: a\nStep 2: b", [], ["Step 1: a\n", "Step 2: b"], None, "markers"),
    ("a\nb\n<think>\n</think>\n", [], ["a\n", "b"], None, "lines"),
    ("<think>\r\nHm.\r\n\r\nYes.\r\n</think>\r\n\r\na\r\nb\r\nA: 1\r\n",
     ["<think>\r\nHm.\r\n\r\n", "Yes.\r\n</think>\r\n\r\n"], ["a\r\n", "b"], "A: 1", "lines"),
    ("<think>\n好的，相加。然后检查。\n</think>\n三个。四个。",
     ["<think>\n好的，相加。", "然后检查。\n</think>\n"], ["三个。", "四个。"], None, "sentences"),
    ("<think>\nOkay.\n\nSo \\[\\boxed{4}\\]\nAnswer: 4",
     ["<think>\nOkay.\n\n", "So \\[\\boxed{4}\\]\nAnswer: 4"], [], None, "paragraphs"),
    ("<reasoning>\na\nb\n</reasoning>\nc", ["<reasoning>\na\n", "b\n</reasoning>\n"], ["c"], None, "sentences"),
    ("<|begin_of_thought|>\n\na\n\nb\n\n<|end_of_thought|>\n\nc",
     ["<|begin_of_thought|>\n\na\n\n", "b\n\n<|end_of_thought|>\n\n"], ["c"], None, "sentences"),
    ("[THINK]a. b.[/THINK]c", ["[THINK]a. ", "b.[/THINK]"], ["c"], None, "sentences"),
    # Words about tags.
    ("Use `<think>` here.\nOr there.", [], ["Use `<think>` here.\n", "Or there."], None, "lines"),
    ("Use <think> here.\nOr there.", [], ["Use <think> here.\n", "Or there."], None, "lines"),
    ("Write:\n```\n<think>\n\na\n</think>\n```\nDone.",
     [], ["Write:\n```\n<think>\n\na\n</think>\n```\n", "Done."], None, "lines"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "thought", "said", "answer", "used"), THINKING)
def test_thinking_is_cut_for_itself(
    text: str, thought: list[str], said: list[str], answer: str | None, used: str
) -> None:
    found = steps(text)
    pairs = list(zip(found.spans, found.texts, strict=True))
    assert [words for span, words in pairs if span.thinking] == thought
    assert [words for span, words in pairs if not span.thinking] == said
    assert (found.answer, found.strategy) == (answer, used)


@pytest.mark.parametrize(("text", "thought", "said", "answer", "used"), THINKING)
def test_thinking_can_be_left_out(
    text: str, thought: list[str], said: list[str], answer: str | None, used: str
) -> None:
    found = steps(text, thinking="drop")
    assert list(found.texts) == said
    assert found.answer == answer
    assert not any(span.thinking for span in found.spans)


def test_a_strategy_that_was_asked_for_cuts_the_thinking_too() -> None:
    found = steps("<think>\nOne. Two.\n\nThree.\n</think>\na\nb", "sentences")
    assert found.texts == ("<think>\nOne. ", "Two.\n\n", "Three.\n</think>\n", "a\n", "b")


def test_thinking_that_the_prompt_began() -> None:
    prompt = "<|user|>What?<|assistant|><think>\n"
    closed = cut_completion(completion("Hm.\n</think>\na\nb", "stop", prompt=prompt))
    assert [span.thinking for span in closed.spans] == [True, False, False]
    cut_off = cut_completion(completion("Hm. So it is\nAnswer: 4", "length", prompt=prompt))
    assert all(span.thinking for span in cut_off.spans)
    assert cut_off.answer is None
    assert cut_off.spans[-1].truncated
    # A given solution says by its own tags that it thinks, and so does a template that closes them.
    given_one = cut_completion(completion("a\nb", "given", prompt=prompt))
    switched_off = cut_completion(completion("a\nb", "stop", prompt=f"{prompt}\n</think>\n\n"))
    assert not any(span.thinking for span in (*given_one.spans, *switched_off.spans))


def test_the_last_step_is_cut_off_only_if_the_end_is_its_own() -> None:
    text = "a\nb\n<think>\nOkay, so"
    kept = cut_completion(completion(text, "length"))
    assert [(s.thinking, s.truncated) for s in kept.spans][-1] == (True, True)
    left_out = cut_completion(completion(text, "length"), thinking="drop")
    assert [s.truncated for s in left_out.spans] == [False, False]


BLOCKS = [
    # strategy asked, text, texts of the steps, answer
    ("auto", DISPLAYED, ["Subtract 3:\n\\[\n2x = 8\n\\]\n", "So:\n\\[\n\\boxed{4}\n\\]"], "\\boxed{4}"),
    ("auto", "We add.\n$$\nx = 2\n$$\nThen\n$$\ny\n\n= 3\n$$\nDone.",
     ["We add.\n", "$$\nx = 2\n$$\n", "Then\n$$\ny\n\n= 3\n$$\n", "Done."], None),
    ("auto", "So\n\\begin{align}\na &= 1 \\\\[2pt]\n\nb &= 2\n\\end{align}\nDone.",
     ["So\n\\begin{align}\na &= 1 \\\\[2pt]\n\nb &= 2\n\\end{align}\n", "Done."], None),
    ("auto", "Step 1: Write\n```python\n# Step 1: no\n\nStep 2: no\n```\nStep 2: Run it.",
     ["Step 1: Write\n```python\n# Step 1: no\n\nStep 2: no\n```\n", "Step 2: Run it."], None),
    ("auto", "1. Do:\n   ~~~~sh\n   1. no\n   ~~~\n   2. no\n   ~~~~\n2. Done",
     ["1. Do:\n   ~~~~sh\n   1. no\n   ~~~\n   2. no\n   ~~~~\n", "2. Done"], None),
    ("auto", "Step 1: a\r\n```\r\nStep 3: c\r\n\r\n```\r\nStep 2: b\r\n#### 18\r\n",
     ["Step 1: a\r\n```\r\nStep 3: c\r\n\r\n```\r\n", "Step 2: b"], "#### 18"),
    ("lines", "It runs.\n```\nx\n\ny\n```\nDone.", ["It runs.\n", "```\nx\n\ny\n```\n", "Done."], None),
    ("lines", "See ```x``` and\ny", ["See ```x``` and\n", "y"], None),
    ("sentences", "So \\[ x = 1. y = 2. \\] Then it. Now.", ["So \\[ x = 1. y = 2. \\] Then it. ", "Now."], None),
    ("paragraphs", "a\nb\n\nc\n \n```\nd\n\ne\n```\n\nf", ["a\nb\n\n", "c\n \n", "```\nd\n\ne\n```\n\n", "f"], None),
    ("paragraphs", "a\r\n\r\nb", ["a\r\n\r\n", "b"], None),
    ("paragraphs", "a\nb", ["a\nb"], None),
    ("lines", "Look:\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\nSo.", ["Look:\n\n| a | b |\n|---|:-:|\n| 1 | 2 |\n\n", "So."], None),
    # Delimiters that belong to nothing, or that were cut off.
    ("lines", "a\n\\]\nb", ["a\n\\]\n", "b"], None),
    ("lines", "One.\n---\nTwo.", ["One.\n---\n", "Two."], None),
    ("lines", "a\n<answer>\n42\n</answer>", ["a\n", "<answer>\n42\n</answer>"], None),
    ("lines", "Code:\n```\nx\n\ny", ["Code:\n```\nx\n\ny"], None),
    ("lines", "We get\n\\[\nx = 1", ["We get\n\\[\nx = 1"], None),
    ("lines", "Costs $$ 5.\nOk.\n\nWe get\n$$\nx\n$$\nDone.", ["Costs $$ 5.\nOk.\n\n", "We get\n$$\nx\n$$\n", "Done."], None),
    ("auto", "```\n```", [], None),
    ("auto", "$$", [], None),
    # Answers inside.
    ("lines", "We get x.\n$$\n\\boxed{\\frac{1}{2}}\n$$.", ["We get x."], "$$\n\\boxed{\\frac{1}{2}}\n$$."),
    ("lines", "Hence.\n$$\\boxed{\\frac{1}{2}}$$", ["Hence."], "$$\\boxed{\\frac{1}{2}}$$"),
    ("lines", "a\nHence\n$$\\boxed{\\frac{1}{2}}$$.", ["a\n", "Hence\n$$\\boxed{\\frac{1}{2}}$$."], "\\boxed{\\frac{1}{2}}"),
    ("lines", "Hence\n\\boxed{\\frac{1}{2}}", ["Hence"], "\\boxed{\\frac{1}{2}}"),
    ("lines", "So \\[\\boxed{4}\\]", ["So \\[\\boxed{4}\\]"], "\\boxed{4}"),
    ("lines", "\\[ x = 4 \\]\n\\[ \\boxed{4} \\]", ["\\[ x = 4 \\]"], "\\[ \\boxed{4} \\]"),
    ("lines", "\\[\n\\boxed{4}\n\\]", [], "\\[\n\\boxed{4}\n\\]"),
    ("lines", "a\n\\[ x = \\boxed{3} \\]\nno:\n\\[ x = \\boxed{\\{4\\}} \\]\nOk.",
     ["a\n\\[ x = \\boxed{3} \\]\n", "no:\n\\[ x = \\boxed{\\{4\\}} \\]\n", "Ok."], "\\boxed{\\{4\\}}"),
    ("lines", "Run\n```\nprint(18)\n```\n#### 18", ["Run\n```\nprint(18)\n```"], "#### 18"),
    ("lines", "Done.\n```\nAnswer: 18\n```", ["Done."], "```\nAnswer: 18\n```"),
    ("lines", "Done.\n```\nx = 18\nAnswer: 18\n```", ["Done.\n", "```\nx = 18\nAnswer: 18\n```"], "Answer: 18"),
    # Lists in lists.
    ("markers", "1. a\n   - b\n   1. c\n2. d", ["1. a\n   - b\n   1. c\n", "2. d"], None),
    ("markers", "### Step 1: Cases\n1. a\n2. b\n\n### Step 2\n1. c", ["### Step 1: Cases\n1. a\n2. b\n\n", "### Step 2\n1. c"], None),
    ("markers", "**Step 1**\n\na\n\n**Step 2**\n\nb", ["**Step 1**\n\na\n\n", "**Step 2**\n\nb"], None),
]  # fmt: skip


@pytest.mark.parametrize(("strategy", "text", "texts", "answer"), BLOCKS)
def test_blocks_stay_whole(strategy: str, text: str, texts: list[str], answer: str | None) -> None:
    found = steps(text, strategy)
    assert list(found.texts) == texts
    assert found.answer == answer


def test_a_block_that_was_cut_off_is_no_answer() -> None:
    open_one = cut_completion(completion("Step 1: a.\nStep 2: b\n\\[\n\\boxed{1", "length"))
    assert (open_one.answer, open_one.spans[-1].truncated) == (None, True)
    # A whole box is one, wherever the text ends; what it stands in stays a step.
    closed = cut_completion(completion("a.\nb\n\\[\n\\boxed{14}\n\\]", "length"))
    assert (closed.answer, closed.spans[-1].truncated) == ("\\boxed{14}", True)
    assert closed.texts[-1] == "b\n\\[\n\\boxed{14}\n\\]"


def test_a_given_steps_box_is_the_answer_and_stays_in_the_step() -> None:
    text = "a\n\\[\n\\boxed{4}\n\\]"
    found = cut_completion(completion(text, "given", (0, 2)))
    assert found.texts == ("a\n", text[2:])
    assert found.answer == "\\boxed{4}"


@pytest.mark.parametrize(
    "piece",
    ["<think>", "x <think> ", "```a\n", "\\[ x\n\n", "$$ x\n\n", "\\begin{align}\n\n", "\\boxed{",
     "---\n", "| a\n|-\n", "-" * 500 + "x\n", "1. a\n", "a. ", " \n", "<think></think>a"],
)  # fmt: skip
def test_long_texts_are_cut_in_time(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    began = time.perf_counter()
    steps(text)
    assert time.perf_counter() - began < 10


TEXT = st.text(st.sampled_from("Step 12:.)\n\t *#A:é🙂漢。!?bx"), max_size=50) | st.text(
    max_size=30
)


@st.composite
def tokenised(draw: st.DrawFn, texts: st.SearchStrategy[str] = TEXT) -> tuple[str, np.ndarray]:
    """A text in tokens of any lengths, some sharing a character, some without text."""
    text = draw(texts)
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


@given(case=tokenised(), strategy=st.sampled_from(KNOWN_STRATEGIES))
def test_what_holds_for_every_text(case: tuple[str, np.ndarray], strategy: str) -> None:
    text, offsets = case
    found = cut(np.arange(len(offsets)), offsets, text, strategy)
    # Side by side, so their union has no gap.
    assert all(a.stop == b.start for a, b in zip(found.spans, found.spans[1:], strict=False))
    check(found, offsets, text)
    # Everything else is white space, has no text, or is the final-answer line.
    before = text[: offsets[found.spans[0].start, 0]] if found.spans else ""
    after = text[offsets[found.spans[-1].stop - 1, 1] :] if found.spans else text
    assert only_delimiters(before)
    left = after.strip()
    assert only_delimiters(left) or (found.answer is not None and found.answer.endswith(left))


MARKS = st.lists(
    st.sampled_from(
        ["<think>", "</think>", "<think>\n\n</think>", "```", "```py\n", "~~~", "\\[", "\\]", "$$",
         "\\begin{align}", "\\end{align}", "\\boxed{4}", "#### 4", "Step 1: ", "1. ", "- ", "---",
         "|-|\n", "| a ", "<b>", "\n", "\n\n", "\r\n", " ", "a", "b. ", "é🙂", "漢。", "Answer: 7"]
    ),
    max_size=24,
).map("".join)  # fmt: skip


@given(
    case=tokenised(MARKS),
    strategy=st.sampled_from(KNOWN_STRATEGIES),
    thinking=st.sampled_from(["keep", "drop"]),
    opened=st.sampled_from([None, "<think>"]),
)
def test_what_holds_with_thinking_and_blocks(
    case: tuple[str, np.ndarray], strategy: str, thinking: str, opened: str | None
) -> None:
    text, offsets = case
    found = cut(np.arange(len(offsets)), offsets, text, strategy, thinking=thinking, opened=opened)
    check(found, offsets, text)
    if strategy.endswith("-1"):
        return
    assert not any(only_delimiters(words) for words in found.texts)
    assert thinking == "keep" or not any(span.thinking for span in found.spans)
    if thinking == "keep":
        covered = np.zeros(len(offsets), bool)
        for span in found.spans:
            covered[span.start : span.stop] = True
        left = "\n".join(text[a:b] for a, b in offsets[~covered])
        kept = found.answer or ""
        assert not set(left) - set(kept) - set(" \n\r<think/>`~py\\[]()$begin{align}d|-:")


def check(found: Cut, offsets: np.ndarray, text: str) -> None:
    """Spans are ordered, disjoint, not empty and inside, and their texts are theirs."""
    assert all(0 <= s.start < s.stop <= len(offsets) for s in found.spans)
    assert all(a.stop <= b.start for a, b in zip(found.spans, found.spans[1:], strict=False))
    for span, step in zip(found.spans, found.texts, strict=True):
        start, stop = offsets[span.start, 0], offsets[span.stop - 1, 1]
        assert text[start:stop] == step
        assert step.strip()
        # No cut falls inside a character that several tokens share.
        if span.start:
            assert offsets[span.start - 1, 1] <= start
        if span.stop < len(offsets):
            assert offsets[span.stop, 0] >= stop
