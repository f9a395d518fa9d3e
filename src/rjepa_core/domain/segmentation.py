"""Cut a completion into steps: the only place where this happens.

A cut is found in the text and then moved to a token boundary that is also a character boundary, so
that a step's text is the decoding of its span. A token with text of two steps belongs to the
earlier one; a space that shares its token with a step's first word goes with the word. The rules
apply to the completion alone; of the prompt it matters only whether it ends with an opening
thinking tag.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from ..settings import KEEP, rules_of
from . import rules_1, rules_2
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
        strategy: one of `STRATEGIES`, optionally with a version (`auto-1`).
        finished: false if the text was cut off, so that its last line may be incomplete and is not
            taken for an answer.
        thinking: `keep` to cut it into steps of its own, `drop` to leave it out.
        opened: the tag with which the prompt opened thinking, if it did.

    Returns:
        ordered, disjoint, non-empty spans that together cover every token except leading and
        trailing white space, tokens without text at the end, a bare final answer, empty pairs of
        delimiters, and thinking that is left out.

    Raises:
        ValueError: unknown strategy, or offsets of another length than ids.
    """
    if len(ids) != len(offsets):
        raise ValueError(f"{len(ids)} ids, but {len(offsets)} offsets")
    name, version = rules_of(strategy)
    if version == 1:
        return rules_1.cut(ids, offsets, text, name, finished=finished)
    return rules_2.cut(
        offsets, text, name, finished=finished, keep_thinking=thinking == KEEP, opened=opened
    )[0]


def cut_completion(completion: Completion, strategy: str = "auto", thinking: str = KEEP) -> Cut:
    """Cut a backend's completion into steps; a given solution's own steps stay as given."""
    name, version = rules_of(strategy)
    if version == 1:
        return rules_1.cut_completion(completion, name)
    if completion.step_starts is not None:
        result = rules_1.cut_completion(completion)
        boxed = rules_2.boxed_in_blocks(completion.text) if result.answer is None else None
        return attrs.evolve(result, answer=boxed) if boxed else result
    text, cut_off = completion.text, completion.finish_reason == "length"
    result, to_the_end = rules_2.cut(
        completion.offsets,
        text,
        name,
        # A line that ended before the limit was reached is complete.
        finished=not cut_off or text.endswith("\n"),
        keep_thinking=thinking == KEEP,
        # A given solution need not continue what the prompt opened.
        opened=None if completion.finish_reason == "given" else opened_by(completion.prompt_text),
    )
    if cut_off and to_the_end and result.spans:
        last = attrs.evolve(result.spans[-1], truncated=True)
        result = attrs.evolve(result, spans=(*result.spans[:-1], last))
    return result


def make_trace(
    problem: Problem,
    sample: int,
    completion: Completion,
    steps: Cut,
    metadata: Mapping[str, str] | None = None,
) -> Trace:
    """Return the trace of a problem whose completion was cut into at least one step."""
    return Trace(
        problem=problem,
        sample=sample,
        prompt_text=completion.prompt_text,
        prompt_ids=completion.prompt_ids,
        statement_span=completion.statement_span,
        completion=completion.text,
        completion_ids=completion.ids,
        spans=steps.spans,
        step_texts=steps.texts,
        answer=steps.answer,
        strategy=steps.strategy,
        finish_reason=completion.finish_reason,
        metadata=dict(metadata or {}),
    )
