"""Is it really there? Each opens a connection as its clients do, as far as "you may come in".

A port that accepts connections proves little: a broker may still be booting, and another program's
database may be listening. Each function raises `OSError` while there is no proper answer, and
`Refused` if the service answers and says no.
"""

import asyncio
import struct
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
from aiormq.exceptions import AMQPError, AuthenticationError, ProbableAuthenticationError
from server.contract import brokers
from server.contract.connection import connect
from server.contract.routes import HEALTH

from labkit.services.errors import ServiceError
from labkit.services.http_client import http_client

TIMEOUT = 5.0
"""Seconds for one try."""
WRONG_PASSWORD = {"401", "403", "28000", "28P01"}
"""What HTTP, AMQP and PostgreSQL say to one."""
NO_DATABASE = "3D000"


class Refused(OSError):
    """The service answers, and does not let us in. `code` is its protocol's own.

    `final` if asking again will not help; a PostgreSQL that is still starting up is not final.
    """

    def __init__(self, code: str, text: str) -> None:
        super().__init__(f"{text} ({code})")
        self.code = code
        self.final = code in WRONG_PASSWORD | {NO_DATABASE}


async def amqp(url: str) -> str:
    """Open an AMQP connection and close it; returns the broker's version."""
    try:
        connection = await connect(url)
    except (AuthenticationError, ProbableAuthenticationError) as error:
        raise Refused("403", str(error)) from error
    except AMQPError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    try:
        transport = connection.transport
        properties = transport.connection.server_properties if transport else {}
        version = properties.get("version", b"of unknown version")
        return version.decode() if isinstance(version, bytes) else str(version)
    finally:
        await connection.close()


async def postgresql(url: str) -> str:
    """Log in to the database and leave; returns the server's version."""
    try:
        connection = await open_database(url)
    except asyncpg.PostgresError as error:
        raise Refused(str(error.sqlstate), str(error)) from error
    except asyncpg.InterfaceError as error:
        raise ConnectionError(str(error)) from error
    version = str(connection.get_settings().server_version).partition(" ")[0]
    await connection.close()
    return version


async def open_database(url: str, within: float = TIMEOUT) -> asyncpg.Connection:
    """A connection that is what `url` says, with TLS only if it has `sslmode`.

    asyncpg alone would also read the environment's `PG…` and files in the user's home, which are
    meant for other databases.
    """
    secure = None if "sslmode=" in url else False
    return await asyncpg.connect(url, ssl=secure, timeout=within)


async def management(url: str) -> str:
    """Ask RabbitMQ's management API who we are; returns the user's name."""
    return str((await ask(f"{url}/api/whoami"))["name"])


async def jupyter(url: str, token: str) -> str:
    """JupyterLab's version, from its own API."""
    return str((await ask(f"{url}/api", {"Authorization": f"token {token}"}))["version"])


async def rest(url: str) -> str:
    """Ask the server's REST edge whether it can serve; returns what it says."""
    return str((await ask(url + HEALTH))["status"])


async def ask(url: str, headers: Mapping[str, str] | None = None, *, body: Any = None) -> Any:
    """The JSON that is at `url`, or what is said to a `body` that is posted there."""
    method = "GET" if body is None else "POST"
    try:
        async with http_client(url, timeout=TIMEOUT) as http:
            response = await http.request(method, url, headers=headers, json=body)
        response.raise_for_status()
        return response.json() if response.content else None
    except httpx.HTTPStatusError as error:
        raise Refused(str(error.response.status_code), error.response.reason_phrase) from error
    except httpx.TimeoutException as error:
        raise TimeoutError(
            f"{urlsplit(url).netloc.rpartition('@')[2]} takes connections, but has not answered "
            f"within {TIMEOUT:.0f} s: it is frozen, or too busy (see `top`), or another program "
            "listens there"
        ) from error
    except httpx.TransportError as error:
        raise ConnectionError(str(error) or type(error).__name__) from error
    except ValueError as error:
        raise ConnectionError(f"an unexpected answer: {error}") from error


async def epmd(port: int) -> None:
    """Ask an Erlang port mapper for the names it knows; it answers with its own port first."""
    async with asyncio.timeout(TIMEOUT):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(struct.pack(">Hc", 1, b"n"))
            if struct.unpack(">I", await reader.readexactly(4)) != (port,):
                raise ConnectionError("an Erlang port mapper would have sent its port here")
        except asyncio.IncompleteReadError as error:
            raise ConnectionError("no Erlang port mapper answers here") from error
        finally:
            writer.close()


async def listens(url: str) -> str:
    """A program accepts connections there; returns host:port. For services that are not ours, whose
    way of letting people in may be another. Of several brokers, the first one that does.
    """
    return await brokers.connected(url, _listens_at)


async def _listens_at(url: str) -> str:
    parts = urlsplit(url)
    standard = {"amqp": 5672, "amqps": 5671}.get(parts.scheme, 5432)
    host, port = parts.hostname or "localhost", parts.port or standard
    try:
        async with asyncio.timeout(TIMEOUT):
            _, writer = await asyncio.open_connection(host, port)
            writer.close()
    except OSError as error:
        raise ServiceError(
            f"There is no answer at {host}:{port}, which your environment names ({error}). "
            "Start that service, or unset AMQP_URL and DATABASE_URL and the lab starts its own."
        ) from error
    return f"{host}:{port}"
