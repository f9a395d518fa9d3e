"""vLLM's engine with our connector in it: requests in, tokens and pooled vectors out."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
from numpy.typing import NDArray

from rjepa_core.config import unknown_key
from rjepa_core.errors import BackendError, SettingsError, UnsupportedError, UsageError
from rjepa_core.settings import EncodingSettings

from .checkpoint import Checkpoint
from .settings import VllmSettings
from .worker import LATER, LOST, Segments

# What `engine.KEY` may not say, because it is said elsewhere or is how this backend works.
_TAKEN = {
    "model": "model.name",
    "dtype": "model.dtype",
    "device": "model.device",
    "seed": "sampling.seed",
    "revision": "backend.revision",
    "trust_remote_code": "backend.trust_remote_code",
    "tensor_parallel_size": "backend.tensor_parallel_size",
    "gpu_memory_utilization": "backend.gpu_memory_utilization",
    "max_model_len": "backend.max_model_len",
    "enforce_eager": "backend.enforce_eager",
    **dict.fromkeys(
        (
            "speculative_config", "kv_transfer_config", "scheduler_cls", "worker_extension_cls",
            "async_scheduling", "skip_tokenizer_init", "disable_log_stats", "logprobs_mode",
            "pipeline_parallel_size", "use_tqdm_on_load",
        )
    ),
}  # fmt: skip
# Cache on a CPU where nothing says how much: vLLM would take nearly all of the memory.
_CPU_CACHE_BYTES = 2 << 30
# How long to wait between two questions for a request that another process is about to finish, and
# between two looks at whether that process is alive.
_WAIT_S, _LOOK_S = 0.002, 0.5
_DEAD = "vLLM's engine has died; what was stored is kept, and run.resume goes on"


@attrs.frozen
class Tokens:
    """New tokens of a request.

    Attributes:
        request: its id.
        ids: the tokens, in order.
        logprobs: their log-probabilities, if they were asked for.
        prompt_logprobs: those of its prompt's tokens but the first, with the first new token.
        finished: whether vLLM ended it.
    """

    request: str
    ids: list[int]
    logprobs: list[float] | None
    prompt_logprobs: list[float] | None
    finished: bool


class Engine:
    """One running engine, which keeps the hidden states of certain layers."""

    def __init__(
        self, checkpoint: Checkpoint, settings: VllmSettings, device: str, layers: tuple[int, ...]
    ) -> None:
        self.layers = layers
        self.own_process = device != "cpu" if settings.own_process is None else settings.own_process
        self._last, self._width = checkpoint.layers, checkpoint.hidden_size
        self._closed = threading.Event()
        with _explained(checkpoint.name):
            self._engine = _start(checkpoint, settings, device, layers, self.own_process)
            self.context = int(self._engine.model_config.max_model_len)
            if self._last in layers and not all(self._engine.collective_rpc("rjepa_has_norm")):
                self.close()
                raise UnsupportedError(
                    f"encoding.layers: {checkpoint.name}: the norm after its last layer was not "
                    "found; take an earlier layer, or backend.name=huggingface"
                )
        if self.own_process:
            threading.Thread(target=self._watch, daemon=True).start()
        self.preemptions = 0

    def _watch(self) -> None:
        """Wake whoever waits for an answer of an engine that was killed: vLLM does not."""
        from vllm.v1.engine.exceptions import EngineDeadError

        client = self._engine.engine_core
        while not self._closed.wait(_LOOK_S):
            if client.resources.engine_dead:
                client.outputs_queue.put_nowait(EngineDeadError())
                for waiting in list(client.utility_results.values()):
                    if not waiting.done():
                        waiting.set_exception(EngineDeadError())

    @contextlib.contextmanager
    def _asked(self) -> Iterator[None]:
        """Turn what the engine raises into one line, which says so if it has died."""
        try:
            with _explained("vLLM"):
                yield
        except BackendError as error:
            executor = getattr(self._engine.engine_core, "engine_core", None)
            if getattr(getattr(executor, "model_executor", None), "is_failed", False):
                raise BackendError(_DEAD) from error
            raise

    def add(self, name: str, ids: NDArray[np.int32], params: Any) -> str:
        """Begin a request; return its id."""
        with self._asked():
            return str(self._engine.add_request(name, {"prompt_token_ids": ids.tolist()}, params))

    def step(self) -> list[Tokens]:
        """Run all requests for one token; return what came of it.

        Without a request to run, vLLM settles what the finished ones left behind.
        """
        if self.own_process and not self._engine.has_unfinished_requests():
            time.sleep(_WAIT_S)
            return []
        with self._asked():
            return [_tokens(output) for output in self._engine.step()]

    def abort(self, requests: Sequence[str]) -> None:
        """End requests; their hidden states can be pooled once a step has been run."""
        with self._asked():
            self._engine.abort_request(list(requests), internal=True)

    def pool(
        self, wanted: Sequence[tuple[str, Segments]], encoding: EncodingSettings
    ) -> list[NDArray[np.float32] | str]:
        """Return float32 [L, N, D] of each finished request, or `LATER` or `LOST`."""
        slots = [self.layers.index(layer) for layer in encoding.layers]
        normed = [layer == self._last for layer in encoding.layers]
        plain = [(request, [list(one) for one in segments]) for request, segments in wanted]
        args = (plain, slots, normed, encoding.pooling)
        with self._asked():
            answers = self._engine.collective_rpc("rjepa_pool", args=args)[0]
        shape = (len(slots), -1, self._width)
        return [
            one if isinstance(one, str) else np.frombuffer(one, np.float32).reshape(shape)
            for one in answers
        ]

    def release(self, requests: Sequence[str] = ()) -> int:
        """Let ended requests go; return how often a row made room for others since last asked."""
        with self._asked():
            total = int(self._engine.collective_rpc("rjepa_release", args=(list(requests),))[0])
        before, self.preemptions = self.preemptions, total
        return total - before

    def close(self) -> None:
        """End the engine and free what it held in this process."""
        self._closed.set()
        with contextlib.suppress(Exception):
            self._engine.engine_core.shutdown()
        del self._engine
        if not self.own_process:
            from vllm.distributed import cleanup_dist_env_and_memory

            with contextlib.suppress(Exception):
                cleanup_dist_env_and_memory()


def _start(
    checkpoint: Checkpoint,
    settings: VllmSettings,
    device: str,
    layers: tuple[int, ...],
    own_process: bool,
) -> Any:
    from vllm.engine.arg_utils import EngineArgs
    from vllm.v1.engine.llm_engine import LLMEngine
    from vllm.v1.executor import Executor

    more = read_extra(settings.engine, [field.name for field in dataclasses.fields(EngineArgs)])
    if device == "cpu":
        # On a CPU a seeded row cannot take back the number that it drew for part of its prompt.
        more.setdefault("enable_chunked_prefill", False)
    if device == "cpu" and not (
        settings.gpu_memory_utilization
        or "kv_cache_memory_bytes" in more
        or "VLLM_CPU_KVCACHE_SPACE" in os.environ
    ):
        more["kv_cache_memory_bytes"] = _CPU_CACHE_BYTES
    for key in ("gpu_memory_utilization", "max_model_len", "revision"):
        if getattr(settings, key) is not None:
            more[key] = getattr(settings, key)
    eager = device == "cpu" if settings.enforce_eager is None else settings.enforce_eager
    config = EngineArgs(
        model=checkpoint.location,
        dtype=checkpoint.dtype,
        trust_remote_code=settings.trust_remote_code,
        tensor_parallel_size=settings.tensor_parallel_size,
        enforce_eager=eager,
        skip_tokenizer_init=True,
        disable_log_stats=True,
        use_tqdm_on_load=False,
        logprobs_mode="raw_logprobs",
        async_scheduling=False,
        scheduler_cls="rjepa_vllm.scheduler.DraftlessScheduler",
        worker_extension_cls="rjepa_vllm.worker.PoolingExtension",
        speculative_config={
            "method": "extract_hidden_states",
            "num_speculative_tokens": 1,
            "draft_model_config": {"hf_config": {"eagle_aux_hidden_state_layer_ids": list(layers)}},
        },
        kv_transfer_config={
            "kv_connector": "StatesConnector",
            "kv_connector_module_path": "rjepa_vllm.connector",
            "kv_role": "kv_producer",
        },
        **more,
    ).create_engine_config()
    _check_architecture(checkpoint.name, config)
    return LLMEngine(
        config, Executor.get_class(config), log_stats=False, multiprocess_mode=own_process
    )


def read_extra(given: Mapping[str, Any], known: list[str]) -> dict[str, Any]:
    """Return the arguments of `backend.engine`, with text read as JSON where it is JSON.

    Raises:
        SettingsError: vLLM has no such argument, or this backend sets it itself.
    """
    extra = {}
    for key, value in given.items():
        path = f"backend.engine.{key}"
        if key in _TAKEN:
            instead = _TAKEN[key]
            reason = f"set {instead}" if instead else "this backend needs it as it is"
            raise SettingsError(f"{path}: cannot be set here; {reason}")
        if key not in known:
            raise SettingsError(unknown_key(path, [name for name in known if name not in _TAKEN]))
        extra[key] = value
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                extra[key] = json.loads(value)
    return extra


def _check_architecture(name: str, config: Any) -> None:
    """Refuse a model whose hidden states vLLM does not give, before its weights are read."""
    from vllm.model_executor.models.interfaces import supports_eagle3
    from vllm.model_executor.models.registry import ModelRegistry

    model = config.model_config
    cls, architecture = ModelRegistry.resolve_model_cls(model.architectures, model)
    if not supports_eagle3(cls):
        raise UnsupportedError(
            f"model.name: {name}: vLLM gives no hidden states of a {architecture}; use "
            "backend.name=huggingface"
        )


def _tokens(output: Any) -> Tokens:
    (row,) = output.outputs
    prompt = output.prompt_logprobs
    logprobs = None
    if row.logprobs is not None:
        logprobs = [
            float(at[token].logprob) for token, at in zip(row.token_ids, row.logprobs, strict=True)
        ]
    read = None
    if prompt:
        ids = output.prompt_token_ids
        read = [float(at[token].logprob) for token, at in zip(ids[1:], prompt[1:], strict=True)]
    return Tokens(output.request_id, list(row.token_ids), logprobs, read, output.finished)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """Turn what vLLM raises into one clear line."""
    from vllm.v1.engine.exceptions import EngineDeadError

    try:
        yield
    except (BackendError, UsageError):
        raise
    except EngineDeadError as error:
        raise BackendError(_DEAD) from error
    except Exception as error:
        raise _in_one_line(name, error) from error


def _in_one_line(name: str, error: Exception) -> Exception:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    # Pydantic puts the reason on the line after its count of errors.
    text = next(
        (line for line in lines if line.startswith("Value error, ")), lines[0] if lines else ""
    )
    text = text.removeprefix("Value error, ").split(" [type=")[0] or type(error).__name__
    if "out of memory" in str(error).lower() or isinstance(error, MemoryError):
        return BackendError(
            f"{name}: vLLM ran out of memory ({text:.200}); set backend.gpu_memory_utilization or "
            "backend.max_model_len lower, or fewer rows"
        )
    if isinstance(error, ValueError | TypeError | OSError):
        return UsageError(f"{name}: vLLM refuses it: {text:.400}")
    return BackendError(f"{name}: vLLM: {text:.400}")


__all__ = ["LATER", "LOST", "Engine", "Tokens"]
