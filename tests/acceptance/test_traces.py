"""Real processes send their spans to a collector: a request can be followed through all of them."""

import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator

import aio_pika
import httpx
import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Exported
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.trace import Tracer

from labkit import Lab
from labkit.dead_letters.letter import Letter
from labkit.services.logs import events
from labkit.worker_settings import WorkerSettings
from server.contract.errors import Internal, NotFound
from server.contract.headers import TRACEPARENT
from server.contract.steps import Step
from server.contract.topology import DEAD_LETTERS, REQUESTS
from tests.acceptance.collector import Collector, collecting
from tests.support import BOOK, eventually

WRITE = [str(step) for step in Step]
SENT, PROCESSED = f"publish {REQUESTS}", f"process {REQUESTS}"
RETRY = "publish api.retry.50ms"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


@pytest.fixture
def tracer(collector: Collector) -> Tracer:
    """That of a program which uses the client."""
    provider = TracerProvider(resource=Resource({"service.name": "shop"}))
    exporter = OTLPSpanExporter(f"{collector.url}/v1/traces")
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    return provider.get_tracer("shop")


@pytest.fixture
async def lab(place: str, collector: Collector) -> AsyncIterator[Lab]:
    settings = WorkerSettings(retry_delays="0.05", otel_exporter_otlp_endpoint=collector.url)
    async with Lab.open(place, obedient=True, **settings) as lab:
        yield lab


async def is_parked(lab: Lab) -> bool:
    return len(await lab.dead_letters.list()) == 1


async def dead_letter_of(lab: Lab, traceparent: str) -> Letter:
    """What is left of a message with this header that is no request."""
    async with await aio_pika.connect(lab.client_amqp_url) as connection:
        channel = await connection.channel()
        message = aio_pika.Message(b"no JSON", headers={TRACEPARENT: traceparent})
        await channel.default_exchange.publish(message, REQUESTS)
    await eventually(lambda: is_parked(lab))
    return await lab.dead_letters.show(number=1)


async def test_a_write_is_one_trace_from_its_caller_to_its_acknowledgement(
    lab: Lab, collector: Collector, tracer: Tracer
) -> None:
    client = await lab.client(tracer=tracer)
    reply = await client.request("create_book", BOOK, request_id="look")
    await lab.stop_workers()
    (call,), (sent,), (processed,) = map(collector.named, ("create_book", SENT, PROCESSED))
    assert (call.service, sent.service, processed.service) == ("shop", "shop", "library-worker")
    assert call.parent == ""
    assert (sent.parent, processed.parent) == (call.id, sent.id)
    assert processed.links == (sent.id,)
    assert (call.kind, sent.kind, processed.kind) == (
        Exported.SPAN_KIND_CLIENT,
        Exported.SPAN_KIND_PRODUCER,
        Exported.SPAN_KIND_CONSUMER,
    )
    assert collector.within(processed) == WRITE
    assert {span.trace for span in collector.spans} == {call.trace}
    assert processed.said["messaging.system"] == "rabbitmq"
    assert processed.said["messaging.message.conversation_id"] == "look"
    assert processed.said["library.action"] == "create_book"
    assert processed.said["library.outcome"] == call.said["library.outcome"] == "ok"
    assert (await lab.rows("books_v1"))["id"].tolist() == [reply.data["id"]]


async def test_the_log_says_which_trace_it_belongs_to(
    lab: Lab, collector: Collector, tracer: Tracer
) -> None:
    client = await lab.client(tracer=tracer)
    await client.call("ping")
    await lab.settle()
    await lab.stop_workers()
    (line,) = (e for e in events(lab.worker_logs.values()) if e["event"] == "request")
    assert line["trace_id"] == collector.named("ping")[0].trace


async def test_a_retry_goes_on_in_the_trace_and_its_dead_letter_too(
    lab: Lab, collector: Collector, tracer: Tracer
) -> None:
    client = await lab.client(tracer=tracer)
    async with await lab.faults.fail(at="applied", always=True):
        reply = await client.request("create_book", BOOK)
    assert reply.error is not None
    assert reply.error["code"] == Internal.code
    await lab.stop_workers()
    first, second = collector.named(PROCESSED)
    (retry,), (parked,) = map(collector.named, (RETRY, f"publish {DEAD_LETTERS}"))
    assert (retry.parent, second.parent, parked.parent) == (first.id, retry.id, second.id)
    assert (first.said["library.attempt"], second.said["library.attempt"]) == (1, 2)
    assert first.said["library.outcome"] == "retry_scheduled"
    assert (second.said["library.outcome"], second.failed) == (Internal.code, True)
    assert "dead_lettered" in second.events
    assert len({span.trace for span in collector.spans}) == 1


