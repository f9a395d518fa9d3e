"""Deploy the flows to a Prefect server, so that their runs can be queued."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
from prefect import deploy as deploy_to_server
from prefect.types.entrypoint import EntrypointType

from rjepa_core.errors import UsageError

from .flows import evaluate, extract_latents, extract_then_train, train_world_model

FLOWS = (extract_latents, train_world_model, evaluate, extract_then_train)


def deploy(
    pool: str = "rjepa", queue: str = "default", name: str = "rjepa", folder: str | None = None
) -> list[UUID]:
    """Deploy the flows, as `extract-latents/rjepa` and so on, to a work pool.

    Args:
        pool: of type `process`: `prefect work-pool create rjepa --type process`.
        queue: of the pool, created if it does not exist.
        name: of the deployments.
        folder: working directory of the flows, so that relative paths mean the same as here; None
            is the current one.

    Returns:
        the deployments' ids.

    Raises:
        UsageError: there is no such folder, no server, or no such pool on it.
    """
    place = Path(folder or ".").resolve()
    if not place.is_dir():
        raise UsageError(f"folder: there is no {place}")
    variables: dict[str, Any] = {"working_dir": str(place)}
    made: list[Any] = [
        flow.to_deployment(
            name,
            work_queue_name=queue,
            job_variables=variables,
            entrypoint_type=EntrypointType.MODULE_PATH,
        )
        for flow in FLOWS
    ]
    try:
        found: Any = deploy_to_server(
            *made,
            work_pool_name=pool,
            build=False,
            push=False,
            print_next_steps_message=False,
            ignore_warnings=True,
        )
    except ValueError as error:
        raise UsageError(f"pool: {' '.join(str(error).split())}") from None
    except httpx.TransportError as error:
        raise UsageError(
            f"no Prefect server answers ({error}); start one with `prefect server start`, or set "
            "PREFECT_API_URL"
        ) from None
    return list(found)
