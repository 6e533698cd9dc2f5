"""JSON Web Tokens: signed statements of who somebody is, for an hour.

Verifying names the one algorithm, issuer and audience that are accepted. What the token itself
says of its algorithm is never believed (RFC 8725).
"""

import base64
import hashlib
import hmac
import secrets
from datetime import UTC, datetime, timedelta

import jwt
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract import LARGEST_ID
from server.errors import Unauthorized
from server.models import SigningKey, User
from server.payloads import Token
from server.principal import Principal

ALGORITHM = "HS256"
ISSUER = "library-server"
AUDIENCE = "library-api"
LIFETIME = timedelta(hours=1)


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


async def read(connection: AsyncConnection, token: str, *, expired_too: bool = False) -> Principal:
    """Who the token was given to, as that user is now. Raises ``Unauthorized``."""
    try:
        kid = jwt.get_unverified_header(token).get("kid")
        key = await _key(connection, kid)
        claims = jwt.decode(
            token,
            key,
            algorithms=[ALGORITHM],
            issuer=ISSUER,
            audience=AUDIENCE,
            options={
                "require": ["exp", "iat", "iss", "aud", "sub"],
                "verify_exp": not expired_too,
            },
        )
        user_id = _id(claims["sub"])
    except jwt.ExpiredSignatureError:
        raise Unauthorized("The token has expired: log in again.") from None
    except (jwt.InvalidTokenError, ValueError):
        raise Unauthorized("The token is not one of this server's: log in.") from None
    return await _user(connection, user_id)


async def read_unsigned(connection: AsyncConnection, unsigned: str, digest: str) -> Principal:
    """Who the token was given to of which nothing is left but its first two parts, and the SHA-256
    of its signature. Only this server can make the signature anew, and see that it is the one.

    It may have expired. Raises ``Unauthorized``.
    """
    try:
        key = await _key(connection, jwt.get_unverified_header(f"{unsigned}.").get("kid"))
    except jwt.InvalidTokenError:
        raise Unauthorized("The token of this request's sender is none of this server's.") from None
    signature = hmac.digest(key.encode(), unsigned.encode(), "sha256")
    if not hmac.compare_digest(hashlib.sha256(signature).hexdigest(), digest):
        raise Unauthorized("The token of this request's sender was not made by this server.")
    signed = f"{unsigned}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    return await read(connection, signed, expired_too=True)


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
