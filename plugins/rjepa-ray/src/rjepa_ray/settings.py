"""Settings of the executor."""

from __future__ import annotations

import attrs
from attrs import validators as v

_positive = v.and_(v.instance_of(int), v.ge(1))


@attrs.frozen(kw_only=True)
class RaySettings:
    """Workers, and where they run.

    Attributes:
        workers: how many; each loads the LLM and has a session and a scheduler of its own.
        address: of a running cluster (`auto` for the one that this machine belongs to, or
            `HOST:PORT`); none starts Ray on this machine, for this run alone.
        cpus: cores of a worker, and its threads; none shares this machine's cores out, and gives
            one to each worker of a cluster.
        gpus: GPUs of a worker, also a part of one; none gives one to each where there are any and
            `model.device` lets it.
        start_minutes: how long to wait for the first worker, and for another one where all are
            lost.
    """

    workers: int = attrs.field(default=1, validator=_positive)
    address: str | None = attrs.field(default=None, validator=v.optional(v.min_len(1)))
    cpus: int | None = attrs.field(default=None, validator=v.optional(_positive))
    gpus: float | None = attrs.field(default=None, validator=v.optional(v.ge(0.0)))
    start_minutes: float = attrs.field(default=10.0, validator=v.gt(0.0))
