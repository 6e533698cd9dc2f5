"""Spans of a client's calls, and the ``traceparent`` by which a server's go on from there.

Only imported by who gives a client a tracer.
"""

from collections.abc import Awaitable, Callable

from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from labkit.client.caller import Reply
from labkit.client.channel import Confirmation, OnConfirmation
from server.contract.topology import REQUESTS

_propagator = TraceContextTextMapPropagator()


class CallTraces:
    """For each call a span, as long as its caller waits, and in it one for each copy of the request
    that is sent: until the broker has said what it does with it.
    """

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer
        self._calls: dict[str, Span] = {}
        self._sends: dict[str, list[Span]] = {}
        """By the request's id."""

    async def call(
        self,
        action: str,
        request_id: str,
        reply: Callable[[dict[str, str]], Awaitable[Reply]],
    ) -> Reply:
        """What ``reply`` returns, which is given the headers of the call's own span."""
        said = {"library.action": action, "messaging.message.conversation_id": request_id}
        with self._tracer.start_as_current_span(
            action, kind=SpanKind.CLIENT, attributes=said
        ) as span:
            self._calls[request_id], self._sends[request_id] = span, []
            try:
                return _described(span, await reply(_headers(span)))
            finally:
                del self._calls[request_id]
                for send in self._sends.pop(request_id):
                    if send.is_recording():  # its copy was lost with its connection
                        send.end()

    def sent(
        self, request_id: str, on_outcome: OnConfirmation
    ) -> tuple[dict[str, str], OnConfirmation]:
        """The headers of a copy that is sent now, from whichever task; and what has to be called
        with the broker's answer to this copy, which ends its span.
        """
        within = trace.set_span_in_context(self._calls[request_id])
        send = self._tracer.start_span(
            f"publish {REQUESTS}",
            within,
            kind=SpanKind.PRODUCER,
            attributes={
                "messaging.system": "rabbitmq",
                "messaging.operation.name": "publish",
                "messaging.operation.type": "send",
                "messaging.destination.name": REQUESTS,
                "messaging.message.conversation_id": request_id,
            },
        )
        self._sends[request_id].append(send)

        def ended(outcome: Confirmation) -> None:
            if outcome is not Confirmation.ACCEPTED:
                send.set_status(StatusCode.ERROR, outcome.name)
            send.end()
            on_outcome(outcome)

        return _headers(send), ended


def _headers(span: Span) -> dict[str, str]:
    """Those that carry its context."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span))
    return carrier


def _described(span: Span, reply: Reply) -> Reply:
    """A refusal is an answer, and no failure of the call."""
    span.set_attribute("library.outcome", reply.outcome)
    return reply
