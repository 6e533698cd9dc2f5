"""Errors in HTTP: a code of the API becomes a status, headers and a problem document (RFC 9457)."""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, Field
from pydantic_core import to_json
from starlette.responses import Response

from server.contract.envelope import Reply
from server.contract.errors import BY_CODE
from server.contract.routes import PROBLEM, REPLAYED

STATUS = {
    "malformed": 400,
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "unknown_action": 404,
    "unsupported_version": 404,
    "conflict": 409,
    "in_progress": 409,
    "too_large": 413,
    "invalid_data": 422,
    "key_reused": 422,
    "rate_limited": 429,
    "internal": 500,
    "unavailable": 503,
    "expired": 504,
}
"""Error code → HTTP status. A status may stand for several codes: programs go by the code."""

_LATER = {"Retry-After": "1"}
HEADERS: dict[str, dict[str, str]] = {
    "unauthorized": {"WWW-Authenticate": 'Bearer realm="library"'},
    "in_progress": _LATER,
    "rate_limited": _LATER,
    "unavailable": _LATER,
}


class Problem(BaseModel):
    """An error. ``code`` is for programs, ``detail`` for people."""

    type: str = Field(examples=["urn:library:error:not_found"])
    title: str = Field(description="The same for every error of this type.")
    status: int
    detail: str = Field(description="What happened this time, and what to do.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(json_schema_extra={"enum": list(STATUS)})
    errors: Any = Field(None, description="More about it, field by field for `invalid_data`.")


def problem(
    reply: Reply, path: str, *, status: int | None = None, headers: Mapping[str, str] | None = None
) -> Response:
    """The response to a refused request. ``status`` where HTTP has a finer one than the code."""
    assert reply.error is not None  # noqa: S101  (a type checker cannot know)
    code = reply.error["code"]
    document = Problem(
        type=f"urn:library:error:{code}",
        title=_title(code),
        status=status or STATUS[code],
        detail=reply.error["message"],
        instance=quote(path[:200]),
        code=code,
        errors=reply.error["details"],
    )
    replayed = {REPLAYED: "true"} if reply.replayed else {}
    return Response(
        to_json(document.model_dump(exclude_none=True)),
        document.status,
        {**HEADERS.get(code, {}), **(headers or {}), **replayed},
        media_type=PROBLEM,
    )


def _title(code: str) -> str:
    """The first sentence of the error's docstring."""
    paragraph = (BY_CODE[code].__doc__ or "").partition("\n\n")[0]
    return " ".join(paragraph.split())
