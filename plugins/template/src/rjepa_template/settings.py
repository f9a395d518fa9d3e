"""Settings of the adapters: cheap to import, and described by their docstrings."""

from __future__ import annotations

import attrs
from attrs import validators as v


@attrs.frozen(kw_only=True)
class BackendSettings:
    """Settings of the backend: `--set backend.steps=2`.

    Attributes:
        steps: number of steps per completion.
    """

    steps: int = attrs.field(default=3, validator=v.ge(1))


@attrs.frozen(kw_only=True)
class TemplateStoreSettings:
    """Settings of the store: `--set store.checkpoint_every=100`.

    Attributes:
        checkpoint_every: commit after this many records and failures; none waits for the end.
    """

    checkpoint_every: int | None = attrs.field(default=32, validator=v.optional(v.ge(1)))


@attrs.frozen(kw_only=True)
class SchedulerSettings:
    """Settings of the scheduler: `--set scheduler.most=16`.

    Attributes:
        most: most rows at a time.
        encode_tokens: most tokens of one encoding batch, padding included.
    """

    most: int = attrs.field(default=32, validator=v.ge(1))
    encode_tokens: int = attrs.field(default=4096, validator=v.ge(1))


@attrs.frozen(kw_only=True)
class ExecutorSettings:
    """Settings of the executor: `--set executor.rest_s=0.5`.

    Attributes:
        rest_s: seconds of rest after each step.
    """

    rest_s: float = attrs.field(default=0.0, validator=v.ge(0.0))
