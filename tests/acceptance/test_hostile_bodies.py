"""Ten thousand bodies, valid, nearly valid and hostile, over both transports.

No process dies, nothing is ``internal``, and every answer is one of the contract.
"""

import asyncio
import itertools
import json
from typing import Any

import aiohttp
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from server.application.dispatcher import Dispatcher
from server.application.handlers import VERSIONS
from server.contract.errors import BY_CODE
from server.persistence.database import Database
from server.settings import Settings
from tests.support import Wire, rest_here, wire, worker_here

BODIES_AT_ONCE = 50
ROUNDS = 100
"""A hundred rounds of fifty bodies over each of two transports: ten thousand."""

ACTIONS = sorted({name for actions in VERSIONS.values() for name in actions})
FIELDS = sorted(
    {
        field
        for actions in VERSIONS.values()
        for a in actions.values()
        for field in a.payload.model_fields
    }
)

texts = st.text(max_size=30) | st.sampled_from(["", " ", "\x00", "a" * 600, "978-0451524935", "v1"])
numbers = st.integers(-5, 5) | st.integers() | st.sampled_from([2**31, 2**63 - 1, 2**63, 10**400])
values = st.recursive(
    st.none() | st.booleans() | numbers | texts | st.floats(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
payloads = st.dictionaries(st.sampled_from(FIELDS) | texts, values, max_size=5)
books = st.fixed_dictionaries(
    {"title": texts, "author": texts}, optional={"year": numbers, "isbn": texts, "genre": texts}
)


def requests(key: str) -> st.SearchStrategy[dict[str, Any]]:
    """Requests that are right but for a few fields that may be anything."""
    right = st.fixed_dictionaries(
        {
            "version": st.sampled_from([*VERSIONS, "v9"]),
            "action": st.sampled_from([*ACTIONS, "burn"]),
            "data": books | payloads,
            "auth": st.sampled_from([key, key, key, None, "wrong"]),
            "idempotency_key": st.none() | texts,
        }
    )
    wrong = st.dictionaries(
        st.sampled_from(["version", "action", "data", "auth", "idempotency_key", "id", "x"]),
        values,
        max_size=2,
    )
    return st.builds(lambda a, b: a | b, right, wrong)


def bodies(key: str) -> st.SearchStrategy[bytes]:
    as_json = requests(key).map(lambda request: json.dumps(request).encode())
    cut = st.builds(lambda body, n: body[: n % (len(body) + 1)], as_json, st.integers(0, 500))
    other = values.map(lambda value: json.dumps(value).encode())
    return as_json | as_json | cut | other | st.binary(max_size=60)


def _check(status: str, error: dict[str, Any] | None, asked: object) -> None:
    assert status in ("ok", "error"), asked
    if status == "error":
        assert error is not None
        assert error["code"] in BY_CODE, (error, asked)
        assert error["code"] not in ("internal", "unavailable"), (error, asked)
        assert error["message"], asked


QUICK = settings(
    max_examples=ROUNDS,
    deadline=None,
    database=None,
    derandomize=True,
    phases=[Phase.generate],  # a failure is shown as it came: shrinking would take minutes
    suppress_health_check=list(HealthCheck),
)


def _rounds(strategy: st.SearchStrategy[Any]) -> list[list[Any]]:
    """What Hypothesis draws, so that it can be sent from a coroutine."""
    drawn: list[list[Any]] = []

    @QUICK
    @given(st.lists(strategy, min_size=BODIES_AT_ONCE, max_size=BODIES_AT_ONCE))
    def draw(bodies: list[Any]) -> None:
        drawn.append(bodies)

    draw()
    return drawn


async def test_five_thousand_bodies_over_rabbitmq(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    async with worker_here(settings, dispatcher) as worker, wire(settings) as client:
        rounds = await asyncio.to_thread(_rounds, bodies(settings.api_key))
        for batch in rounds:
            await _ask_all(client, batch)
            assert not worker.done()
        assert sum(map(len, rounds)) == BODIES_AT_ONCE * ROUNDS
        assert (await client.ask(client.body("ping")))["status"] == "ok"


async def _ask_all(client: Wire, batch: list[bytes]) -> None:
    """Each body gets exactly one reply."""
    asked = {f"c-{number}": body for number, body in enumerate(batch)}
    for correlation_id, body in asked.items():
        await client.send(body, correlation_id=correlation_id)
    answered = set()
    for _ in asked:
        reply = await client.reply()
        answered.add(reply.correlation_id)
        body = json.loads(reply.body)
        assert list(body) == ["correlation_id", "status", "data", "error"]
        _check(body["status"], body["error"], asked[str(reply.correlation_id)])
    assert answered == asked.keys()


METHODS = ["GET", "POST", "PATCH", "DELETE", "PUT"]
PATHS = ["/v1/books", "/v2/books", "/v2/authors", "/v2/login", "/v9/books", "/healthz", "/"]


async def test_five_thousand_bodies_over_http(
    settings: Settings, dispatcher: Dispatcher, database: Database
) -> None:
    ids = st.integers() | st.sampled_from(["", "x", "1", "0", "-1", "%00", str(2**63)])
    strategy = st.tuples(
        st.sampled_from(METHODS),
        st.sampled_from(PATHS),
        st.none() | ids,
        st.dictionaries(st.sampled_from(FIELDS), texts | numbers.map(str), max_size=2),
        bodies(settings.api_key),
    )
    async with (
        rest_here(settings, dispatcher, database) as url,
        aiohttp.ClientSession(headers={"X-API-Key": settings.api_key}) as http,
    ):
        rounds = await asyncio.to_thread(_rounds, strategy)
        for batch in rounds:
            await asyncio.gather(*(_ask_http(http, url, *request) for request in batch))
        assert len(list(itertools.chain(*rounds))) == BODIES_AT_ONCE * ROUNDS


async def _ask_http(
    http: aiohttp.ClientSession,
    url: str,
    method: str,
    path: str,
    item: object,
    query: dict[str, str],
    body: bytes,
) -> None:
    target = f"{url}{path}" + ("" if item is None else f"/{item}")
    headers = {"Content-Type": "application/json"}
    asked = (method, target, query, body)
    async with http.request(method, target, params=query, data=body, headers=headers) as answer:
        assert answer.status < 500, asked
        content = await answer.read()
        if answer.status >= 400:
            assert answer.content_type == "application/problem+json", asked
            problem = json.loads(content)
            assert problem["status"] == answer.status, asked
            assert problem["code"] in BY_CODE, (problem, asked)
