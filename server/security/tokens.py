"""JSON Web Tokens: signed statements of who the bearer is, for an hour.

Verifying names the one algorithm, issuer and audience that are accepted. What the token itself
says of its algorithm is never believed (RFC 8725).
"""

import base64
import hashlib
import hmac
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


async def issue(connection: AsyncConnection, user: Principal) -> Token:
    newest = select(SigningKey).order_by(SigningKey.created_at.desc(), SigningKey.kid).limit(1)
    key = (await connection.execute(newest)).one()
    now = datetime.now(UTC)
    claims = {
        "sub": str(user.user_id),
        "iss": ISSUER,
        "aud": AUDIENCE,
        "iat": now,
        "exp": now + LIFETIME,
    }
    token = jwt.encode(claims, key.secret, algorithm=ALGORITHM, headers={"kid": key.kid})
    return Token(token=token, expires_at=now + LIFETIME, role=user.role)


async def read(connection: AsyncConnection, token: str) -> Principal:
    """Who the token was given to, as that user is now; barred if it has expired.

    Raises ``Unauthorized`` for what is no token of this server.
    """
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = await _key(connection, kid)
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            leeway=LEEWAY,
            options={"require": ["exp", "iat", "iss", "aud", "sub"], "verify_exp": False},
        )
        user_id, expires = _id(claims["sub"]), float(claims["exp"])
    except (jwt.InvalidTokenError, TypeError, ValueError):
        raise Unauthorized("The token is not one of this server's: log in.") from None
    principal = await _user(connection, user_id)
    if expires > datetime.now(UTC).timestamp():
        return principal
    return replace(principal, barred=Unauthorized("The token has expired: log in again."))


async def read_unsigned(connection: AsyncConnection, unsigned: str, digest: str) -> Principal:
    """Who the token was given to of which nothing is left but its first two parts, and the SHA-256
    of its signature. Only this server can make the signature anew, and see that it is the one.

    That it may have expired since does not bar them. Raises ``Unauthorized``.
    """
    try:
        key = await _key(connection, jwt.get_unverified_header(f"{unsigned}.").get("kid"))
    except jwt.InvalidTokenError:
        raise Unauthorized("The token of this request's sender is none of this server's.") from None
    signature = hmac.digest(key.encode(), unsigned.encode(), "sha256")
    if not hmac.compare_digest(hashlib.sha256(signature).hexdigest(), digest):
        raise Unauthorized("The token of this request's sender was not made by this server.")
    signed = f"{unsigned}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    return replace(await read(connection, signed), barred=None)


def decoded(part: str) -> bytes:
    """One of the three parts of a token. Raises ``ValueError`` if it is none."""
    return base64.b64decode(part + "=" * (-len(part) % 4), altchars=b"-_", validate=True)


def _id(subject: str) -> int:
    """Raises ``ValueError`` for what can be no user's id."""
    user_id = int(subject)
    if not 0 < user_id <= LARGEST_ID:
        raise ValueError(subject)
    return user_id


async def _key(connection: AsyncConnection, kid: object) -> str:
    statement = select(SigningKey.secret).where(SigningKey.kid == kid)
    if not isinstance(kid, str) or "\x00" in kid:
        raise jwt.InvalidTokenError("no key id")
    secret = (await connection.execute(statement)).scalar_one_or_none()
    if secret is None:
        raise jwt.InvalidTokenError("unknown key id")
    return secret


async def _user(connection: AsyncConnection, user_id: int) -> Principal:
    statement = select(User.id, User.name, User.role).where(User.id == user_id)
    user = (await connection.execute(statement)).one_or_none()
    if user is None:
        raise Unauthorized("The token's user does not exist any more.")
    return Principal(user.id, user.name, user.role)


async def ensure_signing_key(connection: AsyncConnection) -> None:
    """There is a key to sign with: the first server to start makes it."""
    new = insert(SigningKey).values(kid="1", secret=secrets.token_urlsafe(48))
    await connection.execute(new.on_conflict_do_nothing())
