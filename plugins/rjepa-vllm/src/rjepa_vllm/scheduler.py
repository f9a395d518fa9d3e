"""vLLM's scheduler, without the draft tokens that reading hidden states brings along."""

from __future__ import annotations

from typing import Any

from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.core.sched.scheduler import Scheduler


class DraftlessScheduler(Scheduler):
    """Runs one token of each row in a step.

    vLLM reads hidden states as a kind of speculative decoding, whose drafts it never means to
    accept: each row would run a second token in every step, and draw its random numbers
    according to what it is batched with.
    """

    num_spec_tokens: int

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._proposed = self.num_spec_tokens
        self.num_spec_tokens = 0

    def schedule(self, *args: Any, **kwargs: Any) -> SchedulerOutput:
        output = super().schedule(*args, **kwargs)
        # The worker still proposes: that is when it keeps the hidden states.
        output.num_spec_tokens_to_schedule = self._proposed
        return output

    def update_draft_token_ids(self, draft_token_ids: Any) -> None:
        """Schedule none of them."""
