"""What is HTTP's own: status codes, headers, problem documents, limits, OpenAPI, the process."""

import asyncio
import io
import json
import re
import signal
import socket
import uuid
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from openapi_spec_validator import validate

from labkit import Lab, RestClient
from labkit.client.errors import ReplyTimeout, WrongLoop
from labkit.errors import LabNotOpen, ServerAway
from labkit.services import ports
from server.application.dispatcher import Dispatcher
from server.contract.envelope import Reply, Request
from server.contract.errors import BY_CODE, InProgress
from server.persistence.database import Database
from server.security.rate_limit import RateLimit
from server.settings import Settings
from server.transports.http import app, listener
from server.transports.http.problem import STATUS
from tests.support import BOOK, eventually, rest_here, worker_process


class Http:
    """A client that knows nothing of labkit: it sends whatever it is told."""

    def __init__(self, url: str, key: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self._key = key
        self._session = session

    async def __call__(
        self, method: str, path: str, body: Any = None, /, **headers: str
    ) -> aiohttp.ClientResponse:
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes | io.BytesIO | AsyncIterator):
            body = json.dumps(body).encode()
        content = {"Content-Type": "application/json"} if body is not None else {}
        everything = {"X-API-Key": self._key} | content | given
        response = await self._session.request(
            method, self.url + path, data=body, headers=everything
        )
        await response.read()
        return response

    async def problem(self, *request: Any, **headers: str) -> tuple[int, str]:
        """Status and code of an answer, which has to be a proper problem document."""
        response = await self(*request, **headers)
        document = await response.json(content_type="application/problem+json")
        assert {"type", "title", "status", "detail", "instance", "code"} <= document.keys()
        assert document["status"] == response.status
        assert response.headers["X-Request-Id"]
        return response.status, document["code"]


