"""Users and their API keys, as rows: ``server.admin`` is the command."""

import secrets
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, case, func, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.errors import Conflict, InvalidData, NotFound
from server.persistence.models import ApiKey, User
from server.security import passwords
from server.security.authentication import CONFIGURED, REPLACED, hashed
from server.security.principal import Role

SHORTEST_PASSWORD = 8


async def add_user(connection: AsyncConnection, name: str, role: Role, password: str | None) -> int:
    """The new user's id. Without a password, the user can only have API keys.

    Raises ``Conflict`` if the name is taken, ``InvalidData`` for a short password.
    """
    if password is not None and len(password) < SHORTEST_PASSWORD:
        raise InvalidData(f"The password is too short: {SHORTEST_PASSWORD} characters at least.")
    password_hash = None if password is None else passwords.hashed(password)
    new = insert(User).values(name=name, role=role, password_hash=password_hash)
    try:
        return int((await connection.execute(new.returning(User.id))).scalar_one())
    except IntegrityError as error:
        raise Conflict(f"There is a user {name} already.") from error


async def list_users(connection: AsyncConnection) -> Sequence[Row[*tuple[Any, ...]]]:
    """Rows of id, name, role, has_password, created_at."""
    has_password = User.password_hash.is_not(None).label("has_password")
    statement = select(User.id, User.name, User.role, has_password, User.created_at)
    return (await connection.execute(statement.order_by(User.id))).all()


async def make_key(connection: AsyncConnection, name: str, label: str) -> str:
    """A new key of this user. It is shown here, once: afterwards only its digest is known."""
    user_id = await _user_id(connection, name)
    key = f"lib_{secrets.token_urlsafe(32)}"
    new = insert(ApiKey).values(user_id=user_id, label=label, key_hash=hashed(key))
    await connection.execute(new)
    return key


async def list_keys(connection: AsyncConnection) -> Sequence[Row[*tuple[Any, ...]]]:
    """Rows of id, name (of the user), label, created_at, revoked_at."""
    statement = select(
        ApiKey.id, User.name, ApiKey.label, ApiKey.created_at, ApiKey.revoked_at
    ).join(User)
    return (await connection.execute(statement.order_by(ApiKey.id))).all()


async def revoke_key(connection: AsyncConnection, key_id: int) -> None:
    """It is refused from the next request on. Revoking twice keeps the first time."""
    statement = (
        update(ApiKey)
        .where(ApiKey.id == key_id)
        .values(
            revoked_at=func.coalesce(ApiKey.revoked_at, func.now()),
            # Being configured again must not bring it back.
            label=case((ApiKey.label == REPLACED, CONFIGURED), else_=ApiKey.label),
        )
    )
    if (await connection.execute(statement.returning(ApiKey.id))).one_or_none() is None:
        raise NotFound(f"There is no key {key_id}: `python -m server.admin keys list` shows them.")


async def _user_id(connection: AsyncConnection, name: str) -> int:
    found = await connection.execute(select(User.id).where(User.name == name))
    user_id = found.scalar_one_or_none()
    if user_id is None:
        raise NotFound(f"There is no user {name}: `python -m server.admin users list` shows them.")
    return user_id
