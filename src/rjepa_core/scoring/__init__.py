"""The scoring use case: surprise per step, and verdicts, of stored records and of texts."""

from .ranking import MEASURES, RIGHT, VOTE, Order, Vote, measure_for, order_by, vote
from .run import Ranking, ScoredTrace, ScoreRunSettings, ScoreSettings, rank_all, score_all
from .serving import Served, ServeRunSettings, ServeSettings, StoredSteps, open_served
from .surprise import (
    MAX,
    Judgement,
    check_finite,
    check_logprobs,
    judge_each,
    named,
    order,
    percentiles,
    reason_of,
    score,
    surprise_each,
    whole,
    wrong_step,
)
from .text_encoder import Solution, TextEncoder, sequence_of
from .texts import open_encoder, rank_texts, score_text

__all__ = [
    "MAX",
    "MEASURES",
    "RIGHT",
    "VOTE",
    "Judgement",
    "Order",
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
    "Vote",
    "check_finite",
    "check_logprobs",
    "judge_each",
    "measure_for",
    "named",
    "open_encoder",
    "open_served",
    "order",
    "order_by",
    "percentiles",
    "rank_all",
    "rank_texts",
    "reason_of",
    "score",
    "score_all",
    "score_text",
    "sequence_of",
    "surprise_each",
    "vote",
    "whole",
    "wrong_step",
]
