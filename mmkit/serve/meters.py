"""Figures for Prometheus. No label holds anything that a client chose freely."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Meters:
    """Of one server."""

    def __init__(self) -> None:
        self.registry = own = CollectorRegistry()
        self.requests = Counter("mmkit_requests", "Requests answered.", ["path", "status"], registry=own)
        self.seconds = Histogram(
            "mmkit_request_seconds", "Time of a request.", ["path"], buckets=_SECONDS, registry=own
        )
        self.refused = Counter("mmkit_refused", "Requests refused, by code.", ["code"], registry=own)
        self.tokens = Counter("mmkit_tokens", "Tokens of the model.", ["task", "direction"], registry=own)
        self.batch = Histogram(
            "mmkit_batch_size", "Requests predicted at once.", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=own
        )
        self.queued = Histogram("mmkit_queue_seconds", "Time in the queue.", buckets=_SECONDS, registry=own)
        self.streams = Gauge("mmkit_streams", "Answers that are being streamed.", registry=own)
        self.waiting = Gauge("mmkit_waiting", "Requests that are prepared, wait or are predicted.", registry=own)
        self.waiting_tokens = Gauge("mmkit_waiting_tokens", "Tokens that wait.", registry=own)
        self.features = Counter(
            "mmkit_features", "Items by whether their features were known.", ["found"], registry=own
        )

    def follow(self, waiting: Any) -> None:
        """Read the queue's lengths when they are asked for."""
        self.waiting.set_function(lambda: waiting.places)
        self.waiting_tokens.set_function(lambda: waiting.tokens)

    def text(self) -> bytes:
        """Prometheus's text format."""
        return generate_latest(self.registry)
