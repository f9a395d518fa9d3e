"""One record, as facts and as lines."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from rjepa_core.domain.floors import FEWEST_COMPARED
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import RecordKey
from rjepa_core.plugins import open_world_model
from rjepa_core.ports.store import KeepsGrades, LatentStore
from rjepa_core.scoring import Comparison, comparison, score, wrong_step
from rjepa_core.text import count

from ..console import short_name
from .bars import bar

Facts = dict[str, Any]


def record_facts(record: LatentRecord, store: LatentStore) -> Facts:
    """Return what a record holds as JSON values, with norms for vectors."""
    trace, identity = record.trace, store.identity
    layers = identity.space.layers if identity else range(len(record.latents))
    norms = np.linalg.norm(record.latents.astype(np.float32), axis=-1)
    prompt_norms = np.linalg.norm(record.prompt_latent.astype(np.float32), axis=-1)
    # Imported records may have only vectors.
    spans = trace.spans or (None,) * norms.shape[1]
    texts = trace.step_texts or (None,) * norms.shape[1]
    steps = [
        {
            "text": text,
            "span": [span.start, span.stop] if span else None,
            "truncated": bool(span and span.truncated),
            "thinking": bool(span and span.thinking),
            "norms": {str(layer): _short(norms[i, j]) for i, layer in enumerate(layers)},
            "logprob": _short(record.logprobs[j]) if record.logprobs is not None else None,
        }
        for j, (span, text) in enumerate(zip(spans, texts, strict=True))
    ]
    return {
        "id": str(record.key),
        "domain": trace.problem.domain,
        "statement": trace.problem.statement,
        "reference_answer": trace.problem.answer,
        "prompt": trace.prompt_text,
        "prompt_tokens": len(trace.prompt_ids),
        "prompt_norms": {
            str(layer): _short(n) for layer, n in zip(layers, prompt_norms, strict=True)
        },
        "completion_tokens": len(trace.completion_ids),
        "strategy": trace.strategy,
        "finish_reason": trace.finish_reason,
        "answer": trace.answer,
        **_grade_facts(store, record.key),
        "metadata": {**trace.problem.metadata, **trace.metadata},
        "latents": list(record.latents.shape),
        "dtype": str(record.latents.dtype),
        "steps": steps,
    }


def _grade_facts(store: LatentStore, key: RecordKey) -> Facts:
    grade = store.grade(key) if isinstance(store, KeepsGrades) else None
    if grade is None:
        return {}
    return {
        "grade": {
            "mark": grade.mark,
            "reason": grade.reason,
            "answer": grade.answer,
            "grader": grade.grader,
            "version": grade.version,
        }
    }


def record_lines(facts: Facts) -> list[str]:
    """Return the facts as lines of text."""
    layers, steps, width = facts["latents"]
    lines = [
        f"record   {facts['id']} ({facts['domain']}): "
        f"{layers} × {steps} × {width} {facts['dtype']}",
        f"prompt   {count(facts['prompt_tokens'], 'token')}; "
        f"|latent| {_norms(facts['prompt_norms'])}",
        *_indented(facts["prompt"] or facts["statement"]),
        f"steps    {steps} by {facts['strategy']}, {count(facts['completion_tokens'], 'token')}, "
        f"finish {facts['finish_reason']}",
    ]
    if "compared_with" in facts:
        lines.append(compared_line(facts["compared_with"]))
    largest = max((step.get("surprise", 0.0) for step in facts["steps"]), default=0.0)
    for number, step in enumerate(facts["steps"], 1):
        where = "thinking, " if step["thinking"] else ""
        where += "tokens {}:{}, ".format(*step["span"]) if step["span"] else ""
        logprob = f", logprob {step['logprob']}" if step["logprob"] is not None else ""
        cut = ", cut off" if step["truncated"] else ""
        norms = _norms(step["norms"])
        lines.append(f"  {number}. {where}|latent| {norms}{logprob}{cut}")
        lines += _indented(step["text"] or "", 5)
        if "surprise" in step:
            lines.append(" " * 5 + surprise_line(step, largest))
        if "wrong" in step:
            lines.append(" " * 5 + wrong_line(step["wrong"], number - 1 == facts["wrong_step"]))
    if facts["answer"] is not None:
        lines += _labelled("answer", facts["answer"])
    if "right" in facts:
        lines.append(
            f"right    {percent(facts['right'])}: the probability that the answer is right"
        )
    if facts["reference_answer"] is not None:
        lines += _labelled("expected", facts["reference_answer"])
    if (grade := facts.get("grade")) is not None:
        why = f" ({grade['reason']})" if grade["reason"] else ""
        read = f": {grade['answer']!r}" if grade["answer"] is not None else ""
        lines.append(f"grade    {grade['mark']}{why}{read}, by {grade['grader']}")
    if facts["metadata"]:
        lines.append("metadata " + ", ".join(f"{k}={v}" for k, v in facts["metadata"].items()))
    if facts["other_samples"]:
        lines.append(f"also     {', '.join(map(short_name, facts['other_samples']))}")
    return lines


def _norms(norms: dict[str, float]) -> str:
    if len(norms) == 1:
        return f"{next(iter(norms.values()))}"
    return ", ".join(f"{norm} (layer {layer})" for layer, norm in norms.items())


def _short(value: Any) -> float:
    return float(f"{float(value):.4g}")


def _labelled(label: str, text: str) -> list[str]:
    first, *more = _indented(text)
    return [f"{label:<9}{first.strip()}", *more]


def _indented(text: str, by: int = 9) -> list[str]:
    return [" " * by + line for line in text.strip().replace("\r\n", "\n").split("\n")]


def add_scores(facts: dict[str, Any], store: LatentStore, key: RecordKey, world_model: str) -> None:
    """Add each step's surprise, its percentile in validation, and a verifier's verdict to facts."""
    opened = open_world_model(world_model)
    try:
        [scored] = score(store, [key], opened)
    finally:
        opened.close()
    facts["world_model"] = world_model
    compared = comparison(opened.info, len(facts["steps"]))
    facts["compared_with"] = compared_facts(compared)
    for number, step in enumerate(facts["steps"]):
        step["surprise"] = float(f"{scored.surprise[number]:.4g}")
        if scored.percentiles is not None:
            step["surprise_percentile"] = round(scored.percentiles[number])
        if scored.verdict is not None:
            step["wrong"] = float(f"{scored.verdict.wrong[number]:.6g}")
    if scored.verdict is not None:
        facts["right"] = float(f"{scored.verdict.right:.6g}")
        facts["wrong_step"] = wrong_step(scored.verdict)


def compared_facts(compared: Comparison | None) -> Facts | None:
    """Return what percentiles are among as JSON values; `steps` is null for all lengths."""
    if compared is None:
        return None
    return {"steps": compared.steps, "solutions": compared.traces, "text": str(compared)}


def compared_line(compared: Facts | None) -> str:
    """Return what the percentages are of, or why there are none."""
    if compared is None:
        few = f"fewer than {FEWEST_COMPARED} solutions of validation to compare with"
        return f"percent  none: the world model has {few}"
    return f"percent  {compared['text']}"


def surprise_line(step: Mapping[str, Any], largest: float) -> str:
    """Return a bar, the number, and the percentage of steps with less surprise."""
    shown = bar(step["surprise"] / largest if largest > 0 else 0.0)
    place = step.get("surprise_percentile")
    among = f", above {place} %" if place is not None else ""
    most = "  <- the most surprising" if step["surprise"] == largest else ""
    return f"surprise {step['surprise']:<6} {shown}{among}{most}".rstrip()


def wrong_line(wrong: float, marked: bool) -> str:
    """Return the probability that a step is wrong, with a bar."""
    mark = "  <- probably wrong" if marked else ""
    return f"wrong    {percent(wrong):<6} {bar(wrong)}{mark}".rstrip()


def percent(share: float) -> str:
    """Return a probability in percent; only what is certain is 0 or 100 %."""
    rounded = round(100 * share)
    if rounded in (0, 100) and share not in (0.0, 1.0):
        return "< 1 %" if rounded == 0 else "> 99 %"
    return f"{rounded} %"
