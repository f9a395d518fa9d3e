"""Settings of the built-in graders."""

from __future__ import annotations

import attrs
from attrs import validators


@attrs.frozen(kw_only=True)
class MathSettings:
    """Settings of the grader `math`.

    Attributes:
        seconds: the most of a processor's time that a pair of answers may take; the process that
            takes more is killed and the pair is ungraded.
        memory_mb: the most memory, in MiB, that a process may take.
        longest: characters; what is longer is not read.
        workers: processes for what needs computer algebra; 0 for one a processor.
    """

    seconds: float = attrs.field(default=5.0, validator=validators.gt(0.0))
    memory_mb: int = attrs.field(default=1024, validator=validators.ge(256))
    longest: int = attrs.field(default=1000, validator=validators.ge(1))
    workers: int = attrs.field(default=0, validator=validators.ge(0))
