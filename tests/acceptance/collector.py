"""A collector of traces that takes what any OpenTelemetry exporter sends over HTTP."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Exported


@dataclass(frozen=True)
class Span:
    """One that was exported; ids as hexadecimal text, ``parent`` empty for a root."""

    service: str
    name: str
    id: str
    trace: str
    parent: str
    kind: int
    links: tuple[str, ...]
    """The ids of the spans."""
    said: dict[str, object] = field(hash=False)
    events: tuple[str, ...]
    failed: bool
    began: int
    ended: int


@dataclass
class Collector:
    url: str
    spans: list[Span] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    """All that came, as it came."""

    def named(self, name: str) -> list[Span]:
        """In the order of time."""
        return sorted((s for s in self.spans if s.name == name), key=lambda span: span.began)

    def within(self, parent: Span) -> list[str]:
        """The names of its children, in the order in which they ended."""
        children = [span for span in self.spans if span.parent == parent.id]
        return [span.name for span in sorted(children, key=lambda span: span.ended)]

    def take(self, body: bytes) -> None:
        self.raw.append(body)
        for of_resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {a.key: a.value.string_value for a in of_resource.resource.attributes}
            for of_scope in of_resource.scope_spans:
                self.spans += [_read(named["service.name"], span) for span in of_scope.spans]


@contextmanager
def collecting() -> Iterator[Collector]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            collector.take(self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """It is quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_address[1]}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()


def _read(service: str, span: Exported) -> Span:
    said = {a.key: getattr(a.value, a.value.WhichOneof("value") or "") for a in span.attributes}
    return Span(
        service=service,
        name=span.name,
        id=span.span_id.hex(),
        trace=span.trace_id.hex(),
        parent=span.parent_span_id.hex(),
        kind=span.kind,
        links=tuple(link.span_id.hex() for link in span.links),
        said=said,
        events=tuple(event.name for event in span.events),
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        began=span.start_time_unix_nano,
        ended=span.end_time_unix_nano,
    )
