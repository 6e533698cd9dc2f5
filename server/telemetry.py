"""What operators switch on: metrics with METRICS_PORT, traces with OTEL_EXPORTER_OTLP_ENDPOINT.

Both look on: at the log's events, and traces at the steps, too. What is off is not imported.
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

import structlog

from server import logging
from server.application.hooks import Observer, no_observer
from server.settings import Settings

if TYPE_CHECKING:
    from fastapi import FastAPI

    from server.metrics import Metrics
    from server.tracing import Traces
    from server.transports.amqp.worker import Worker

log = structlog.get_logger()


class Telemetry:
    """That of one process: ``with`` configures its log and serves its metrics, also while the
    database is still away, and sends what is left of its traces at the end.

    Raises ``SystemExit`` with a sentence if a library is missing, or the port is not to be had.
    """

    def __init__(self, role: str, settings: Settings) -> None:
        self._settings = settings
        try:
            self._metrics = _metrics(settings)
            self._traces = _traces(role, settings)
        except ImportError as error:
            sys.exit(f"{error}: install what requirements.txt names, or do not switch it on.")

    def __enter__(self) -> Self:
        watchers: list[structlog.types.Processor] = []
        if self._metrics is not None:
            watchers.append(self._metrics.count)
        if self._traces is not None:
            watchers.append(self._traces.note)
        logging.configure(*watchers)
        if self._metrics is not None:
            self._serve(self._metrics)
        return self

    def __exit__(self, *_: object) -> None:
        if self._traces is not None:
            self._traces.close()

    @property
    def observe(self) -> Observer:
        return no_observer if self._traces is None else self._traces.observe

    def look_on_deliveries(self, worker: "Worker") -> None:
        """At each one, and at what is published because of it."""
        if self._traces is not None:
            from server.transports.amqp.traced import trace_deliveries

            trace_deliveries(worker)

    def look_on_requests(self, app: "FastAPI") -> None:
        if self._traces is not None:
            from server.transports.http.traced import trace_requests

            trace_requests(app)

    @asynccontextmanager
    async def watching_queues(self) -> AsyncIterator[None]:
        """For as long as the block lasts the metrics know how many messages wait."""
        if self._metrics is None:
            yield
            return
        from server.transports.amqp.depths import watching

        async with watching(self._settings.amqp_url, self._metrics.depth):
            yield

    def _serve(self, metrics: "Metrics") -> None:
        host, port = self._settings.metrics_host, self._settings.metrics_port or 0
        try:
            url = f"http://{host}:{metrics.serve(host, port)}/metrics"
        except OSError as error:
            sys.exit(f"METRICS_PORT {port} cannot be used ({error}): take another, or 0 for any.")
        log.info("metrics", url=url)


def _metrics(settings: Settings) -> "Metrics | None":
    if settings.metrics_port is None:
        return None
    from server.metrics import Metrics

    return Metrics()


def _traces(role: str, settings: Settings) -> "Traces | None":
    if settings.otel_exporter_otlp_endpoint is None:
        return None
    from server.tracing import Traces

    return Traces(settings.otel_exporter_otlp_endpoint, role)
