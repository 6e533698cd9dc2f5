"""A worker whose deliveries are spans, and what it publishes because of them, too.

Only imported where traces are switched on: see ``server.tracing``.
"""

from typing import Any

from aio_pika import Message
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Link, SpanKind
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from server.contract.headers import TRACEPARENT
from server.contract.lane import Delivered
from server.tracing import TRACER
from server.transports.amqp.confirmed import ConfirmedPublisher
from server.transports.amqp.consumer import Processor
from server.transports.amqp.delivery import Delivery
from server.transports.amqp.worker import Worker

_tracer = trace.get_tracer(TRACER)
_propagator = TraceContextTextMapPropagator()


class TracedPublisher(ConfirmedPublisher):
    """Retries and dead letters: each goes on in the trace of its request."""

    async def publish(self, copy: Message, queue: str) -> None:
        """As ``ConfirmedPublisher``; its span ends when the broker has confirmed."""
        said = _said("publish", "send", queue, copy.message_id)
        with _tracer.start_as_current_span(
            f"publish {queue}", kind=SpanKind.PRODUCER, attributes=said
        ):
            carrier: dict[str, str] = {}
            _propagator.inject(carrier)
            copy.headers.update(carrier)
            await super().publish(copy, queue)


class TracedProcessor:
    """Processes with ``processor``, each delivery in a span.

    It goes on where its message was sent. A dead letter may be replayed a week later: that is a
    trace of its own, with a link to the one in which it became a dead letter.
    """

    def __init__(self, processor: Processor, queue: str, own_user: str) -> None:
        self._processor = processor
        self._queue = queue
        self._own_user = own_user

    async def process(self, message: Delivered) -> None:
        delivery = Delivery(message, self._own_user)
        sent_in = _propagator.extract({TRACEPARENT: delivery.traceparent or ""}, Context())
        sender = trace.get_current_span(sent_in).get_span_context()
        with _tracer.start_as_current_span(
            f"process {self._queue}",
            context=Context() if delivery.is_replay else sent_in,
            kind=SpanKind.CONSUMER,
            attributes=_said("process", "process", self._queue, message.message_id)
            | {"messaging.rabbitmq.message.delivery_tag": message.tag},
            links=[Link(sender)] if sender.is_valid else [],
        ):
            await self._processor.process(message)


def trace_deliveries(worker: Worker) -> None:
    worker.publishes_with = TracedPublisher
    worker.looks_on = TracedProcessor


def _said(name: str, kind: str, queue: str, message_id: str | None) -> dict[str, Any]:
    """By the conventions for RabbitMQ: all goes over the default exchange."""
    said = {
        "messaging.system": "rabbitmq",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": queue,
        "messaging.message.id": message_id,
    }
    return {key: value for key, value in said.items() if value is not None}
