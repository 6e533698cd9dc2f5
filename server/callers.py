"""Who sent a request that was set aside, and how it is worked on as his once more.

In the dead letter queue a request has no secrets. Yet an idempotency key is its user's own: when
an operator sends the request again, it has to be that user's again, or it might do a second time
what was done before. So the server writes beside it who sent it, in a form that nobody can log in
with:

    key:<digest>                           an API key, as the table of keys has it
    jwt:<header>.<payload>:<digest>        a token, with a digest instead of its signature
    … via key:<digest>                     sent again by an operator, and then set aside once more

An operator, who has to be a librarian, sends it back as ``x-on-behalf-of``. ``via`` is there
because anybody may write that header, and whoever sets a request aside cannot ask a database who
he is: each one who said so has to be a librarian, when it is used.
"""

import hashlib
import json
import re
from typing import Any

from pydantic_core import from_json
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from server import tokens
from server.auth import TOKEN_FIELD, hashed
from server.errors import Forbidden, Unauthorized
from server.models import ApiKey, User
from server.principal import Principal, Role

VIA = " via "
LONGEST = 4096
"""Characters. A token of ours has 250; a header has to leave room for others."""

_KEY = re.compile(r"key:([0-9a-f]{64})")
_TOKEN = re.compile(r"jwt:([\w-]+\.[\w-]+):([0-9a-f]{64})", re.ASCII)


def describe(body: bytes, on_behalf_of: object = None) -> str | None:
    """The caller of this request, and for whom he says that he sends it; None if nobody can tell.

    Nothing is verified here: the database may be away.
    """
    sender = _sender(body)
    if sender is None or not isinstance(on_behalf_of, str):
        return sender
    chain = on_behalf_of.split(VIA)
    described = on_behalf_of if sender in chain[1:] else f"{on_behalf_of}{VIA}{sender}"
    return described if len(described) <= LONGEST else None


def _sender(body: bytes) -> str | None:
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
    """The user that ``described`` names, as he is now.

    Raises ``Forbidden`` if the operator, or one who sent it again before him, is no librarian;
    ``Unauthorized`` if its key was revoked, its user is gone, or it is a forgery. That a token has
    expired is no matter: it was good when the request was sent.
    """
    _require_librarian(operator)
    caller, *operators = described.split(VIA)
    for each in operators:
        _require_librarian(await _who(connection, each))
    return await _who(connection, caller)


def _require_librarian(operator: Principal) -> None:
    if operator.role != Role.LIBRARIAN:
        raise Forbidden(
            f"{operator.name} is a {operator.role}: only a librarian may send a request on behalf "
            "of somebody else."
        )


async def _who(connection: AsyncConnection, described: str) -> Principal:
    if key := _KEY.fullmatch(described):
        return await _by_digest(connection, key[1])
    if token := _TOKEN.fullmatch(described):
        return await tokens.read_unsigned(connection, token[1], token[2])
    raise Unauthorized("x-on-behalf-of names nobody: take it from a dead letter's x-caller.")


async def _by_digest(connection: AsyncConnection, digest: str) -> Principal:
    statement = (
        select(User.id, User.name, User.role, ApiKey.revoked_at)
        .join(ApiKey)
        .where(ApiKey.key_hash == digest)
    )
    user = (await connection.execute(statement)).one_or_none()
    if user is None:
        raise Unauthorized("The API key of this request's sender is not known, or not any more.")
    if user.revoked_at is not None:
        raise Unauthorized(f"The API key that {user.name} sent this request with was revoked.")
    return Principal(user.id, user.name, user.role)