@pytest.fixture
async def http(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> AsyncIterator[Http]:
    async with (
        rest_here(settings, dispatcher, database) as url,
        aiohttp.ClientSession() as session,
    ):
        http = Http(url, settings.api_key, session)
        yield http
        assert (await http("GET", "/v1/ping")).status == 200, "the server lives on"


async def test_creating_answers_201_with_the_place_of_the_new_one(http: Http) -> None:
    created = await http("POST", "/v1/books", BOOK, X_Request_Id="mine")
    assert (created.status, created.headers["Location"]) == (201, "/v1/books/1")
    assert created.content_type == "application/json"
    assert created.headers["X-Request-Id"] == "mine"
    found = await http("GET", created.headers["Location"])
    assert (found.status, await found.json()) == (200, await created.json())


async def test_each_request_has_an_id_of_its_own_unless_it_brings_one(http: Http) -> None:
    answers = [await http("GET", path) for path in ("/v1/ping", "/v1/ping", "/nowhere")]
    assert len({uuid.UUID(answer.headers["X-Request-Id"]) for answer in answers}) == 3


async def test_the_key_may_be_quoted_or_not_and_a_replay_says_so(http: Http) -> None:
    key = '"8e03978e"'
    first = await http("POST", "/v1/books", BOOK, Idempotency_Key="8e03978e")
    again = await http("POST", "/v1/books", BOOK, Idempotency_Key=key)
    assert "Idempotent-Replayed" not in first.headers
    assert (again.status, again.headers["Idempotent-Replayed"]) == (201, "true")
    assert again.headers["Location"] == first.headers["Location"]
    assert await again.read() == await first.read()
    other = BOOK | {"year": 1}
    assert await http.problem("POST", "/v1/books", other, Idempotency_Key=key) == (
        422,
        "key_reused",
    )


async def test_a_key_that_is_none_is_malformed(http: Http) -> None:
    for key in ("", " ", "k" * 256, '"open', '"a"b', '"'):
        refused = await http.problem("POST", "/v1/books", BOOK, Idempotency_Key=key)
        assert refused == (400, "malformed"), key


async def test_a_key_whose_first_request_still_runs_is_a_conflict_to_be_tried_again(
    settings: Settings, database: Database
) -> None:
    class Busy(Dispatcher):
        async def execute(self, request: Request, **_: Any) -> Reply:
            raise InProgress

    async with (
        rest_here(settings, Busy(database), database) as url,
        aiohttp.ClientSession() as session,
    ):
        busy = await Http(url, settings.api_key, session)("POST", "/v1/books", BOOK)
    assert (busy.status, busy.headers["Retry-After"]) == (409, "1")
    assert (await busy.json(content_type=None))["code"] == "in_progress"


REFUSED: list[tuple[tuple[Any, ...], tuple[int, str]]] = [
    (("GET", "/v1/books/7"), (404, "not_found")),
    (("GET", "/v1/books/seven"), (422, "invalid_data")),
    (("GET", "/v1/books?limit=many"), (422, "invalid_data")),
    (("GET", "/v1/books?limit=1&limit=2"), (422, "invalid_data")),
    (("GET", "/v1/books?limit="), (422, "invalid_data")),
    (("GET", "/v1/books?limit=" + "9" * 5000), (422, "invalid_data")),
    (("GET", "/v1/books?colour=red"), (422, "invalid_data")),
    (("GET", "/v1/books?auth_token=secret"), (422, "invalid_data")),
    (("POST", "/v1/books", BOOK | {"auth_token": "secret"}), (422, "invalid_data")),
    (("POST", "/v1/books?title=T", BOOK), (422, "invalid_data")),
    (("PATCH", "/v1/books/7", {"id": 8, "year": 1}), (422, "invalid_data")),
    (("POST", "/v1/books", [BOOK]), (400, "malformed")),
    (("GET", "/v1/authors"), (404, "unknown_action")),
    (("GET", "/v1/books/"), (404, "unknown_action")),
    (("GET", "/favicon.ico"), (404, "unknown_action")),
    (("GET", "/v3/books"), (404, "unsupported_version")),
    (("PUT", "/v1/books"), (405, "unknown_action")),
    (("DELETE", "/healthz"), (405, "unknown_action")),
    (("GET", "/v1/" + "%00%ff%2e" * 1000), (404, "unknown_action")),
]


async def test_each_refusal_has_its_status_and_code(http: Http) -> None:
    for request, refused in REFUSED:
        assert await http.problem(*request) == refused, request


async def test_data_that_does_not_fit_counts_towards_the_rate(
    settings: Settings, database: Database
) -> None:
    limited = Dispatcher(database, limit=RateLimit(rate=0.0, burst=2.0))
    async with (
        rest_here(settings, limited, database) as url,
        aiohttp.ClientSession() as session,
    ):
        http = Http(url, settings.api_key, session)
        assert (await http("GET", "/v1/ping")).status == 200
        answers = [(await http("POST", "/v1/books", {"year": 1})).status for _ in range(3)]
    assert answers == [422, 429, 429]


async def test_a_method_that_a_path_has_not_is_told_those_it_has(http: Http) -> None:
    assert (await http("PUT", "/v1/books")).headers["Allow"] == "GET, POST"
    assert (await http("POST", "/v2/authors/1", {})).headers["Allow"] == "DELETE, GET, PATCH"


async def test_who_is_not_known_is_told_how_to_say_who_it_is(http: Http) -> None:
    basic = {"Authorization": "Basic bGFiOmxhYg=="}
    for headers in ({"X_API_Key": "wrong"}, {"X_API_Key": ""}, basic):
        refused = await http("GET", "/v1/books", **headers)
        assert (refused.status, refused.headers["WWW-Authenticate"][:6]) == (401, "Bearer")


NOT_JSON = [
    b"not JSON",
    b"",
    b"NaN",
    b'{"title": NaN}',
    b"1e999",
    b"[" * 50_000,
    b'{"a":' * 50_000,
    b"9" * 50_000,
    '{"title": "T"}'.encode("utf-16"),
    b"\xc3\x28",
    b'{"title": "\\ud800"}',
]


async def test_what_is_not_json_is_malformed(http: Http) -> None:
    for body in NOT_JSON:
        refused = await http.problem("POST", "/v1/books", body)
        assert refused == (400, "malformed"), body[:50]


async def test_a_client_sends_no_number_that_is_none(http: Http) -> None:
    async with RestClient(http.url, http._key) as client:
        for action in ("create_book", "get_books", "no_action"):
            with pytest.raises(ValueError, match=r"data\.year is nan"):
                await client.request(action, {"year": float("nan")})


async def test_a_client_is_told_at_once_that_it_lives_in_another_event_loop(http: Http) -> None:
    async with RestClient(http.url, http._key) as client:

        def elsewhere() -> None:
            asyncio.run(client.call("ping"))

        with pytest.raises(WrongLoop):
            await asyncio.to_thread(elsewhere)
        assert await client.call("ping") == {"pong": True}


async def test_another_content_type_is_refused(http: Http) -> None:
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=x"):
        refused = await http.problem("POST", "/v1/books", BOOK, Content_Type=kind)
        assert refused == (415, "malformed"), kind
    refused = await http.problem("POST", "/v1/books", BOOK, Content_Encoding="gzip")
    assert refused == (415, "malformed")


async def test_the_largest_body_that_is_allowed_is_read(http: Http, settings: Settings) -> None:
    body = json.dumps(BOOK).encode().ljust(settings.max_body)
    assert (await http("POST", "/v1/books", body)).status == 201


async def test_a_body_over_the_limit_is_refused(http: Http, settings: Settings) -> None:
    for over in (1, 50_000_000):
        body = io.BytesIO(b" " * (settings.max_body + over))
        assert await http.problem("POST", "/v1/books", body) == (413, "too_large")


async def test_a_body_of_unknown_length_is_read_no_further_than_the_limit(http: Http) -> None:
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 500_000_000:
            sent += 65_536
            yield b" " * 65_536

    assert await http.problem("POST", "/v1/books", endless()) == (413, "too_large")
    assert sent < 50_000_000, "the buffers of two sockets, but not all of it"


CHUNKED = b"""POST /v1/books HTTP/1.1\r
Host: localhost\r
Content-Type: application/json\r
Transfer-Encoding: chunked\r
\r
"""
NOT_HTTP = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\nX-Long: " + b"a" * 66_000,
    CHUNKED + b"0" * 66_000,
    CHUNKED + b"1;extension\r\n{\r\n" * 4_500,
    b"\x16\x03\x01 this is TLS",
    b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
]


