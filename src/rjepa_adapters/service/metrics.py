"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

MEDIA = CONTENT_TYPE_LATEST
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Metrics:
    """Of one service."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "rjepa_requests",
            "Requests answered; 499 stands for callers who hung up",
            ["path", "status"],
            registry=self.registry,
        )
        self.seconds = Histogram(
            "rjepa_request_seconds",
            "From a request's head to its answer",
            ["path"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "rjepa_requests_in_flight", "Requests begun and not answered", registry=self.registry
        )
        self.waiting = Gauge(
            "rjepa_waiting", "Values that wait for a batch", ["side"], registry=self.registry
        )
        self.batches = Histogram(
            "rjepa_batch_values",
            "Values a batch",
            ["side"],
            buckets=_SIZES,
            registry=self.registry,
        )
        self.steps = Counter(
            "rjepa_batch_cost",
            "Tokens (world model) and texts (LLM) run",
            ["side"],
            registry=self.registry,
        )

    def ran(self, side: str, values: int, cost: int) -> None:
        """A batch was run."""
        self.batches.labels(side).observe(values)
        self.steps.labels(side).inc(cost)

    def text(self) -> bytes:
        """All of it, as `/metrics` answers."""
        return generate_latest(self.registry)
