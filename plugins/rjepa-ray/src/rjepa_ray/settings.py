"""Settings of the Ray executor."""

from __future__ import annotations

import attrs
from attrs import validators as v

_positive = v.and_(v.instance_of(int), v.ge(1))


@attrs.frozen(kw_only=True)
class RaySettings:
    """Settings of the Ray executor: workers, and where they run.

    Attributes:
        workers: number of workers; each loads the LLM and has its own session and scheduler.
        address: of a running cluster (`auto` for the one that this machine belongs to, or
            `HOST:PORT`); none starts Ray on this machine, for this run alone.
        cpus: cores of a worker, and its threads; none divides this machine's cores among the
            workers, and gives one to each worker of a cluster.
        gpus: GPUs of a worker, also a fraction of one; none gives one to each if there are any and
            `model.device` allows it.
        start_minutes: how long to wait for the first worker, or for another if all are lost.
    """

    workers: int = attrs.field(default=1, validator=_positive)
    address: str | None = attrs.field(default=None, validator=v.optional(v.min_len(1)))
    cpus: int | None = attrs.field(default=None, validator=v.optional(_positive))
    gpus: float | None = attrs.field(default=None, validator=v.optional(v.ge(0.0)))
    start_minutes: float = attrs.field(default=10.0, validator=v.gt(0.0))
