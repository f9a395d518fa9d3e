"""The seeded backend: deterministic texts and vectors without a model.

Its results depend only on the seed, the problem's id and the sample's index, so that two runs agree
bit for bit however they were batched, interrupted or distributed. Its tokens are UTF-8 bytes, so
that some characters span several tokens; its vectors are pooled over hidden states that depend on
the same tokens as a causal model's (`hidden_states`).
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Sequence
from functools import lru_cache

import attrs
import numpy as np
from attrs import validators as v
from numpy.typing import NDArray

from ..domain.latents import Encoding
from ..domain.problem import GivenSolution
from ..domain.randomness import row_generator
from ..domain.trace import Completion, FinishReason, Prompt, Trace
from ..extraction import BatchBackend, end_at_stop
from ..plugins import BackendAdapter, hookimpl
from ..ports.backend import ModelInfo, Refused
from ..settings import EncodingSettings, ModelSettings, SamplingSettings

END_OF_SEQUENCE = 256
_WORDS = (
    "add",
    "double",
    "halve",
    "the",
    "total",
    "of",
    "apples",
    "is",
    "so",
    "we",
    "get",
    "½",
    "🙂",
)


@attrs.frozen(kw_only=True)
class SeededSettings:
    """Settings of the seeded backend.

    Attributes:
        hidden_size: D.
        layers: number of hidden states, the embeddings included.
        max_steps: longest completion in steps.
        delay: seconds that a generated batch takes.
        delay_per_row: seconds that each of its rows adds.
    """

    hidden_size: int = attrs.field(default=32, validator=v.ge(1))
    layers: int = attrs.field(default=5, validator=v.ge(1))
    max_steps: int = attrs.field(default=6, validator=v.ge(1))
    delay: float = attrs.field(default=0.0, validator=v.ge(0.0))
    delay_per_row: float = attrs.field(default=0.0, validator=v.ge(0.0))


class SeededBackend(BatchBackend):
    """The seeded backend; `ModelSettings.name` is part of `ModelInfo.content`."""

    def __init__(self, model: ModelSettings, settings: SeededSettings) -> None:
        self._settings = settings
        self.info = ModelInfo(
            # The number is a version that rises with anything that changes the vectors.
            content=f"seeded-2:{model.name}:{settings.layers}x{settings.hidden_size}",
            name=model.name,
            quantisation="none",
            compute_dtype="float32",
            hidden_size=settings.hidden_size,
            hidden_states=settings.layers,
            stops=True,
            tokenizer="utf-8",
            end_ids=(END_OF_SEQUENCE,),
            sampler="seeded-1",
        )

    def count_tokens(self, text: str) -> int:
        return len(text.encode("utf-8", "replace"))

    def generate(
        self, prompts: Sequence[Prompt], sampling: SamplingSettings
    ) -> Sequence[Completion | Refused]:
        self._wait(len(prompts))
        return [self._complete(prompt, sampling) for prompt in prompts]

    def read(
        self, prompts: Sequence[Prompt], solutions: Sequence[GivenSolution]
    ) -> Sequence[Completion | Refused]:
        return [self._read(p, s) for p, s in zip(prompts, solutions, strict=True)]

    def encode(
        self, traces: Sequence[Trace], encoding: EncodingSettings
    ) -> Sequence[Encoding | Refused]:
        return [self._encode(trace, encoding) for trace in traces]

    def _wait(self, rows: int) -> None:
        seconds = self._settings.delay + self._settings.delay_per_row * rows
        if seconds:
            time.sleep(seconds)

    def _complete(self, prompt: Prompt, sampling: SamplingSettings) -> Completion:
        random = row_generator(sampling.seed, prompt.key)
        lines = []
        for number in range(1, int(random.integers(1, self._settings.max_steps + 1)) + 1):
            words = random.choice(_WORDS, size=int(random.integers(3, 9)))
            lines.append(f"Step {number}: {' '.join(words)} {int(random.integers(100))}.")
        text = "\n".join([*lines, f"Answer: {int(random.integers(1000))}"])
        data = text.encode()
        finish: FinishReason = "stop"
        if len(data) + 1 > sampling.max_new_tokens:
            data, finish = data[: sampling.max_new_tokens], "length"
        ids = [*data, END_OF_SEQUENCE] if finish == "stop" else [*data]
        whole = self._completion(prompt, ids, data.decode("utf-8", "ignore"), finish)
        return end_at_stop(whole, sampling.stop)

    def _read(self, prompt: Prompt, solution: GivenSolution) -> Completion:
        if solution.text is not None:
            text, starts = solution.text, None
        else:
            text = "\n".join(solution.steps)
            lengths = np.cumsum([0, *(len(step) + 1 for step in solution.steps[:-1])])
            starts = tuple(int(n) for n in lengths)
        text = text.encode("utf-8", "replace").decode()
        return self._completion(prompt, [*text.encode()], text, "given", starts)

    def _completion(
        self,
        prompt: Prompt,
        ids: list[int],
        text: str,
        finish: FinishReason,
        starts: tuple[int, ...] | None = None,
    ) -> Completion:
        shown = f"{prompt.system}\n\n{prompt.user}\n" if prompt.system else f"{prompt.user}\n"
        before = len(shown) - 1 - len(prompt.user)
        start = len(shown[: before + prompt.statement_start].encode("utf-8", "replace"))
        stop = len(shown[: before + prompt.statement_stop].encode("utf-8", "replace"))
        return Completion(
            prompt_text=shown,
            prompt_ids=np.frombuffer(shown.encode("utf-8", "replace"), np.uint8).astype(np.int32),
            statement_span=(start, stop),
            text=text,
            ids=np.asarray(ids, np.int32),
            offsets=byte_offsets(text, len(ids)),
            finish_reason=finish,
            step_starts=starts,
        )

    def _encode(self, trace: Trace, encoding: EncodingSettings) -> Encoding:
        before = len(trace.prompt_ids)
        ids = np.concatenate([trace.prompt_ids, trace.completion_ids])
        spans = [slice(before + span.start, before + span.stop) for span in trace.spans]
        layers = encoding.layers
        latents = [[self._vector(ids, span, n, encoding) for span in spans] for n in layers]
        statement = slice(*trace.statement_span)
        prompt = np.stack([self._vector(ids, statement, n, encoding) for n in layers])
        shaped = np.asarray(latents, np.float32).reshape(len(layers), len(spans), -1)
        return Encoding(shaped, prompt, -np.abs(shaped[0, :, 0]) if encoding.logprobs else None)

    def _vector(
        self, ids: NDArray[np.int32], span: slice, layer: int, encoding: EncodingSettings
    ) -> NDArray[np.float32]:
        width = self._settings.hidden_size
        states = hidden_states(ids, span, layer, self.info.content, width)
        return pool(states, encoding.pooling)


def byte_offsets(text: str, tokens: int) -> NDArray[np.int32]:
    """Return int32 [T, 2]: the characters of `text` that each token, a byte, covers.

    Tokens after the text cover nothing.
    """
    offsets = np.full((tokens, 2), len(text), np.int32)
    position = 0
    for i, character in enumerate(text):
        size = len(character.encode())
        offsets[position : position + size] = (i, i + 1)
        position += size
    return offsets


@hookimpl
def rjepa_backends() -> Iterable[BackendAdapter]:
    return [
        BackendAdapter(
            name="seeded",
            summary="deterministic texts and vectors without a model, for tests",
            settings=SeededSettings,
            create=SeededBackend,
        )
    ]


Floats = NDArray[np.float32]
Words = NDArray[np.uint64]

VOCABULARY = 257
# With this factor, values pooled over about thirty tokens are about 1.
_SIZE = 8.0
_FACTOR = 6364136223846793005  # of Knuth's linear congruential generator
_INVERSE = pow(_FACTOR, -1, 2**64)


def hidden_states(
    ids: NDArray[np.int32], positions: slice, layer: int, key: str, width: int
) -> Floats:
    """Return float32 [T, D], the states of the tokens at `positions` given all earlier tokens.

    Args:
        ids: int32, of prompt and completion together.
        positions: T positions.
        layer: absolute.
        key: stands for the model's weights.
        width: D.
    """
    chosen = ids[positions]
    past = _mixed(_history(ids[: positions.stop], key)[positions] + np.uint64(layer))
    factors = (past >> np.uint64(40)).astype(np.float32) / np.float32(2**23) - np.float32(1)
    return _table(layer, key, width)[chosen % VOCABULARY] * (factors * np.float32(_SIZE))[:, None]


def pool(states: Floats, pooling: str) -> Floats:
    """Return float32 [D], the pooled states [T, D]."""
    pooled: Floats = states[-1]
    if pooling == "mean":
        pooled = states.mean(0)
    elif pooling == "max":
        pooled = states.max(0)
    return pooled


def _history(ids: NDArray[np.int32], key: str) -> Words:
    """Return a hash of each token and all before it: h[t] = factor · (h[t-1] + id[t] + 1)."""
    powers = np.full(len(ids), _FACTOR, np.uint64).cumprod(dtype=np.uint64)
    inverses = np.full(len(ids), _INVERSE, np.uint64).cumprod(dtype=np.uint64)
    added = (ids.astype(np.uint64) + np.uint64(1)) * inverses * np.uint64(_FACTOR)
    begun = np.uint64(_number(key) % 2**64)
    history: Words = (added.cumsum(dtype=np.uint64) + begun) * powers
    return history


def _mixed(words: Words) -> Words:
    """Mix the bits of each word with the finaliser of splitmix64."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return words ^ (words >> np.uint64(31))


@lru_cache(maxsize=64)
def _table(layer: int, key: str, width: int) -> Floats:
    """Return float32 [vocabulary, D]."""
    random = np.random.Generator(np.random.Philox(key=_number(f"{key}:{layer}")))
    return random.standard_normal((VOCABULARY, width), np.float32)


def _number(text: str) -> int:
    return int.from_bytes(
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:16], "little"
    )
