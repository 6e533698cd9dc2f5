"""The spans of a call that was sent twice, because its first connection was lost."""

from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from labkit.client.caller import Reply
from labkit.client.channel import Confirmation
from labkit.client.traces import CallTraces
from server.contract.trace_context import well_formed


async def test_each_copy_has_a_span_that_ends_with_the_brokers_answer_to_this_copy() -> None:
    exporter, heard = InMemorySpanExporter(), list[Confirmation]()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    traces = CallTraces(provider.get_tracer("test"))

    async def reply(headers: dict[str, str]) -> Reply:
        first, first_ended = traces.sent("a", heard.append)
        second, second_ended = traces.sent("a", heard.append)
        lost, _ = traces.sent("a", heard.append)
        contexts = [well_formed(each["traceparent"]) for each in (headers, first, second, lost)]
        assert len(set(contexts)) == 4
        second_ended(Confirmation.ACCEPTED)
        first_ended(Confirmation.RETURNED)
        return Reply("a", "ok", data={"pong": True}, error=None)

    await traces.call("ping", "a", reply)
    assert heard == [Confirmation.ACCEPTED, Confirmation.RETURNED]
    *sends, call = exporter.get_finished_spans()
    accepted, returned, lost = sends
    assert [said(span) for span in sends] == [
        (StatusCode.UNSET, None),
        (StatusCode.ERROR, "RETURNED"),
        (StatusCode.UNSET, None),
    ]
    assert began(returned) < began(accepted) < began(lost), "in the order in which they were sent"
    for send in sends:
        assert send.parent == call.context


def said(span: ReadableSpan) -> tuple[StatusCode, str | None]:
    return span.status.status_code, span.status.description


def began(span: ReadableSpan) -> int:
    assert span.start_time is not None
    return span.start_time
