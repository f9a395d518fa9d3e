"""Operations on any store through its port alone: merge, selection, layers."""

from .digests import DigestTable, digest_of
from .merge import MergeReport, Winner, chunked, merge
from .prompt_check import check_prompts_alike, compared, different_problems, traces_with_ids
from .select import EMPTY_ID, Selection, ambiguous, layer_in, near_ids, select

__all__ = [
    "EMPTY_ID",
    "DigestTable",
    "MergeReport",
    "Selection",
    "Winner",
    "ambiguous",
    "check_prompts_alike",
    "chunked",
    "compared",
    "different_problems",
    "digest_of",
    "layer_in",
    "merge",
    "near_ids",
    "select",
    "traces_with_ids",
]
