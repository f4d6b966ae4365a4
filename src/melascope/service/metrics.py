"""What does the service count, so that an operator sees load, refusals and abstentions? Never what a picture shows."""

from __future__ import annotations

from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

TEXT = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


@dataclass(frozen=True)
class Metrics:
    """Counters of one service, in a registry of their own."""

    registry: CollectorRegistry
    requests: Counter
    seconds: Histogram
    refused: Counter
    unlike: Counter
    cut: Counter
    places: Gauge
    bytes_held: Gauge
    batch: Histogram
    waited_seconds: Histogram
    network_seconds: Histogram

    @classmethod
    def new(cls) -> Metrics:
        own = CollectorRegistry()
        ProcessCollector(registry=own)
        return cls(
            registry=own,
            requests=Counter("melascope_requests", "Requests by route and status.", ["route", "status"], registry=own),
            seconds=Histogram(
                "melascope_request_seconds",
                "From the head of a request to the end of its answer.",
                ["route"],
                buckets=_SECONDS,
                registry=own,
            ),
            refused=Counter("melascope_refused", "Requests without a result, by code.", ["code"], registry=own),
            unlike=Counter("melascope_unlike", "Pictures not classified, as unlike those of training.", registry=own),
            cut=Counter("melascope_cut", "Connections cut off, by what was waited for.", ["waited_for"], registry=own),
            places=Gauge("melascope_places_taken", "Pictures that came in and are not yet answered.", registry=own),
            bytes_held=Gauge("melascope_bytes_held", "Bytes of pictures in memory.", registry=own),
            batch=Histogram(
                "melascope_batch_pictures", "Pictures in a pass.", buckets=(1, 2, 4, 8, 16, 32, 64), registry=own
            ),
            waited_seconds=Histogram(
                "melascope_waited_seconds", "Wait of a picture for its pass.", buckets=_SECONDS, registry=own
            ),
            network_seconds=Histogram(
                "melascope_network_seconds", "One pass of the network.", buckets=_SECONDS, registry=own
            ),
        )

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)
