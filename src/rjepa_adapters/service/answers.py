"""Results as JSON or safetensors."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel
from pydantic_core import PydanticSerializationError
from starlette.requests import Request
from starlette.responses import Response

from rjepa_adapters.remote import protocol as wire
from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import StepSpan
from rjepa_core.ports.world_model import Floats, WorldModelInfo
from rjepa_core.scoring import percentiles, whole

from .bodies import JSON, Asked, wants_bytes
from .problems import BAD_BODY, ProblemError
from .schemas import NearOut, ScoreOut, StepOut, TextOut, ValuesOut


def json_response(answer: BaseModel) -> Response:
    """A model as JSON."""
    try:
        text = answer.model_dump_json()
    except PydanticSerializationError:
        # Half a character, which a stored text may hold and UTF-8 cannot.
        text = json.dumps(answer.model_dump())
    return Response(text.encode(), media_type=JSON)


def scores(
    request: Request, asked: Asked, rows: Sequence[Floats], info: WorldModelInfo
) -> Response:
    """Surprise [S] a sequence."""
    if wants_bytes(request, len(asked.sequences) > 1):
        return Response(wire.pack_values(rows), media_type=wire.MEDIA)
    surprise = _only(asked, rows)
    return json_response(
        ScoreOut(
            surprise=whole(surprise),
            steps=surprise.tolist(),
            percentiles=_listed(percentiles(info, surprise)),
            worst=int(surprise.argmax()),
        )
    )


def values(request: Request, asked: Asked, rows: Sequence[Floats], space: Any) -> Response:
    """Vectors [S, E] a sequence."""
    if wants_bytes(request, len(asked.sequences) > 1):
        return Response(wire.pack_values(rows, space=space), media_type=wire.MEDIA)
    return json_response(ValuesOut(space=space, values=_only(asked, rows).tolist()))


def text(
    record: LatentRecord,
    surprise: Floats,
    info: WorldModelInfo,
    expected: Sequence[NearOut] = (),
) -> TextOut:
    """Steps of a record with their surprise [S]."""
    trace = record.trace
    count = len(surprise)
    places = percentiles(info, surprise) or [None] * count
    # An imported record may know nothing but its vectors.
    texts, spans = trace.step_texts or [""] * count, trace.spans or [StepSpan(0, 0)] * count
    steps = [
        StepOut(
            text=words,
            start=span.start,
            stop=span.stop,
            truncated=span.truncated,
            thinking=span.thinking,
            surprise=float(value),
            percentile=place,
        )
        for words, span, value, place in zip(texts, spans, surprise, places, strict=True)
    ]
    return TextOut(
        surprise=whole(surprise),
        worst=int(np.argmax(surprise)),
        problem=trace.problem.statement,
        strategy=trace.strategy,
        answer=trace.answer,
        steps=steps,
        expected=list(expected),
    )


def _only(asked: Asked, rows: Sequence[Floats]) -> Floats:
    if len(asked.sequences) > 1:
        raise ProblemError(
            BAD_BODY, f"several sequences are answered as {wire.MEDIA} alone; accept that"
        )
    return rows[0]


def _listed(values: tuple[float, ...] | None) -> list[float] | None:
    return None if values is None else list(values)
