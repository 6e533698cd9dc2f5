"""What a request says in its headers, as dependencies; and the way to the application and back."""

import re
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Header
from fastapi.security import APIKeyHeader, HTTPBearer
from pydantic import BaseModel, ValidationError
from pydantic_core import to_json
from starlette.datastructures import Headers
from starlette.requests import Request as HttpRequest
from starlette.responses import Response

from server.application.dispatcher import Dispatcher
from server.contract import routes
from server.contract.credentials import TOKEN_FIELD
from server.contract.envelope import JSON, Reply, Request
from server.contract.errors import Expired, InvalidData, Malformed, Unauthorized
from server.contract.headers import DEADLINE
from server.contract.routes import REPLAYED, Route
from server.transports.http.problem import problem

CREDENTIALS = [
    Depends(APIKeyHeader(name=routes.API_KEY, scheme_name="ApiKey", auto_error=False)),
    Depends(HTTPBearer(bearerFormat="JWT", scheme_name="Token", auto_error=False)),
]
"""For the document: FastAPI's own reading of them would take a token of another scheme for none."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


def _text(longest: int) -> dict[str, Any]:
    return {"minLength": 1, "maxLength": longest}


def request_id(
    http: HttpRequest,
    _: Annotated[str | None, Header(alias=routes.REQUEST_ID, json_schema_extra=_text(128))] = None,
) -> str | None:
    """For correlation only. It is no claim: many requests of one trace have the same."""
    return given_id(http.headers)


def idempotency_key(
    http: HttpRequest,
    _: Annotated[
        str | None, Header(alias=routes.IDEMPOTENCY_KEY, json_schema_extra=_text(255))
    ] = None,
) -> str | None:
    """The draft wants the key as a quoted string (RFC 9651). Most clients leave the quotes out."""
    key = header(http.headers, routes.IDEMPOTENCY_KEY)
    if key is None or not key.startswith('"'):
        return key
    quoted = _QUOTED.fullmatch(key)
    if quoted is None:
        raise Malformed(f"{routes.IDEMPOTENCY_KEY}: the quoted string does not end properly.")
    return re.sub(r"\\(.)", r"\1", quoted[1])


def header(headers: Headers, name: str) -> str | None:
    """A header that may be there once, in UTF-8. Raises ``Malformed``."""
    values = headers.getlist(name)
    if len(values) > 1:
        raise Malformed(f"The header {name} is there {len(values)} times: send it once.")
    try:
        return values[0].encode("latin-1").decode() if values else None
    except UnicodeDecodeError:
        raise Malformed(f"The header {name} is not UTF-8.") from None


def given_id(headers: Headers) -> str | None:
    """The id that the client gave its request. Raises ``Malformed``."""
    given = header(headers, routes.REQUEST_ID)
    if given is not None and not 1 <= len(given) <= 128:
        raise Malformed(f"{routes.REQUEST_ID}: give 1 to 128 characters, or leave it out.")
    return given


@dataclass
class Call:
    """A request on its way to the application: ``await call(data)`` is the response."""

    dispatcher: Dispatcher
    http: HttpRequest
    version: str
    route: Route
    key: str | None

    async def __call__(self, data: BaseModel | None = None, **in_path: Any) -> Response:
        given = {} if data is None else data.model_dump(exclude_unset=True)
        reply = await self.dispatcher.execute(self._request(given | in_path))
        record = self.http.state.record
        record.outcome, record.replayed = reply.outcome, reply.replayed
        if reply.error is not None:
            return problem(reply, self.http.url.path)
        return self._response(reply)

    def _request(self, data: dict[str, Any]) -> Request:
        """Raises ``Malformed``: the key is all that can be wrong by now."""
        try:
            return Request.model_validate(
                {
                    "id": str(uuid.uuid4()),  # a write without a key is claimed by it
                    "version": self.version,
                    "action": self.route.action,
                    "data": data | _token(self.http.headers),
                    "auth": header(self.http.headers, routes.API_KEY),
                    "idempotency_key": self.key,
                }
            )
        except ValidationError as error:
            problem = error.errors(include_url=False, include_input=False)[0]["msg"]
            raise Malformed(f"{routes.IDEMPOTENCY_KEY}: {problem}") from None

    def _response(self, reply: Reply) -> Response:
        headers = {REPLAYED: "true"} if reply.replayed else {}
        if self.route.status == 201:
            headers["Location"] = f"/{self.version}{self.route.path}/{reply.data['id']}"
        return Response(to_json(reply.data), self.route.status, headers, media_type=JSON)


def admit(dispatcher: Dispatcher, http: HttpRequest) -> None:
    """Data that does not fit counts towards its sender's rate. Raises ``RateLimited``."""
    auth = header(http.headers, routes.API_KEY)
    given = {"id": "refused", "version": "", "action": "", "data": _token(http.headers)}
    dispatcher.admit(Request.model_validate(given | {"auth": auth}))


def call(
    dispatcher: Dispatcher, version: str, route: Route, *, writes: bool, query: Iterable[str]
) -> Callable[..., Awaitable[Call]]:
    """The dependency of one route, which takes these fields in its ``query``."""
    known = frozenset(query)

    async def reading(http: HttpRequest, _: Annotated[str | None, Depends(request_id)]) -> Call:
        _require_time_left(http.headers)
        _require_known(http, known)
        return Call(dispatcher, http, version, route, None)

    async def writing(
        reading: Annotated[Call, Depends(reading)],
        key: Annotated[str | None, Depends(idempotency_key)],
    ) -> Call:
        reading.key = key
        return reading

    return writing if writes else reading


def _require_time_left(headers: Headers) -> None:
    deadline = headers.get(DEADLINE, "")
    if re.fullmatch("[0-9]{1,15}", deadline) and time.time() * 1000 > int(deadline):
        raise Expired


def _require_known(http: HttpRequest, known: frozenset[str]) -> None:
    """FastAPI takes the last of several, and of a query that it has no model for no notice."""
    names = [name for name, _ in http.query_params.multi_items()]
    problems = [
        {"field": name[:100], "problem": why}
        for name in dict.fromkeys(names)
        if (why := _wrong(names.count(name), known))
    ][:20]
    if problems:
        first = problems[0]
        raise InvalidData(f"The data does not fit: {first['field']}: {first['problem']}", problems)


def _wrong(times: int, known: frozenset[str]) -> str:
    if not known:
        return "Extra inputs are not permitted"  # as pydantic says it of a field too many
    return "is there twice: give it once" if times > 1 else ""


def _token(headers: Headers) -> dict[str, str]:
    given = header(headers, "Authorization")
    if given is None:
        return {}
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized(
            f"Authorization takes a token, as `Bearer <token>`; an API key goes into "
            f"{routes.API_KEY}."
        )
    return {TOKEN_FIELD: token.strip()}
