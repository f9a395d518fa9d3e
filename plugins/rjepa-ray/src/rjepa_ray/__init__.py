"""An executor on Ray: many workers, one queue, one writer.

Importing this does not load Ray. The driver is the calling process, and owns queue and store.
"""

from __future__ import annotations

from collections.abc import Iterable

from rjepa_core.errors import UsageError
from rjepa_core.plugins import ExecutorAdapter, Registry, hookimpl
from rjepa_core.ports.executor import Executor
from rjepa_core.settings import ExtractionSettings

from .settings import RaySettings

__all__ = ["RaySettings", "rjepa_executors"]


def _create(run: ExtractionSettings, registry: Registry, own: RaySettings) -> Executor:
    try:
        import ray  # noqa: F401
    except ImportError as error:
        raise UsageError(
            f"executor 'ray': the package ray cannot be imported ({error}); it comes with the "
            "plugin: install rjepa-ray, or leave --executor out"
        ) from error
    from .executor import RayExecutor

    return RayExecutor(run, own)


@hookimpl
def rjepa_executors() -> Iterable[ExecutorAdapter]:
    return [
        ExecutorAdapter(
            name="ray",
            summary="many workers on one machine or a cluster, one writer",
            settings=RaySettings,
            create=_create,
        )
    ]
