"""Encode traces: run prompt and completion once, and keep pooled hidden states.

Layers are numbered like transformers' `hidden_states`: k below the number of layers is the input of
layer k (0: the embeddings), and the last one is the model's output *after its final norm*. That is
what `output_hidden_states=True` returns, and a check at first use compares the two.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from rjepa_core.domain.latents import Encoding
from rjepa_core.domain.trace import Trace
from rjepa_core.errors import UnsupportedError
from rjepa_core.settings import EncodingSettings

_CHECKED_TOKENS = 16
# How far two ways to compute the same may differ after some dozen layers; logits in half precision
# differ by up to a tenth.
_ROUNDING, _HALF_ROUNDING = 1e-2, 0.2
_LOGITS = -1  # stands for the logits among the checked layers


class _ReachedLastLayerError(Exception):
    """The last wanted layer has been read, so that later layers need not run."""


class LayerReader:
    """Runs a causal LM up to the last wanted layer and passes on each wanted hidden state."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._base = model.base_model
        self._layers = _decoder_layers(model)
        self._checked: set[int] = set()

    @property
    def hidden_states(self) -> int:
        """The number of hidden states, including the embeddings."""
        return len(self._layers) + 1

    def run(
        self,
        ids_BT: Tensor,
        mask_BT: Tensor,
        layers: Sequence[int],
        take: Callable[[int, Tensor], None],
        to_the_end: bool = False,
    ) -> Tensor | None:
        """Run a forward, calling `take(layer, hidden_BTD)` for each wanted layer in order of depth.

        Returns:
            the last hidden state [B, T, D] if `to_the_end`, else None.
        """
        stop_at = max(layers)

        def read(layer: int, hidden_BTD: Tensor) -> None:
            take(layer, hidden_BTD)
            if layer == stop_at < len(self._layers) and not to_the_end:
                raise _ReachedLastLayerError

        try:
            with self.reading(layers, read):
                output = self._base(input_ids=ids_BT, attention_mask=mask_BT, use_cache=False)
        except _ReachedLastLayerError:
            return None
        return output.last_hidden_state if to_the_end else None

    @contextlib.contextmanager
    def reading(self, layers: Sequence[int], take: Callable[[int, Tensor], None]) -> Iterator[None]:
        """Call `take(layer, hidden_BTD)` for each wanted layer whenever the model runs."""
        last = len(self._layers)
        hooks = []

        def reader(layer: int) -> Callable[[Any, Any, Any], None]:
            return lambda module, args, kwargs: take(
                layer, args[0] if args else kwargs["hidden_states"]
            )

        for layer in sorted(set(layers)):
            if layer < last:
                module = self._layers[layer]
                hooks.append(module.register_forward_pre_hook(reader(layer), with_kwargs=True))
            else:
                hooks.append(
                    self._base.register_forward_hook(
                        lambda module, args, output: take(last, output.last_hidden_state)
                    )
                )
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def check(self, ids: Sequence[int], layers: Sequence[int], logits: bool) -> None:
        """Compare with transformers' own `output_hidden_states=True` on a few tokens, once.

        Raises:
            UnsupportedError: the hidden states of this architecture cannot be read this way.
        """
        asked = {*layers, _LOGITS} if logits else {*layers}
        if asked <= self._checked:
            return
        few = torch.tensor([list(ids[:_CHECKED_TOKENS])], device=self._model.device)
        mask = torch.ones_like(few)
        own: dict[int, Tensor] = {}
        last = self.run(few, mask, layers, own.__setitem__, to_the_end=logits)
        whole = self._model(input_ids=few, attention_mask=mask, output_hidden_states=True)
        name, dtype = type(self._model).__name__, self._model.dtype
        if len(whole.hidden_states) != self.hidden_states:
            raise UnsupportedError(
                f"{name} gives {len(whole.hidden_states)} hidden states, and "
                f"{self.hidden_states - 1} layers were found; this backend cannot read it"
            )
        for layer in layers:
            if not nearly_equal(own[layer], whole.hidden_states[layer], dtype):
                raise UnsupportedError(f"{name}: layer {layer} differs from transformers' own")
        if last is not None and not nearly_equal(_head(self._model)(last), whole.logits, dtype):
            raise UnsupportedError(
                f"{name} changes its logits after the output layer; leave encoding.logprobs out"
            )
        self._checked |= asked


def nearly_equal(ours: Tensor, theirs: Tensor, dtype: torch.dtype) -> bool:
    """Return whether two results of a forward in `dtype` are equal up to rounding.

    The relative error of a token's vector counts, on average over the tokens, so that one enormous
    vector does not decide alone. Values that are not finite at the same places count as equal, too:
    they are a failure of the input and not of the architecture.
    """
    ours, theirs = ours.float(), theirs.float()
    finite = theirs.isfinite()
    if not torch.equal(ours.isfinite(), finite):
        return False
    error = torch.where(finite, ours - theirs, 0.0).norm(dim=-1)
    size = torch.where(finite, theirs, 0.0).norm(dim=-1).clamp(min=torch.finfo(torch.float32).tiny)
    most = _HALF_ROUNDING if dtype.itemsize < 4 else _ROUNDING
    return bool((error / size).mean() <= most)


