"""Passwords: hashed with Argon2id, which is slow on purpose."""

import asyncio
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import Row, select
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.errors import RateLimited, Unauthorized
from server.persistence.models import User
from server.security.principal import Principal

_hasher = PasswordHasher(parallelism=1)

_OF_NO_USER = (
    "$argon2id$v=19$m=65536,t=3,p=1$Q0/uXhrQFtCvixUyne+edg$my1TyqhSg+9EFRoKL2kOyvnX5z+"
    "mEkuDeqJzhau/U4Y"
)
"""Verified where there is no such user, so that how long a refusal takes tells no names."""

AT_A_TIME = 8
"""Passwords in hand, most of which wait; more are refused at once. Each is a request that holds its
place in the worker, so they must be few, or a flood of logins would stop all others."""

_room = threading.BoundedSemaphore(AT_A_TIME)


def _step_back() -> None:
    """A hash takes 64 MiB and a core for a long time: requests that need little go first."""
    with suppress(OSError, AttributeError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), 10)


_thread = ThreadPoolExecutor(1, thread_name_prefix="argon2", initializer=_step_back)


def hashed(password: str) -> str:
    return _hasher.hash(password)


FoundUser = Row[int, str, str, str | None]
"""id, name, role, password_hash"""


async def find_user(connection: AsyncConnection, name: str) -> FoundUser | None:
    statement = select(User.id, User.name, User.role, User.password_hash).where(User.name == name)
    return (await connection.execute(statement)).one_or_none()


async def verified(user: FoundUser | None, password: str) -> Principal:
    """The user, if this is their password.

    Raises ``Unauthorized``, the same for a wrong name and a wrong password; ``RateLimited`` if too
    many are in hand.
    """
    stored = user.password_hash if user is not None and user.password_hash else _OF_NO_USER
    if not _room.acquire(blocking=False):
        raise RateLimited("Too many logins at a time: ask again in a moment.")
    try:
        loop = asyncio.get_running_loop()
        right = await loop.run_in_executor(_thread, _verify, stored, password)
    finally:
        _room.release()
    if not right or user is None or stored is _OF_NO_USER:
        raise Unauthorized("The name or the password is wrong.")
    return Principal(user.id, user.name, user.role)


def _verify(stored: str, password: str) -> bool:
    try:
        return _hasher.verify(stored, password)
    except (VerificationError, InvalidHashError):
        return False
