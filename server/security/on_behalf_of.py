"""Who sent a request that was dead-lettered, and how it becomes that user's request again.

In the dead letter queue a request has no secrets. Yet an idempotency key is its user's own: when
an operator sends the request again, it has to be that user's again, or it might do a second time
what was done before. So the server writes beside it who sent it, in a form that nobody can log in
with:

    key:<digest>                           an API key, as the table of keys has it
    jwt:<header>.<payload>:<digest>        a token, with a digest instead of its signature

An operator, who has to be a librarian, sends it back as ``x-on-behalf-of``. That header is believed
only if the broker vouches that the operator, or the server, has sent it (``vouching``).
"""

import hashlib
import json
import re
from dataclasses import replace
from typing import Any

from pydantic_core import from_json
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.credentials import TOKEN_FIELD
from server.contract.errors import ApiError, Forbidden, Unauthorized
from server.security import tokens
from server.security.authentication import by_digest, hashed
from server.security.principal import Principal, Role

LONGEST = 4096
"""Characters. A token of ours has 250; a header has to leave room for others."""

_KEY = re.compile(r"key:([0-9a-f]{64})")
_TOKEN = re.compile(r"jwt:([\w-]+\.[\w-]+):([0-9a-f]{64})", re.ASCII)


def describe(body: bytes) -> str | None:
    """The caller of this request; None if that cannot be told.

    Nothing is verified here: the database may be away.
    """
    try:
        document = from_json(body)
    except ValueError:
        return None
    if not isinstance(document, dict):
        return None
    if document.get("auth") is not None:
        key = document["auth"]
        return f"key:{hashed(key)}" if isinstance(key, str) else None
    data = document.get("data")
    return _unsigned(data.get(TOKEN_FIELD)) if isinstance(data, dict) else None


def _unsigned(token: object) -> str | None:
    """Only of what really is a token: of a key in the wrong place nothing may be told."""
    parts = token.split(".") if isinstance(token, str) and len(token) <= LONGEST else []
    if len(parts) != 3 or not all(isinstance(_json(part), dict) for part in parts[:2]):
        return None
    try:
        digest = hashlib.sha256(tokens.decoded(parts[2])).hexdigest()
    except ValueError:
        return None
    described = f"jwt:{parts[0]}.{parts[1]}:{digest}"
    return described if _TOKEN.fullmatch(described) else None


def _json(part: str) -> Any:
    try:
        return json.loads(tokens.decoded(part))
    except ValueError:
        return None


async def act_for(connection: AsyncConnection, operator: Principal, described: str) -> Principal:
    """The user that ``described`` names, as they are now; barred if the operator is no librarian.

    Raises ``Unauthorized`` for what names no user. That a token has expired is no matter: it was
    good when the request was sent.
    """
    caller = await _who(connection, described)
    return replace(caller, barred=_refusal(operator) or caller.barred)


def _refusal(operator: Principal) -> ApiError | None:
    if operator.barred is not None or operator.role == Role.LIBRARIAN:
        return operator.barred
    return Forbidden(
        f"{operator.name} is a {operator.role}: only a librarian may send a request on behalf of "
        "another user."
    )


async def _who(connection: AsyncConnection, described: str) -> Principal:
    if key := _KEY.fullmatch(described):
        caller = await by_digest(connection, key[1])
    elif token := _TOKEN.fullmatch(described):
        return await tokens.read_unsigned(connection, token[1], token[2])
    else:
        raise Unauthorized("x-on-behalf-of names no user: take it from a dead letter's x-caller.")
    if caller is None:
        raise Unauthorized("The API key of this request's sender is not known, or not any more.")
    return caller
