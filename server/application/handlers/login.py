"""``login``: a name and a password become a token."""

from server.contract.payloads.common import Credentials, Token
from server.persistence.database import Database
from server.security import passwords, tokens


async def login(database: Database, credentials: Credentials) -> Token:
    """A password takes long to verify, on purpose: no connection is held meanwhile."""
    async with database.reading() as connection:
        found = await passwords.find_user(connection, credentials.name)
    user = await passwords.verified(found, credentials.password.get_secret_value())
    async with database.reading() as connection:
        return await tokens.issue(connection, user)