def _decoder_layers(model: Any) -> nn.ModuleList:
    wanted = model.config.get_text_config().num_hidden_layers
    for module in model.base_model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == wanted:
            return module
    raise UnsupportedError(f"{type(model).__name__}: cannot find its {wanted} decoder layers")


def _head(model: Any) -> Any:
    return model.get_output_embeddings()


def encode_batch(
    reader: LayerReader,
    model: Any,
    traces: Sequence[Trace],
    encoding: EncodingSettings,
    pad_id: int,
    logprob_rows: int,
) -> list[Encoding]:
    """Return the vectors of each trace, in order, from one right-padded forward pass.

    Attention is causal, so padding on the right changes nothing on its left.
    """
    with torch.inference_mode():
        return _encode(reader, model, traces, encoding, pad_id, logprob_rows)


def _encode(
    reader: LayerReader,
    model: Any,
    traces: Sequence[Trace],
    encoding: EncodingSettings,
    pad_id: int,
    logprob_rows: int,
) -> list[Encoding]:
    device = model.device
    lengths = [trace.encoded_length for trace in traces]
    ids_BT = torch.full((len(traces), max(lengths)), pad_id, dtype=torch.long)
    mask_BT = torch.zeros_like(ids_BT)
    for row, trace in enumerate(traces):
        ids = np.concatenate([trace.prompt_ids, trace.completion_ids])[: lengths[row]]
        ids_BT[row, : lengths[row]] = torch.from_numpy(ids.astype(np.int64))
        mask_BT[row, : lengths[row]] = 1
    ids_BT, mask_BT = ids_BT.to(device), mask_BT.to(device)
    reader.check(traces[0].prompt_ids.tolist(), encoding.layers, encoding.logprobs)
    segments = _segments(traces)
    pooled: dict[int, Tensor] = {}

    def take(layer: int, hidden_BTD: Tensor) -> None:
        pooled[layer] = pool(hidden_BTD, segments, encoding.pooling)

    last_BTD = reader.run(ids_BT, mask_BT, encoding.layers, take, encoding.logprobs)
    vectors_LND = torch.stack([pooled[layer] for layer in encoding.layers])
    flat = vectors_LND.flatten()
    if last_BTD is not None:
        logprobs_S = _logprobs(model, last_BTD, ids_BT, traces, logprob_rows)
        flat = torch.cat([flat, logprobs_S])
    moved = flat.cpu().numpy()  # the one copy of the batch
    vectors = moved[: vectors_LND.numel()].reshape(vectors_LND.shape)
    logprobs = moved[vectors_LND.numel() :]
    return _split(traces, vectors, logprobs if encoding.logprobs else None)


def _segments(traces: Sequence[Trace]) -> list[tuple[int, int, int]]:
    """Return (row, start, stop) of each trace's statement and then its steps."""
    found = []
    for row, trace in enumerate(traces):
        prompt = len(trace.prompt_ids)
        found.append((row, *trace.statement_span))
        found += [(row, prompt + span.start, prompt + span.stop) for span in trace.spans]
    return found


def pool(hidden_BTD: Tensor, segments: Sequence[tuple[int, int, int]], pooling: str) -> Tensor:
    """Return float32 [N, D], one vector per segment; sums are computed in float32."""
    vectors = []
    for row, start, stop in segments:
        tokens_TD = hidden_BTD[row, start:stop].float()
        if pooling == "mean":
            vectors.append(tokens_TD.mean(0))
        elif pooling == "max":
            vectors.append(tokens_TD.amax(0))
        else:
            vectors.append(tokens_TD[-1])
    return torch.stack(vectors)


def _logprobs(
    model: Any, last_BTD: Tensor, ids_BT: Tensor, traces: Sequence[Trace], rows: int
) -> Tensor:
    """Return float32 [S of all traces]: each step's mean log-probability per token, in nats.

    Each token is predicted by the state before it. Logits are held for `rows` tokens at a time.
    """
    places = [
        (row, len(trace.prompt_ids) + t)
        for row, trace in enumerate(traces)
        for span in trace.spans
        for t in range(span.start, span.stop)
    ]
    row_N = torch.tensor([p[0] for p in places], device=ids_BT.device)
    at_N = torch.tensor([p[1] for p in places], device=ids_BT.device)
    wanted_N = ids_BT[row_N, at_N]
    states_ND = last_BTD[row_N, at_N - 1]
    head = _head(model)
    chunks = []
    for begin in range(0, len(places), rows):
        logits_NV = head(states_ND[begin : begin + rows]).float()
        picked_N1 = logits_NV.gather(1, wanted_N[begin : begin + rows, None])
        chunks.append(picked_N1[:, 0] - logits_NV.logsumexp(-1))
    sizes = [len(span) for trace in traces for span in trace.spans]
    return torch.stack([part.mean() for part in torch.split(torch.cat(chunks), sizes)])


def _split(
    traces: Sequence[Trace], vectors_LND: np.ndarray, logprobs: np.ndarray | None
) -> list[Encoding]:
    encodings, at, step = [], 0, 0
    for trace in traces:
        steps = len(trace.spans)
        own = vectors_LND[:, at : at + 1 + steps]
        kept = None if logprobs is None else logprobs[step : step + steps].copy()
        encodings.append(Encoding(own[:, 1:].copy(), own[:, 0].copy(), kept))
        at, step = at + 1 + steps, step + steps
    return encodings
