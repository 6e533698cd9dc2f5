"""Who sent a request that was dead-lettered, and how it becomes that user's request again.

In the dead letter queue a request has no secrets. Yet an idempotency key is its user's own: when
an operator sends the request again, it has to be that user's again, or it might do a second time
what was done before. So the server writes beside it who sent it, in a form that nothing can be
opened with:

    key:<digest>     whose API key has this SHA-256, as the table of keys has it
    user:<id>        the user of a token that this server has signed

An operator, who has to be a librarian, sends it back as ``x-on-behalf-of``. That header is believed
only if the broker vouches that the operator, or the server, has sent it (``contract.vouching``).
"""

import re
from dataclasses import replace

from pydantic_core import from_json
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.credentials import TOKEN_FIELD
from server.contract.errors import ApiError, Forbidden, Unauthorized
from server.security import tokens
from server.security.authentication import by_digest, hashed
from server.security.principal import Principal, Role
from server.security.tokens import SigningKeys

_KEY = re.compile(r"key:([0-9a-f]{64})")
_USER = re.compile(r"user:([0-9]{1,18})", re.ASCII)


def describe(body: bytes, keys: SigningKeys) -> str | None:
    """The caller of this request; None if that cannot be said.

    The database is not asked: it may be away.
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
    token = data.get(TOKEN_FIELD) if isinstance(data, dict) else None
    return _user_of(token, keys) if isinstance(token, str) else None


def _user_of(token: str, keys: SigningKeys) -> str | None:
    try:
        user_id, _ = keys.claims(token)
    except Unauthorized:
        return None
    return f"user:{user_id}"


async def act_for(connection: AsyncConnection, operator: Principal, described: str) -> Principal:
    """The user that ``described`` names, as they are now; barred if the operator is no librarian.

    Raises ``Unauthorized`` for what names no user. Whether a token has expired since is no matter:
    it was good when the request was sent.
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
    if user := _USER.fullmatch(described):
        return await tokens.user(connection, int(user[1]))
    key = _KEY.fullmatch(described)
    if key is None:
        raise Unauthorized("x-on-behalf-of names no user: take it from a dead letter's x-caller.")
    caller = await by_digest(connection, key[1])
    if caller is None:
        raise Unauthorized("The API key of this request's sender is not known, or not any more.")
    return caller
