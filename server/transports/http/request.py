"""What HTTP says of one request becomes a ``contract.Request``: headers, address and body.

It is as strict as the RabbitMQ side, by the same means: numbers of an address become numbers, and
what is no number stays text, which the action's model then refuses.
"""

import re
import time
import uuid
from collections.abc import Iterable
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.requests import Request as HttpRequest

from server.application.handlers.action import Action
from server.contract import routes
from server.contract.credentials import TOKEN_FIELD
from server.contract.envelope import JSON, Request
from server.contract.errors import Expired, InvalidData, Malformed, TooLarge, Unauthorized
from server.contract.headers import DEADLINE
from server.contract.routes import Route
from server.contract.strict_json import read_json

_NUMBER = re.compile("-?[0-9]{1,1000}")
"""Longer than any id, so that it is refused as too large; Python reads no number of any length."""
_QUOTED = re.compile(r'"((?:[^"\\]|\\["\\])*)"')


async def read(
    http: HttpRequest, version: str, route: Route, action: Action, max_body: int
) -> Request:
    """Raises ``Malformed``, ``InvalidData``, ``TooLarge``, ``Expired`` or ``Unauthorized``, and
    ``HTTPException`` for a content type that is not JSON.
    """
    _require_time_left(http.headers)
    given_id(http.headers)
    key = header(http.headers, routes.IDEMPOTENCY_KEY)
    auth = header(http.headers, routes.API_KEY)
    data = await _data(http, route, action.payload, max_body) | _token(http.headers)
    try:
        return Request.model_validate(
            {
                # A write without a key is claimed by its id. That of the client is no claim: many
                # requests of one trace have the same.
                "id": str(uuid.uuid4()),
                "version": version,
                "action": route.action,
                "data": data,
                "auth": auth,
                "idempotency_key": None if key is None else _unquoted(key),
            }
        )
    except ValidationError as error:  # the rest of it is ours, and fits
        problem = error.errors(include_url=False, include_input=False)[0]["msg"]
        raise Malformed(f"{routes.IDEMPOTENCY_KEY}: {problem}") from None


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


def _require_time_left(headers: Headers) -> None:
    deadline = headers.get(DEADLINE, "")
    if re.fullmatch("[0-9]{1,15}", deadline) and time.time() * 1000 > int(deadline):
        raise Expired


def _unquoted(key: str) -> str:
    """The draft wants the key as a quoted string (RFC 9651). Most clients leave the quotes out."""
    if not key.startswith('"'):
        return key
    quoted = _QUOTED.fullmatch(key)
    if quoted is None:
        raise Malformed(f"{routes.IDEMPOTENCY_KEY}: the quoted string does not end properly.")
    return re.sub(r"\\(.)", r"\1", quoted[1])


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


async def _data(
    http: HttpRequest, route: Route, model: type[BaseModel], max_body: int
) -> dict[str, Any]:
    in_path = _from_text(model, http.path_params.items())
    others = _from_text(model, http.query_params.multi_items())
    if route.has_body:
        _refuse(others, "is in the query: send it in the body")
        others = await _json_body(http, max_body)
    else:
        await _body(http, max_body)  # nothing is applied that breaks off
    _refuse(in_path.keys() & others.keys(), "is in the path already: leave it out here")
    _refuse({TOKEN_FIELD} & others.keys(), "send it in the header: `Authorization: Bearer …`")
    return in_path | others


def _refuse(fields: Iterable[str], why: str) -> None:
    problems = [{"field": field[:100], "problem": why} for field in sorted(fields)[:20]]
    if problems:
        first = problems[0]
        raise InvalidData(f"The data does not fit: {first['field']}: {why}", problems)


def _from_text(model: type[BaseModel], pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    data: dict[str, Any] = {}
    for name, text in pairs:
        _refuse({name} & data.keys(), "is there twice: give it once")
        data[name] = int(text) if name in _numbers(model) and _NUMBER.fullmatch(text) else text
    return data


@cache
def _numbers(model: type[BaseModel]) -> frozenset[str]:
    """The fields that are whole numbers."""
    return frozenset(name for name, f in model.model_fields.items() if _is_number(f.annotation))


def _is_number(annotation: Any) -> bool:
    """``int``, ``int | None``, ``Annotated[int, …] | None`` …"""
    return annotation is int or any(_is_number(part) for part in get_args(annotation))


async def _json_body(http: HttpRequest, max_body: int) -> dict[str, Any]:
    _require_json(http.headers)
    return read_json(await _body(http, max_body))


def _require_json(headers: Headers) -> None:
    """A page of another site can make a browser send a form or plain text, but not JSON."""
    kind, _, parameters = headers.get("Content-Type", "").lower().partition(";")
    charset = parameters.partition("charset=")[2].strip(" \"'") or "utf-8"
    if kind.strip() != JSON or charset not in ("utf-8", "utf8"):
        raise HTTPException(415, f"Send `Content-Type: {JSON}`, in UTF-8.")
    if headers.get("Content-Encoding", "identity").lower() != "identity":
        raise HTTPException(415, "Send the body as it is, without a Content-Encoding.")


async def _body(http: HttpRequest, limit: int) -> bytes:
    """Reads no further than ``limit``, whatever the client says of the length, or does not say."""
    announced = int(http.headers.get("Content-Length", 0))
    if announced > limit:
        raise TooLarge(
            f"The request has {announced} bytes; the server accepts {limit}.",
            {"size": announced, "limit": limit},
        )
    body = bytearray()
    async for piece in http.stream():
        body += piece
        if len(body) > limit:
            raise TooLarge(f"The server accepts {limit} bytes.", {"limit": limit})
    return bytes(body)
