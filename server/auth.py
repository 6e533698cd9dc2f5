"""Who is calling: an API key becomes a principal."""

import hashlib
from dataclasses import dataclass

from pydantic import SecretStr
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import Unauthorized
from server.models import User

DEVELOPMENT_USER = "librarian"


@dataclass(frozen=True)
class Principal:
    """An authenticated caller."""

    user_id: int
    name: str


def hashed(api_key: str) -> str:
    """SHA-256 in hex. Fast is right for keys: unlike passwords they are long and random."""
    return hashlib.sha256(api_key.encode("utf-8", "surrogatepass")).hexdigest()


async def authenticate(connection: AsyncConnection, api_key: SecretStr | None) -> Principal:
    """Raises ``Unauthorized``.

    The look-up is by digest: how long it takes tells a guesser about the digest of the guess,
    which leads to no key, and nothing about how near the guess came.
    """
    if api_key is None:
        raise Unauthorized("No API key: send it in the request's field `auth`.")
    digest = hashed(api_key.get_secret_value())
    found = await connection.execute(select(User.id, User.name).where(User.api_key_hash == digest))
    row = found.one_or_none()
    if row is None:
        raise Unauthorized("This API key is not known. The lab's own is API_KEY in .lab/lab.env.")
    return Principal(row.id, row.name)


async def store_key(connection: AsyncConnection, name: str, api_key: str) -> None:
    """Make ``api_key`` the key of the user ``name``, who is created if need be."""
    digest = hashed(api_key)
    statement = insert(User).values(name=name, api_key_hash=digest)
    await connection.execute(
        statement.on_conflict_do_update(index_elements=[User.name], set_={"api_key_hash": digest})
    )
