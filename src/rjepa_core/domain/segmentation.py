"""Cut a completion into steps: the one place where this happens.

A cut is found in the text and then moved to a token boundary that is also a character boundary, so
that a step's text is the decoding of its span. A token with text of two steps belongs to the
earlier one; a space that shares its token with a step's first word goes with the word. The rules
hold for the completion alone; of the prompt they ask only whether it ends by opening a thinking
tag.

"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..settings import KEEP, rules_of
from . import rules_1 as cutting_v1
from . import rules_2 as cutting_v2
from .problem import Problem
from .step_spans import Cut
from .thinking import opened_by
from .trace import Completion, Offsets, TokenIds, Trace


def cut(
    ids: TokenIds,
    offsets: Offsets,
    text: str,
    strategy: str = "auto",
    *,
    finished: bool = True,
    thinking: str = KEEP,
    opened: str | None = None,
) -> Cut:
    """Cut a completion into steps.

    Args:
        ids: int32 [T], the completion's tokens.
        offsets: int32 [T, 2], characters of `text` that each token covers (see `Completion`).
        text: the decoded completion.
        strategy: one of `STRATEGIES`, perhaps with a version (`auto-1`).
        finished: false if the text was cut off, so that its last line is no answer, as far as it
            goes, but the beginning of something.
        thinking: `keep` to cut it into steps of its own, `drop` to leave it out.
        opened: the tag by which the prompt began thinking, if it did.

    Returns:
        ordered, disjoint, non-empty spans which together cover every token but leading and
        trailing white space, tokens without text at the end, the final answer, delimiters with
        nothing in them, and thinking that is left out.

    Raises:
        ValueError: unknown strategy, or offsets of another length than ids.
    """
    if len(ids) != len(offsets):
        raise ValueError(f"{len(ids)} ids, but {len(offsets)} offsets")
    name, version = rules_of(strategy)
    if version == 1:
        return cutting_v1.cut(ids, offsets, text, name, finished=finished)
    return cutting_v2.cut(
        offsets, text, name, finished=finished, keep_thinking=thinking == KEEP, opened=opened
    )[0]


def cut_completion(completion: Completion, strategy: str = "auto", thinking: str = KEEP) -> Cut:
    """Cut what a backend produced; a given solution's own steps stay as they were given."""
    name, version = rules_of(strategy)
    if version == 1:
        return cutting_v1.cut_completion(completion, name)
    if completion.step_starts is not None:
        found = cutting_v1.cut_completion(completion)
        boxed = cutting_v2.boxed_in_blocks(completion.text) if found.answer is None else None
        return attrs.evolve(found, answer=boxed) if boxed else found
    text, cut_off = completion.text, completion.finish_reason == "length"
    found, to_the_end = cutting_v2.cut(
        completion.offsets,
        text,
        name,
        # A line that ended before the limit came is whole.
        finished=not cut_off or text.endswith("\n"),
        keep_thinking=thinking == KEEP,
        # A given solution need not go on with what the prompt began.
        opened=None if completion.finish_reason == "given" else opened_by(completion.prompt_text),
    )
    if cut_off and to_the_end and found.spans:
        last = attrs.evolve(found.spans[-1], truncated=True)
        found = attrs.evolve(found, spans=(*found.spans[:-1], last))
    return found


def make_trace(
    problem: Problem,
    sample: int,
    completion: Completion,
    found: Cut,
    metadata: Mapping[str, str] | None = None,
) -> Trace:
    """The trace of a problem whose completion was cut into at least one step."""
    return Trace(
        problem=problem,
        sample=sample,
        prompt_text=completion.prompt_text,
        prompt_ids=completion.prompt_ids,
        statement_span=completion.statement_span,
        completion=completion.text,
        completion_ids=completion.ids,
        spans=found.spans,
        step_texts=found.texts,
        answer=found.answer,
        strategy=found.strategy,
        finish_reason=completion.finish_reason,
        metadata=dict(metadata or {}),
    )