async def test_a_replay_is_a_trace_of_its_own_that_leads_to_the_one_before(
    lab: Lab, collector: Collector, tracer: Tracer
) -> None:
    client = await lab.client(tracer=tracer)
    async with await lab.faults.fail(at="applied", always=True):
        await client.request("create_book", BOOK)
    replayed = await lab.dead_letters.replay()
    assert replayed["outcome"].tolist() == ["ok"]
    await lab.stop_workers()
    *_, last = collector.named(PROCESSED)
    (parked,) = collector.named(f"publish {DEAD_LETTERS}")
    assert last.parent == ""
    assert last.trace != parked.trace
    assert last.links == (parked.id,)
    assert last.said["library.outcome"] == "ok"


async def test_what_the_broker_gives_up_stays_in_its_trace(
    place: str, collector: Collector, tracer: Tracer
) -> None:
    settings = WorkerSettings(delivery_limit=1, otel_exporter_otlp_endpoint=collector.url)
    async with Lab.open(place, supervised=True, obedient=True, **settings) as lab:
        client = await lab.client(tracer=tracer, timeout=2)
        async with await lab.faults.kill(at="parsed", always=True):
            with pytest.raises(Exception, match="No reply"):
                await client.call("create_book", BOOK)
            await eventually(lambda: is_parked(lab), within=20)
        await lab.stop_workers()
    (sent,), (parked,) = map(collector.named, (SENT, f"publish {DEAD_LETTERS}"))
    (read,) = collector.named("process api.dlq.raw")
    assert (read.parent, parked.parent) == (sent.id, read.id)


async def test_rest_goes_on_in_the_trace_of_its_caller(
    place: str, collector: Collector, tracer: Tracer
) -> None:
    settings = WorkerSettings(otel_exporter_otlp_endpoint=collector.url)
    async with Lab.open(place, workers=0, rest=True, **settings) as lab:
        client = await lab.rest_client(tracer=tracer)
        await client.call("create_book", BOOK)
        with pytest.raises(NotFound):
            await client.call("get_book", {"id": 9})
    (call,) = collector.named("create_book")
    (served,) = collector.named("POST /v1/books")
    assert (served.service, served.parent, served.trace) == ("library-rest", call.id, call.trace)
    assert collector.within(served) == ["authenticated", "claimed", "applied", "committed"]
    (not_there,) = collector.named("GET /v1/books/{id}")
    assert not_there.said["library.outcome"] == NotFound.code
    assert not not_there.failed


async def test_no_key_in_an_address_is_in_a_span(place: str, collector: Collector) -> None:
    settings = WorkerSettings(otel_exporter_otlp_endpoint=collector.url)
    async with (
        Lab.open(place, workers=0, rest=True, **settings) as lab,
        httpx.AsyncClient(trust_env=False) as http,
    ):
        await http.get(f"{lab.rest_url}/v1/books", params={"api_key": "hidden"})
        await http.get(f"{lab.rest_url}/hidden")
    assert collector.named("GET /v1/books")
    assert b"hidden" not in b"".join(collector.raw)


async def test_no_secret_is_in_a_span(lab: Lab, collector: Collector, tracer: Tracer) -> None:
    client = await lab.client(tracer=tracer)
    await client.call("create_book", BOOK)
    await client.request("login", {"name": "library", "password": "hidden-password"})
    await lab.stop_workers()
    assert collector.spans
    sent = b"".join(collector.raw)
    assert lab.api_key.encode() not in sent
    assert b"hidden-password" not in sent


async def test_a_collector_that_never_answers_keeps_nothing_waiting(
    place: str, tracer: Tracer
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        async with Lab.open(place, otel_exporter_otlp_endpoint=url) as lab:
            client = await lab.client()
            for _ in range(50):
                await client.call("ping")
            began = time.monotonic()
            await lab.stop_workers()
            assert time.monotonic() - began < 10
            assert lab.log()["outcome"].tolist() == ["ok"] * 50


@pytest.mark.parametrize("header", ["my key", f"00-{'0' * 32}-{'0' * 16}-01"])
async def test_a_header_that_is_no_trace_context_begins_a_trace_and_goes_no_further(
    lab: Lab, collector: Collector, header: str
) -> None:
    letter = await dead_letter_of(lab, header)
    await lab.stop_workers()
    (processed,), (parked,) = map(collector.named, (PROCESSED, f"publish {DEAD_LETTERS}"))
    assert (processed.parent, processed.links) == ("", ())
    assert letter.headers[TRACEPARENT].startswith(f"00-{parked.trace}-{parked.id}-")


async def test_an_untraced_server_passes_the_trace_on(place: str) -> None:
    given = f"00-{'a' * 32}-{'b' * 16}-01"
    async with Lab.open(place) as lab:
        letter = await dead_letter_of(lab, given)
    assert letter.headers[TRACEPARENT] == given


def test_switched_off_nothing_of_it_is_imported() -> None:
    code = (
        "import sys, server.__main__, server.transports.amqp.worker, labkit.client.amqp\n"
        "sys.exit(any('opentelemetry' in name for name in sys.modules))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
