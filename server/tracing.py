"""Traces: what became of one request, over all processes and attempts, for those who operate it.

    client   create_book ────────────────────────────────────────────────
             └ publish api.requests
    worker      └ process api.requests          attempt 1
                   ├ received, parsed, …
                   └ publish api.retry.500ms
    worker            └ process api.requests    attempt 2
                         └ received, parsed, authenticated, claimed, applied, committed, …

The steps are those that the code announces, and what became of a request is read from its line in
the log: so all three say the same. Names and kinds of spans, and their links, are OpenTelemetry's:
https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/

Off unless OTEL_EXPORTER_OTLP_ENDPOINT is set: nothing here is imported then.
"""

import threading
import time
from collections.abc import MutableMapping
from contextlib import suppress
from typing import Any
from weakref import WeakKeyDictionary

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import Span, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import StatusCode

from server.contract.errors import Internal, Unavailable
from server.contract.log_events import REQUEST
from server.contract.steps import Step

TRACER = "library.server"

PATIENCE = 2.0
"""Seconds for a collector that does not answer. It keeps no request waiting, and no process alive:
what it does not take in time is dropped.
"""

FAILED = {Internal.code, Unavailable.code}
"""Outcomes that are the server's fault. Another refusal is an answer like any other."""

SAID = ("action", "version", "outcome", "attempt", "replayed", "status")
"""Of a request's line in the log, as attributes ``library.…``."""


class Traces:
    """Those of one process, which is the service ``library-<role>`` unless OTEL_SERVICE_NAME says
    otherwise. ``endpoint`` is a collector that takes OTLP over HTTP.
    """

    def __init__(self, endpoint: str, role: str) -> None:
        named = Resource.create({"service.name": f"library-{role}"})
        self._provider = TracerProvider(resource=named.merge(OTELResourceDetector().detect()))
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=PATIENCE)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        trace.set_tracer_provider(self._provider)
        self._tracer = trace.get_tracer(TRACER)
        self._step_ended: WeakKeyDictionary[Span, int] = WeakKeyDictionary()

    def close(self) -> None:
        """Send what is left."""
        closing = threading.Thread(target=self._provider.shutdown, daemon=True)
        closing.start()
        closing.join(PATIENCE)

    async def observe(self, step: Step, request_id: str | None) -> None:
        """A span from the end of the step before to now."""
        span = trace.get_current_span()
        if isinstance(span, Span) and span.start_time is not None:
            begin, now = self._step_ended.get(span, span.start_time), time.time_ns()
            self._tracer.start_span(step, start_time=begin).end(now)
            self._step_ended[span] = now

    def note(
        self, logger: Any, method: str, event: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        """A step of the log: the span learns what is logged, and the line which trace it is of.

        It passes each event on, whatever is in it.
        """
        span = trace.get_current_span()
        if span.is_recording():
            event["trace_id"] = trace.format_trace_id(span.get_span_context().trace_id)
            with suppress(Exception):
                if event["event"] == REQUEST:
                    _describe(span, event)
                else:
                    span.add_event(event["event"])
        return event


def _describe(span: trace.Span, line: MutableMapping[str, Any]) -> None:
    given = {f"library.{name}": line[name] for name in SAID if line.get(name) is not None}
    span.set_attributes(given | {"messaging.message.conversation_id": line["id"] or ""})
    if line["outcome"] in FAILED:
        span.set_attribute("error.type", line["outcome"])
        span.set_status(StatusCode.ERROR)
