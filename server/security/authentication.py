"""Who is calling: an API key or a token becomes a principal."""

import hashlib
from typing import Any

from pydantic import SecretStr
from sqlalchemy import bindparam, case, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.credentials import TOKEN_FIELD
from server.contract.envelope import Request
from server.contract.errors import Unauthorized
from server.persistence.models import ApiKey, User
from server.security import tokens
from server.security.principal import Principal, Role

CONFIGURED_USER = "librarian"
CONFIGURED = "API_KEY"
"""The user that every server has, and the label of that user's key from the settings."""
REPLACED = "API_KEY, replaced"
"""The label of one that was configured before."""


_BY_KEY = (
    select(User.id, User.name, User.role, ApiKey.revoked_at)
    .join(ApiKey)
    .where(ApiKey.key_hash == bindparam("digest"))
)


def hashed(api_key: str) -> str:
    """SHA-256 in hex. Fast is right for keys: unlike passwords they are long and random."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


def credentials(request: Request) -> str | None:
    """What the request proves itself with, as a digest: a name for the caller that is no secret."""
    given = request.auth.get_secret_value() if request.auth else request.data.get(TOKEN_FIELD)
    return hashed(given) if isinstance(given, str) else None


def without_token(data: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in data.items() if name != TOKEN_FIELD}


async def authenticate(
    connection: AsyncConnection, request: Request, keys: tokens.SigningKeys
) -> Principal:
    """The user of ``auth``, or else of ``data.auth_token``. Raises ``Unauthorized``."""
    if request.auth is not None:
        return await _by_key(connection, request.auth)
    token = request.data.get(TOKEN_FIELD)
    if isinstance(token, str):
        return await tokens.read(connection, token, keys)
    raise nothing_sent()


def nothing_sent() -> Unauthorized:
    return Unauthorized("Send an API key as `auth`, or a token as `data.auth_token`.")


async def _by_key(connection: AsyncConnection, api_key: SecretStr) -> Principal:
    principal = await by_digest(connection, hashed(api_key.get_secret_value()))
    if principal is None:
        raise Unauthorized("This API key is not known. The lab's own is API_KEY in .lab/lab.env.")
    return principal


async def by_digest(connection: AsyncConnection, digest: str) -> Principal | None:
    """The user of the key with this digest; barred if it was revoked.

    How long the look-up takes tells a guesser about the digest of the guess, which leads to no key,
    and nothing about how near the guess came.
    """
    user = (await connection.execute(_BY_KEY, {"digest": digest})).one_or_none()
    if user is None:
        return None
    revoked = (
        None if user.revoked_at is None else Unauthorized(f"This key of {user.name} is revoked.")
    )
    return Principal(user.id, user.name, user.role, revoked)


class KeyRevoked(Exception):
    """The configured key was revoked."""

    def __init__(self) -> None:
        super().__init__(
            "The API key in API_KEY was revoked, so it opens nothing any more. "
            "Set API_KEY to a new one, which only you know."
        )


async def prepare(connection: AsyncConnection, api_key: str) -> None:
    """There is a librarian, ``api_key`` is the configured key, and tokens can be signed.

    Configuring another key revokes the one that was configured before; configuring that one again
    undoes this. Raises ``KeyRevoked`` if it was revoked on purpose, by ``server.admin``.
    """
    user = insert(User).values(name=CONFIGURED_USER, role=Role.LIBRARIAN)
    await connection.execute(user.on_conflict_do_nothing())
    mine = select(User.id).where(User.name == CONFIGURED_USER)
    user_id = (await connection.execute(mine)).scalar_one()
    others = update(ApiKey).where(
        ApiKey.label == CONFIGURED,
        ApiKey.key_hash != hashed(api_key),
        ApiKey.revoked_at.is_(None),
    )
    await connection.execute(others.values(revoked_at=func.now(), label=REPLACED))
    key = insert(ApiKey).values(user_id=user_id, label=CONFIGURED, key_hash=hashed(api_key))
    configured = key.on_conflict_do_update(
        index_elements=[ApiKey.key_hash],
        set_={
            "revoked_at": None,
            "label": case((ApiKey.label == REPLACED, CONFIGURED), else_=ApiKey.label),
        },
        where=(ApiKey.label == REPLACED) | ApiKey.revoked_at.is_(None),
    )
    if (await connection.execute(configured.returning(ApiKey.id))).one_or_none() is None:
        raise KeyRevoked
    await tokens.ensure_signing_key(connection)
