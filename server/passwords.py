"""Passwords: hashed with Argon2id, which is slow on purpose."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.errors import Unauthorized
from server.models import User
from server.principal import Principal

_hasher = PasswordHasher()

_NOBODY = (
    "$argon2id$v=19$m=65536,t=3,p=4$aDJXxkkYsG+/CZ6yR16tKA$y5J1cn"
    "xx1Y3VVAnySPI1K3tZscCgCe4atLgUsRcRy/8"
)
"""Verified where there is no such user, so that how long a refusal takes tells no names."""

_threads = ThreadPoolExecutor(max_workers=2, thread_name_prefix="argon2")
"""A hash takes 64 MiB and a core: a flood of logins must take neither from everybody else."""


def hashed(password: str) -> str:
    return _hasher.hash(password)


async def find_user(connection: AsyncConnection, name: str, password: str) -> Principal:
    """Raises ``Unauthorized``, the same for a wrong name and a wrong password."""
    statement = select(User.id, User.name, User.role, User.password_hash).where(User.name == name)
    user = (await connection.execute(statement)).one_or_none()
    stored = user.password_hash if user is not None and user.password_hash else _NOBODY
    loop = asyncio.get_running_loop()
    right = await loop.run_in_executor(_threads, _verify, stored, password)
    if not right or user is None or stored is _NOBODY:
        raise Unauthorized("The name or the password is wrong.")
    return Principal(user.id, user.name, user.role)


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
