"""What an export or import says of its work."""

from __future__ import annotations

import attrs


@attrs.frozen
class CopyReport:
    """What an export or import wrote.

    Attributes:
        records, failures: how many.
        files: names of the files read or written, in order.
        bytes: size of what was written.
    """

    records: int
    failures: int
    files: tuple[str, ...]
    bytes: int
