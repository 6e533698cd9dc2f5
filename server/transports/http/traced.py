"""Requests as spans. Only imported where traces are switched on: see ``server.tracing``."""

from fastapi import FastAPI
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server.contract.headers import TRACEPARENT
from server.contract.routes import HEALTH
from server.tracing import TRACER

_tracer = trace.get_tracer(TRACER)
_propagator = TraceContextTextMapPropagator()


class Traced:
    """ASGI middleware: around the log of requests, which describes the span as it ends.

    FastAPI has spans of its own. They end before that, and hold the query, where a key may be.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == HEALTH:  # which is asked for all the time
            await self._app(scope, receive, send)
            return
        method = scope["method"]
        given = Headers(scope=scope).get(TRACEPARENT, "")
        with _tracer.start_as_current_span(
            method,
            context=_propagator.extract({TRACEPARENT: given}, Context()),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.scheme": scope["scheme"]},
        ) as span:

            async def send_and_note(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                await send(message)

            await self._app(scope, receive, send_and_note)
            if (route := scope.get("route")) is not None:
                span.update_name(f"{method} {route.path}")
                span.set_attribute("http.route", route.path)


def trace_requests(app: FastAPI) -> None:
    app.add_middleware(Traced)
