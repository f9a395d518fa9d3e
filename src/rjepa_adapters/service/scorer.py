"""The world model and the LLM behind their batches."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import attrs

from rjepa_core.domain.latents import LatentRecord
from rjepa_core.domain.trace import Failure
from rjepa_core.ports.world_model import Context, Floats, LatentSequence, WorldModel
from rjepa_core.scoring import Solution, TextEncoder, check_finite

from .batching import Batcher
from .metrics import Metrics
from .settings import HttpSettings

SURPRISE, PREDICT, MASKED, TARGETS, EMBEDDINGS = (
    "surprise",
    "predict",
    "masked",
    "targets",
    "embeddings",
)


# Of a text, at least, in a token; more of them are few tokens.
_CHARACTERS = 3


@attrs.frozen(eq=False)
class Job:
    """What is asked of the world model for one sequence.

    Attributes:
        kind: of the answer.
        sequence: float32.
        context: for surprise and predictions.
        masked: for masked predictions.
    """

    kind: str
    sequence: LatentSequence
    context: Context = Context.OTHERS
    masked: tuple[int, ...] = ()

    @property
    def key(self) -> tuple[object, ...]:
        """Jobs of one key make one forward pass: as many steps, nothing padded."""
        return self.kind, self.context, self.sequence.latents.shape, len(self.masked)

    @property
    def cost(self) -> int:
        """Tokens: the steps and what stands for the prompt, as often as a step is left out."""
        steps = len(self.sequence.latents)
        each_left_out = self.kind in (SURPRISE, PREDICT) and self.context is Context.OTHERS
        return (steps + 1) * (steps if each_left_out else 1)


class Scorer:
    """Asks the world model, and the LLM where there is one; within a running event loop."""

    def __init__(
        self,
        world_model: WorldModel,
        encoder: TextEncoder | None,
        limits: HttpSettings,
        metrics: Metrics,
    ) -> None:
        self.world_model, self.encoder = world_model, encoder
        self.latents: Batcher[Job, Floats] = Batcher(
            partial(run_jobs, world_model),
            key=lambda job: job.key,
            cost=lambda job: job.cost,
            most_cost=limits.batch_tokens,
            most_waiting=limits.queue,
            wait=limits.batch_wait_ms / 1000,
            ran=partial(metrics.ran, "latents"),
            name="world-model",
        )
        metrics.waiting.labels("latents").set_function(lambda: len(self.latents))
        self.texts: Batcher[Solution, LatentRecord | Failure] | None = None
        if encoder is not None:
            # About one forward pass a batch: who hangs up meanwhile is not run with the next one.
            most = _CHARACTERS * encoder.encode_tokens
            least = max(1, most // limits.batch_texts)
            self.texts = Batcher(
                partial(encoder.encode, most_steps=limits.steps),
                cost=lambda text: max(least, characters_of(text)),
                most_cost=most,
                most_waiting=limits.text_queue,
                wait=limits.batch_wait_ms / 1000,
                ran=lambda values, cost: metrics.ran("texts", values, values),
                name="llm",
            )
            texts = self.texts
            metrics.waiting.labels("texts").set_function(lambda: len(texts))

    async def close(self) -> None:
        """Finish what was taken."""
        if self.texts is not None:
            await self.texts.close()
        await self.latents.close()


def characters_of(text: Solution) -> int:
    """Of problem and solution."""
    return len(text.statement) + text.given.length


def run_jobs(world_model: WorldModel, jobs: Sequence[Job]) -> list[Floats]:
    """One call of the world model for jobs of one key.

    Raises:
        NotFiniteError: a result is not finite; alone, the sequence it belongs to is found.
    """
    rows = _rows(world_model, jobs)
    check_finite(rows)
    return rows


def _rows(world_model: WorldModel, jobs: Sequence[Job]) -> list[Floats]:
    first, sequences = jobs[0], [job.sequence for job in jobs]
    if first.kind == SURPRISE:
        return world_model.surprise(sequences, first.context)
    if first.kind == PREDICT:
        return world_model.predict(sequences, first.context)
    if first.kind == MASKED:
        return world_model.predict_masked(sequences, [job.masked for job in jobs])
    if first.kind == TARGETS:
        return world_model.targets(sequences)
    return world_model.embeddings(sequences)
