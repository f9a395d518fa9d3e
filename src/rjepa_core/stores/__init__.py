"""What every store gets from code that knows only the port: selection, merge, layers."""

from .layers import layer_in
from .prompts import check_prompts_alike, compared, different_problems, traces_with_ids
from .select import EMPTY_ID, Selection, ambiguous, near_ids, sample_named, select

__all__ = [
    "EMPTY_ID",
    "Selection",
    "ambiguous",
    "check_prompts_alike",
    "compared",
    "different_problems",
    "layer_in",
    "near_ids",
    "sample_named",
    "select",
    "traces_with_ids",
]
