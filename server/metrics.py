"""What Prometheus scrapes. It is counted from the log's own events, so both say the same.

Off unless METRICS_PORT is set: nothing here is imported then, and no event is looked at.
"""

from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from server.contract.log_events import DEAD_LETTERED, REQUEST

SECONDS = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)
"""Upper bounds: a request takes some milliseconds, and waits for as long as its caller does."""
ATTEMPTS = (1, 2, 3, 4, 5, 10)


class Metrics:
    """Those of one process. Labels are names of the API, never what a client wrote."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        of_request = ["action", "version", "outcome"]
        self._requests = Counter(
            "library_requests",
            "Requests by what became of them.",
            of_request,
            registry=self.registry,
        )
        self._worked = Histogram(
            "library_request_seconds",
            "From a delivery to its reply.",
            ["action"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._done = Histogram(
            "library_sent_to_done_seconds",
            "From the moment when a client sent it, with all waits and attempts.",
            ["action"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self._attempts = Histogram(
            "library_attempts",
            "Which attempt the outcome was reached in.",
            buckets=ATTEMPTS,
            registry=self.registry,
        )
        self._dead_letters = Counter(
            "library_dead_letters", "By reason.", ["reason"], registry=self.registry
        )
        self._depth = Gauge(
            "library_queue_ready", "Messages that wait.", ["queue"], registry=self.registry
        )

    def serve(self, host: str, port: int) -> int:
        """From a thread of its own; returns the port. Raises ``OSError`` if it is taken."""
        server, _ = start_http_server(port, addr=host, registry=self.registry)
        return int(server.server_address[1])

    def depth(self, queue: str, ready: int) -> None:
        self._depth.labels(queue).set(ready)

    def count(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A step of the log: it looks at each event and passes it on, whatever is in it."""
        with suppress(Exception):
            if event["event"] == REQUEST:
                self._count_request(event)
            elif event["event"] == DEAD_LETTERED:
                self._dead_letters.labels(event["reason"]).inc()
        return event

    def _count_request(self, event: MutableMapping[str, Any]) -> None:
        action = event["action"] or "unknown"
        self._requests.labels(action, event["version"] or "unknown", event["outcome"]).inc()
        self._worked.labels(action).observe(event["ms"] / 1000)
        if (since_sent := event.get("since_sent_ms")) is not None:
            self._done.labels(action).observe(since_sent / 1000)
        self._attempts.observe(event.get("attempt", 1))