async def test_what_is_no_http_is_refused_in_the_same_form(http: Http) -> None:
    for raw in NOT_HTTP:
        head, _, body = (await _raw(http, raw)).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 Bad Request\r\n"), raw[:80]
        assert json.loads(body)["code"] == "malformed"


async def _raw(http: Http, request: bytes) -> bytes:
    """All that is answered until the server closes the connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(http.url.rpartition(":")[2]))
    writer.write(request)
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return answer


async def test_a_request_whose_deadline_has_passed_is_not_worked_on(http: Http) -> None:
    late = await http.problem("POST", "/v1/books", BOOK, X_Deadline="1")
    assert late == (504, "expired")
    assert (await (await http("GET", "/v1/books")).json())["books"] == []


async def test_strange_headers_are_no_obstacle_and_wrong_ids_are_refused(http: Http) -> None:
    assert (await http("GET", "/v1/ping", X_Deadline="tomorrow")).status == 200
    assert await http.problem("GET", "/v1/ping", X_Request_Id="i" * 129) == (400, "malformed")


async def test_a_client_that_goes_away_in_the_middle_harms_nobody(http: Http) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", int(http.url.rpartition(":")[2]))
    head = b"POST /v1/books HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    writer.write(head + b"Content-Length: 100\r\n\r\n{")
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    assert (await http("GET", "/v1/ping")).status == 200


async def test_a_bug_is_a_500_with_the_requests_id_and_the_server_lives_on(
    settings: Settings, database: Database
) -> None:
    class Broken(Dispatcher):
        async def execute(self, request: Request, **_: Any) -> Reply:
            raise ZeroDivisionError("a canary in the code")

    async with (
        rest_here(settings, Broken(database), database) as url,
        aiohttp.ClientSession() as session,
    ):
        http = Http(url, settings.api_key, session)
        for _ in range(2):
            response = await http("POST", "/v1/books", BOOK, X_Request_Id="mine")
            assert (response.status, response.headers["X-Request-Id"]) == (500, "mine")
            assert "canary" not in await response.text()
            assert (await response.json(content_type=None))["code"] == "internal"


async def test_while_the_database_is_away_the_answer_is_503(settings: Settings) -> None:
    nowhere = settings.model_copy(
        update={"database_url": f"postgresql://u:secret@127.0.0.1:{ports.any_free()}/x"}
    )
    database = Database(nowhere)
    async with (
        rest_here(nowhere, Dispatcher(database), database) as url,
        aiohttp.ClientSession() as session,
    ):
        http = Http(url, settings.api_key, session)
        assert await http.problem("GET", "/healthz") == (503, "unavailable")
        refused = await http("POST", "/v1/books", BOOK)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "1")
        assert "secret" not in await refused.text()
    await database.close()


async def test_healthz_asks_nobody_who_it_is(http: Http) -> None:
    healthy = await http("GET", "/healthz", X_API_Key="wrong")
    assert (healthy.status, await healthy.json()) == (200, {"status": "ok"})


async def test_the_openapi_document_is_valid_and_complete(http: Http) -> None:
    document = await (await http("GET", "/openapi.json")).json()
    validate(document)
    assert document["paths"]["/v2/books/{id}"].keys() == {"get", "patch", "delete"}
    create = document["paths"]["/v1/books"]["post"]
    body = create["requestBody"]["content"]["application/json"]
    schema = document["components"]["schemas"][body["schema"]["$ref"].rpartition("/")[2]]
    assert (body["example"], schema["required"]) == (BOOK, ["title", "author"])
    assert {"201", "400", "401", "403", "409", "413", "415", "422", "503"} <= create[
        "responses"
    ].keys()


async def test_the_documentation_page_asks_no_other_host(http: Http) -> None:
    page = await http("GET", "/docs")
    assert page.content_type == "text/html"
    addresses = re.findall(r'(?:src|href)="([^"]+)"', await page.text())
    assert len(addresses) >= 2
    for address in addresses:
        assert address.startswith("/"), address
        assert (await http("GET", address)).status == 200


def test_every_error_of_the_api_has_a_status() -> None:
    assert STATUS.keys() == BY_CODE.keys()


async def test_a_stopped_server_answers_what_it_holds_and_ends_well(
    settings: Settings, database: Database
) -> None:
    anywhere = settings.model_copy(update={"rest_port": 0})
    async with worker_process(anywhere, "rest") as server:
        url = server.events("ready")[0]["url"]
        async with RestClient(url, settings.api_key) as client:
            calls = [asyncio.create_task(client.request("create_book", BOOK)) for _ in range(50)]
            await asyncio.wait(calls, return_when=asyncio.FIRST_COMPLETED)
            assert await server.end(signal.SIGTERM) == 0
            replies = await asyncio.gather(*calls)
            assert {reply.status for reply in replies} == {"ok"}
            with pytest.raises(ServerAway, match="make up"):
                await client.call("ping")
    assert [line["outcome"] for line in server.events("request")].count("ok") == 50
    assert {"id", "action", "version", "status", "outcome", "ms"} <= server.events("request")[
        0
    ].keys()


async def test_no_line_of_the_log_holds_a_secret(settings: Settings, database: Database) -> None:
    anywhere = settings.model_copy(update={"rest_port": 0})
    async with worker_process(anywhere, "rest") as server, aiohttp.ClientSession() as session:
        http = Http(server.events("ready")[0]["url"], settings.api_key, session)
        await http("POST", "/v1/books", BOOK)
        await http("POST", "/v1/books", BOOK, X_API_Key="a canary")
        await http("POST", "/v1/login", {"name": "anna", "password": "a canary"})
        await http("POST", "/v1/login", b'{"password": "a canary')
        await http("GET", "/v1/books?auth_token=canary", Authorization="Bearer canary")

        async def logged() -> bool:
            return len(server.events("request")) == 5

        await eventually(logged)
        await server.end()
    assert settings.api_key not in json.dumps(server.log)
    assert "canary" not in json.dumps(server.log)


async def test_a_port_that_is_taken_is_named(settings: Settings, database: Database) -> None:
    async with worker_process(settings.model_copy(update={"rest_port": 0}), "rest") as server:
        port = int(server.events("ready")[0]["url"].rpartition(":")[2])
        taken = settings.model_copy(update={"rest_port": port})
        here = app.create_app(Dispatcher(database), database, taken)
        with pytest.raises(SystemExit, match=f"port {port}.*REST_PORT"):
            await listener.serve(here, taken, asyncio.Event())


async def test_a_server_that_is_not_there_is_definite() -> None:
    with pytest.raises(ServerAway, match="make up") as away:
        await RestClient(f"http://127.0.0.1:{ports.any_free()}").connect()
    assert away.value.is_definite


HEALTHY = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
PROXY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: 3\r\n\r\n<p>"


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200", PROXY, b"\x00\x00\x00"])
async def test_a_connection_that_is_lost_leaves_the_outcome_open(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(HEALTHY if b"/healthz" in asked else answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        async with RestClient(url) as client:
            with pytest.raises(ReplyTimeout) as lost:
                await client.call("create_book", BOOK)
    assert not lost.value.is_definite


async def test_a_lab_can_be_served_over_http_too(place: str) -> None:
    async with Lab.open(place, rest=True) as lab:
        over_http, over_amqp = await lab.rest_client(), await lab.client()
        book = await over_http.call("create_book", BOOK, idempotency_key="k")
        assert await over_amqp.call("create_book", BOOK, idempotency_key="k") == book
        await lab.settle()
        log, url = lab.log(), lab.rest_url
    assert log["worker"].tolist() == [f"lab-{place}-rest", f"lab-{place}-worker-1"]
    assert log["outcome"].tolist() == ["ok", "ok"]
    with pytest.raises(ServerAway):
        await RestClient(url).connect()


async def test_a_lab_without_rest_says_how_to_open_one_with_it(place: str) -> None:
    async with Lab.open(place) as lab:
        with pytest.raises(LabNotOpen, match="rest=True"):
            await lab.rest_client()


def test_short_answers_are_not_held_back_for_the_clients_acknowledgement() -> None:
    with (
        listener._listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
        listening.accept()[0] as accepted,
    ):
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
