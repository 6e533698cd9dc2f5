"""The same calls over HTTP: each action is a method and a path, by the server's own table."""

import asyncio
import time
import uuid
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode

import aiohttp
from pydantic_core import from_json, to_json
from yarl import URL

from labkit.client.caller import ConnectedCaller, Reply, encoded, traces_of
from labkit.client.errors import ReplyTimeout
from labkit.errors import ServerAway
from server.contract import routes
from server.contract.credentials import TOKEN_FIELD
from server.contract.envelope import JSON
from server.contract.errors import InvalidData
from server.contract.headers import DEADLINE
from server.contract.routes import PROBLEM, ROUTE_OF, Route

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

CONNECTIONS = 100
"""At most, and all are kept: HTTP/1.1 carries one request at a time on each."""
KEEP_ALIVE = 30
"""Seconds that an idle connection is kept: shorter than the server keeps it."""


class RestClient(ConnectedCaller):
    """Calls the Library API over HTTP: ``call`` and ``request`` as of ``AsyncAPIClient``.

    Nothing stands between client and server that would keep a request while the server is away:
    the call fails, and it is the caller who asks again, with the same idempotency key.
    """

    def __init__(
        self,
        rest_url: str,
        api_key: str | None = None,
        *,
        timeout: float = 10.0,
        tracer: "Tracer | None" = None,
    ) -> None:
        """``timeout`` is the deadline of a call in seconds, unless the call gives its own. With an
        OpenTelemetry ``tracer`` each call is a span, in which the server's go on.
        """
        super().__init__(timeout)
        self.url = rest_url.rstrip("/")
        """Where it connects to, from the next ``connect()`` on."""
        self._api_key = api_key
        self._traces = traces_of(tracer)
        self._http: aiohttp.ClientSession

    async def _open(self) -> None:
        """Raises ``ServerAway`` if the server does not answer."""
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, keepalive_timeout=KEEP_ALIVE)
        # Deadlines are each call's own.
        no_timeout = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None)
        self._http = aiohttp.ClientSession(connector=connector, timeout=no_timeout)
        try:
            async with asyncio.timeout(self._timeout):
                await self._exchange(self._http, "GET", routes.HEALTH, {}, None)
        except (aiohttp.ClientError, OSError, ReplyTimeout) as error:
            await self._http.close()
            raise ServerAway(self.url, error) from error
        except BaseException:
            await self._http.close()
            raise

    async def _close(self) -> None:
        await self._http.close()

    async def request(
        self,
        action: str,
        data: dict[str, Any] | None = None,
        *,
        version: str = "v1",
        idempotency_key: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109
        request_id: str | None = None,
    ) -> Reply:
        """The whole reply, whether it says ok or error. ``request_id`` is for correlation: another
        call with the same is another request.

        Raises ``ServerAway`` if the request was not sent, ``ReplyTimeout`` if no reply came in
        time or the connection was lost before it; ``NotConnected``, ``WrongLoop``; ``ValueError``
        for what JSON cannot carry.
        """
        self._require_open()
        seconds = self._seconds(timeout)
        request_id = request_id or str(uuid.uuid4())
        data = data or {}
        encoded({"data": data})
        route = ROUTE_OF.get(action) or Route("POST", f"/{quote(action, safe='')}", action)
        missing = _missing(route, data, request_id)
        if missing is not None:
            return missing
        if idempotency_key is None and route.method != "GET":
            idempotency_key = str(uuid.uuid4())  # aiohttp may send a DELETE again by itself
        headers = self._headers(request_id, idempotency_key, data.get(TOKEN_FIELD))
        headers[DEADLINE] = str(round((time.time() + seconds) * 1000))
        path, body = _address(route, version, data)

        async def reply(traced: dict[str, str]) -> Reply:
            sent = headers | traced
            exchange = self._exchange(self._http, route.method, path, sent, body)
            return await self._in_time(exchange, action, seconds)

        if self._traces is None:
            return await reply({})
        return await self._traces.call(action, request_id, reply)

    async def _in_time(
        self, exchange: Coroutine[Any, Any, Reply], action: str, seconds: float
    ) -> Reply:
        """Only a connection that was never made is proof that nothing was applied."""
        try:
            async with asyncio.timeout(seconds):
                return await exchange
        except aiohttp.ClientConnectorError as error:
            raise ServerAway(self.url, error) from error
        except TimeoutError:
            raise ReplyTimeout(
                f"No reply to {action} within {seconds:g} s. It may have been applied, or may yet "
                "be: ask again with the same idempotency key, which doubles nothing."
            ) from None
        except (aiohttp.ClientError, OSError) as error:
            raise ReplyTimeout(
                f"The connection was lost before the reply to {action} came ({error}). It may have "
                "been applied: ask again with the same idempotency key, which doubles nothing."
            ) from error

    def _headers(self, request_id: str, key: str | None, token: object) -> dict[str, str]:
        headers = {routes.REQUEST_ID: request_id}
        if self._api_key is not None:
            headers[routes.API_KEY] = self._api_key
        if key is not None:
            escaped = key.replace("\\", "\\\\").replace('"', '\\"')
            headers[routes.IDEMPOTENCY_KEY] = f'"{escaped}"'
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        return headers

    async def _exchange(
        self,
        http: aiohttp.ClientSession,
        method: str,
        path: str,
        headers: dict[str, str],
        body: bytes | None,
    ) -> Reply:
        given = {"Content-Type": JSON} if body is not None else {}
        url = URL(self.url + path, encoded=True)
        async with http.request(
            method, url, headers=headers | given, data=body, allow_redirects=False
        ) as response:
            return _reply(response, await response.read())


def _missing(route: Route, data: dict[str, Any], request_id: str) -> Reply | None:
    """An address cannot be written without its fields: the refusal that the server would send."""
    problems = [
        {"field": field, "problem": "Field required"}
        for field in route.path_fields
        if field not in data
    ]
    if not problems:
        return None
    message = f"The data does not fit: {problems[0]['field']}: Field required"
    error = {"code": InvalidData.code, "message": message, "details": problems}
    return Reply(request_id, "error", None, error)


def _address(route: Route, version: str, data: dict[str, Any]) -> tuple[str, bytes | None]:
    """Path with query, and the body. In an address everything is text, and null is left out."""
    in_path = {field: quote(_text(data[field]), safe="") for field in route.path_fields}
    path = f"/{quote(version, safe='')}{route.path.format(**in_path)}"
    others = {k: v for k, v in data.items() if k not in in_path and k != TOKEN_FIELD}
    if route.has_body:
        return path, to_json(others)
    query = urlencode({k: _text(v) for k, v in others.items() if v is not None})
    return f"{path}?{query}" if query else path, None


def _text(value: Any) -> str:
    return value if isinstance(value, str) else to_json(value).decode()


def _reply(response: aiohttp.ClientResponse, body: bytes) -> Reply:
    """Raises ``ReplyTimeout`` for what is no reply of the server: a proxy's page, say."""
    request_id = response.headers.get(routes.REQUEST_ID, "")
    replayed = routes.REPLAYED in response.headers
    try:
        document = from_json(body)
        if response.content_type == PROBLEM:
            error = {
                "code": document["code"],
                "message": document["detail"],
                "details": document.get("errors"),
            }
            return Reply(request_id, "error", None, error, replayed, body)
        if response.content_type == JSON and response.ok:
            return Reply(request_id, "ok", document, None, replayed, body)
    except (ValueError, TypeError, KeyError):
        pass
    raise ReplyTimeout(
        f"What answered, with status {response.status}, is not the lab's server: outcome unknown."
    )
