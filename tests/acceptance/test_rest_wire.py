"""What is on the wire around a request: large heads, what comes behind it, whose page sends it."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pytest

from labkit import RestClient
from server.application.dispatcher import Dispatcher
from server.persistence.database import Database
from server.settings import Settings
from server.transports.http.protocol import LARGEST_HEAD
from tests.support import BOOK, rest_here

GARBAGE = b"\x00\x01 this is no HTTP\r\n\r\n"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    document: Any


@dataclass
class Raw:
    """Writes bytes, and reads whatever is answered until the server closes the connection."""

    port: int
    key: str

    async def __call__(self, *pieces: bytes) -> list[Answer]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.05)
        text = await asyncio.wait_for(reader.read(), 10)
        writer.close()
        return list(_answers(text))

    async def one(self, request: bytes) -> Answer:
        (answer,) = await self(request)
        return answer

    def post(self, body: bytes = b"", /, **headers: str) -> bytes:
        body = body or json.dumps(BOOK).encode()
        return self.request("POST", "/v1/books", body, headers)

    def get(self, path: str, /, **headers: str) -> bytes:
        return self.request("GET", path, b"", headers)

    def request(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
        given = {"Host": f"127.0.0.1:{self.port}", "X-API-Key": self.key}
        given |= {"Content-Type": "application/json", "Content-Length": str(len(body))}
        given |= {name.replace("_", "-"): value for name, value in headers.items()}
        lines = [f"{name}: {value}\r\n" for name, value in given.items()]
        return f"{method} {path} HTTP/1.1\r\n{''.join(lines)}\r\n".encode("latin-1") + body

    async def books(self) -> int:
        answer = await self.one(self.get("/v1/books", Connection="close"))
        return len(answer.document["books"])


def _answers(text: bytes) -> Iterator[Answer]:
    while text:
        head, _, text = text.partition(b"\r\n\r\n")
        status, *lines = head.decode("latin-1").split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines)
        size = int(headers["content-length"])
        yield Answer(int(status.split()[1]), headers, json.loads(text[:size]))
        text = text[size:]


@pytest.fixture
async def raw(settings: Settings, dispatcher: Dispatcher, database: Database) -> AsyncIterator[Raw]:
    there = settings.model_copy(update={"rest_hosts": ("rest",)})
    async with rest_here(there, dispatcher, database) as url:
        yield Raw(int(url.rpartition(":")[2]), settings.api_key)


def _statuses(answers: list[Answer]) -> list[int]:
    return [answer.status for answer in answers]


async def test_a_head_is_as_large_as_its_limit_and_no_larger(raw: Raw) -> None:
    spare = LARGEST_HEAD - len(raw.get("/v1/ping", Connection="close", X_Long=""))
    fits = raw.get("/v1/ping", Connection="close", X_Long="a" * spare)
    assert _statuses(await raw(fits)) == [200]
    written = raw.post(Connection="close", X_Long="")
    spare_of_post = LARGEST_HEAD - written.index(b"\r\n\r\n") - 4
    assert _statuses(await raw(raw.post(Connection="close", X_Long="a" * spare_of_post))) == [201]
    for over in (1, 70_000 - LARGEST_HEAD, LARGEST_HEAD):
        too_large = raw.get("/v1/ping", Connection="close", X_Long="a" * (spare + over))
        (refused,) = await raw(too_large)
        assert (refused.status, refused.document["code"]) == (400, "malformed"), over
        assert str(LARGEST_HEAD) in refused.document["detail"]


async def test_a_large_head_of_many_lines_or_of_a_long_address_is_refused(raw: Raw) -> None:
    many = {f"X-{number}": "a" * 100 for number in range(700)}
    assert _statuses(await raw(raw.get("/v1/ping", **many))) == [400]
    assert _statuses(await raw(raw.get("/v1/books?title=" + "a" * 70_000))) == [400]


async def test_small_requests_in_one_segment_are_not_taken_for_one_large_head(raw: Raw) -> None:
    ping = raw.get("/v1/ping", X_Long="a" * 40_000)
    answers = await raw(ping * 3 + raw.get("/v1/ping", Connection="close"))
    assert _statuses(answers) == [200, 200, 200, 200]


async def test_a_write_with_garbage_behind_it_is_answered_and_then_the_garbage(raw: Raw) -> None:
    for pieces in ([raw.post() + GARBAGE], [raw.post(), GARBAGE]):
        written, refused = await raw(*pieces)
        assert written.status == 201
        assert (refused.status, refused.document["code"]) == (400, "malformed")
        assert refused.headers["connection"] == "close"
    assert await raw.books() == 2


async def test_all_requests_before_the_garbage_are_answered_in_their_order(raw: Raw) -> None:
    ids = [f"r{number}" for number in range(5)]
    answers = await raw(b"".join(raw.post(X_Request_Id=id_) for id_ in ids) + GARBAGE + GARBAGE)
    assert _statuses(answers) == [201] * 5 + [400]
    assert [answer.headers["x-request-id"] for answer in answers[:5]] == ids
    assert await raw.books() == 5


async def test_a_request_that_breaks_off_is_not_applied_and_those_before_it_are(raw: Raw) -> None:
    chunked = raw.post(b" ", Transfer_Encoding="chunked").replace(b"Content-Length: 1\r\n", b"")
    broken = chunked[:-1] + b"5\r\n{\r\n\r\nnonsense\r\n\r\n"
    assert _statuses(await raw(broken)) == [400]
    assert _statuses(await raw(raw.post() + broken)) == [201, 400]
    assert await raw.books() == 1


async def test_a_member_that_is_there_twice_is_malformed(raw: Raw) -> None:
    twice = b'{"title": "1984", "author": "G. Orwell", "title": "Animal Farm"}'
    deeper = b'{"title": "1984", "author": "G. Orwell", "isbn": {"a": 1, "a": 2}}'
    for body in (twice, deeper):
        refused = await raw.one(raw.post(body, Connection="close"))
        assert (refused.status, refused.document["code"]) == (400, "malformed")
        assert "twice" in refused.document["detail"]
    assert await raw.books() == 0


async def test_two_writes_of_one_trace_are_two_writes(raw: Raw) -> None:
    for title in ("1984", "Animal Farm", "Animal Farm"):
        body = json.dumps(BOOK | {"title": title, "isbn": None}).encode()
        written = await raw.one(raw.post(body, X_Request_Id="trace-7", Connection="close"))
        assert (written.status, written.headers["x-request-id"]) == (201, "trace-7")
        assert "idempotent-replayed" not in written.headers
    assert await raw.books() == 3


OURS = ["127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}", "rest:{port}"]
FOREIGN = [
    "evil.example",
    "evil.example:{port}",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "127.0.0.1@evil.example",
    "rest.evil.example:{port}",
    "[::1",
    "[::1]evil.example",
    "localhost:evil",
    "127.0.0.2",
    "",
]


async def test_a_request_is_for_this_server_or_refused(raw: Raw) -> None:
    for host in OURS:
        asked = raw.get("/v1/ping", Host=host.format(port=raw.port), Connection="close")
        assert (await raw.one(asked)).status == 200, host
    for host in FOREIGN:
        written = raw.post(Host=host.format(port=raw.port), Connection="close")
        refused = await raw.one(written)
        assert (refused.status, refused.document["code"]) == (400, "malformed"), host
        assert refused.headers["content-type"] == "application/problem+json"
        assert refused.headers["x-request-id"]
    assert await raw.books() == 0


async def test_a_request_names_one_host(raw: Raw) -> None:
    twice = raw.post(Connection="close").replace(b"\r\n", b"\r\nHost: evil.example\r\n", 1)
    assert (await raw.one(twice)).status == 400
    none = raw.post(Connection="close").replace(b"Host:", b"X-Host:")
    assert (await raw.one(none)).status == 400
    assert await raw.books() == 0


async def test_a_page_of_another_site_can_send_nothing_that_is_applied(raw: Raw) -> None:
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1", "http://localhost"):
        refused = await raw.one(raw.post(Origin=origin, Connection="close"))
        assert (refused.status, refused.document["code"]) == (403, "forbidden"), origin
        preflight = {
            "Access-Control-Request-Method": "POST",
            "Origin": origin,
            "Connection": "close",
        }
        asked = await raw.one(raw.request("OPTIONS", "/v1/books", b"", preflight))
        assert not [name for name in asked.headers if name.startswith("access-control")]
    assert await raw.books() == 0


async def test_the_servers_own_page_may_send_requests(raw: Raw) -> None:
    own = f"http://127.0.0.1:{raw.port}"
    assert (await raw.one(raw.post(Origin=own, Connection="close"))).status == 201


async def test_our_client_gives_a_write_a_key_so_that_it_may_be_sent_again() -> None:
    """aiohttp sends a DELETE again by itself when a connection that was kept open is lost."""
    heads: list[str] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError):
            while True:
                heads.append((await reader.readuntil(b"\r\n\r\n")).decode())
                if len(heads) == 2:
                    break  # the connection is lost before the answer
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n")
                writer.write(b"Content-Length: 2\r\n\r\n{}")
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with RestClient(url) as client:
            await client.call("delete_book", {"id": 7})
    health, first, again = heads
    assert "Idempotency-Key" not in health
    assert "Idempotency-Key" in first
    assert first == again
