"""The scoring use case: surprise per step of stored records, and of texts."""

from .run import Ranking, ScoredTrace, ScoreRunSettings, ScoreSettings, rank_all, score_all
from .serving import Served, ServeRunSettings, ServeSettings, StoredSteps, open_served
from .surprise import (
    MAX,
    check_finite,
    named,
    order,
    percentiles,
    reason_of,
    score,
    surprise_each,
    whole,
)
from .text_encoder import Solution, TextEncoder, sequence_of

__all__ = [
    "MAX",
    "Ranking",
    "ScoreRunSettings",
    "ScoreSettings",
    "ScoredTrace",
    "ServeRunSettings",
    "ServeSettings",
    "Served",
    "Solution",
    "StoredSteps",
    "TextEncoder",
    "check_finite",
    "named",
    "open_served",
    "order",
    "percentiles",
    "rank_all",
    "reason_of",
    "score",
    "score_all",
    "sequence_of",
    "surprise_each",
    "whole",
]
