"""JSON Web Tokens: signed statements of who the bearer is, for an hour.

Verifying names the one algorithm, issuer and audience that are accepted. What the token itself
says of its algorithm is never believed (RFC 8725).
"""

import secrets
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import jwt
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.envelope import LARGEST_ID
from server.contract.errors import Unauthorized
from server.contract.payloads.common import Token
from server.persistence.models import SigningKey, User
from server.security.principal import Principal

ALGORITHM = "HS256"
ISSUER = "library-server"
AUDIENCE = "library-api"
LIFETIME = timedelta(hours=1)
LEEWAY = timedelta(seconds=10)
"""By so much the clock of the server that issued a token may be ahead of ours."""


async def issue(connection: AsyncConnection, principal: Principal) -> Token:
    newest = select(SigningKey).order_by(SigningKey.created_at.desc(), SigningKey.kid).limit(1)
    key = (await connection.execute(newest)).one()
    now = datetime.now(UTC)
    claims = {
        "sub": str(principal.user_id),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME,
    }
    token = jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})
    return Token(token=token, expires_at=now + LIFETIME, role=principal.role)


class SigningKeys:
    """The keys that tokens are signed with, as they were when the database was last asked.

    They are kept so that the user of a token is known while the database is away: a request that
    is dead-lettered then has to be that user's again later.
    """

    def __init__(self) -> None:
        self._secrets: dict[str, str] = {}

    async def load(self, connection: AsyncConnection) -> None:
        keys = await connection.execute(select(SigningKey.kid, SigningKey.secret))
        self._secrets = {key.kid: key.secret for key in keys}

    def claims(self, token: str) -> tuple[int, float]:
        """The id of the user that it was given to, and when it expires, in seconds since 1970.

        Raises ``Unauthorized`` for what is no token of this server.
        """
        try:
            claims = jwt.decode(
                token,
                self._secrets[jwt.get_unverified_header(token)["kid"]],
                algorithms=[ALGORITHM],
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=LEEWAY,
                options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_exp": False},
            )
            return _id(claims["sub"]), float(claims["exp"])
        except (jwt.InvalidTokenError, KeyError, TypeError, ValueError):
            raise Unauthorized("The token is not one of this server's: log in.") from None


async def read(connection: AsyncConnection, token: str, keys: SigningKeys) -> Principal:
    """Who the token was given to, as that user is now; barred if it has expired.

    Raises ``Unauthorized`` for what is no token of this server.
    """
    await keys.load(connection)
    user_id, expires = keys.claims(token)
    principal = await user(connection, user_id)
    if expires > datetime.now(UTC).timestamp():
        return principal
    return replace(principal, barred=Unauthorized("The token has expired: log in again."))


async def user(connection: AsyncConnection, user_id: int) -> Principal:
    """Raises ``Unauthorized``."""
    statement = select(User.id, User.name, User.role).where(User.id == user_id)
    found = (await connection.execute(statement)).one_or_none()
    if found is None:
        raise Unauthorized("This user does not exist any more.")
    return Principal(found.id, found.name, found.role)


def _id(subject: str) -> int:
    """Raises ``ValueError`` for what can be no user's id."""
    user_id = int(subject)
    if not 0 < user_id <= LARGEST_ID:
        raise ValueError(subject)
    return user_id


async def ensure_signing_key(connection: AsyncConnection) -> None:
    """There is a key to sign with: the first server to start makes it."""
    new = insert(SigningKey).values(kid="1", secret=secrets.token_urlsafe(48))
    await connection.execute(new.on_conflict_do_nothing())
