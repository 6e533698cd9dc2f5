"""``login``: a name and a password become a token."""

from sqlalchemy.ext.asyncio import AsyncConnection

from server.passwords import find_user
from server.payloads import Credentials, Token
from server.tokens import issue


async def login(connection: AsyncConnection, credentials: Credentials) -> Token:
    user = await find_user(connection, credentials.name, credentials.password.get_secret_value())
    return await issue(connection, user)
