"""Is it really there? The opening of each protocol, as far as "you may come in".

A port that accepts connections proves little: a broker may still be booting, and another program's
database may be listening. Each function raises `OSError` while there is no proper answer, and
`Refused` if the service answers and says no.
"""

import base64
import hashlib
import hmac
import json
import re
import secrets
import socket
import ssl
import struct
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import SplitResult, parse_qs, unquote, urlsplit

from labkit.services.errors import ServiceError

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


def amqp(url: str) -> str:
    """Open an AMQP 0-9-1 connection and close it; returns the broker's version."""
    parts = urlsplit(url)
    user, password = unquote(parts.username or "guest"), unquote(parts.password or "guest")
    host = unquote(parts.path[1:]) or "/"
    with _connect(parts) as wire:
        wire.sendall(b"AMQP\x00\x00\x09\x01")
        start = _expect(wire, (10, 10), "connection.start")
        capability = b"\x1cauthentication_failure_closet\x01"
        capabilities = b"\x0ccapabilitiesF" + _long(capability)
        response = _long(f"\0{user}\0{password}".encode())
        _send(wire, (10, 11), _long(capabilities) + _short("PLAIN") + response + _short("en_US"))
        limits = _expect(wire, (10, 30), "connection.tune")
        _send(wire, (10, 31), limits[:8])
        _send(wire, (10, 40), _short(host) + _short("") + b"\0")
        _expect(wire, (10, 41), "connection.open-ok")
        _send(wire, (10, 50), struct.pack(">H", 200) + _short("") + struct.pack(">HH", 0, 0))
        _expect(wire, (10, 51), "connection.close-ok")
    version = re.search(rb"\x07versionS....([\x20-\x7e]+?)(?:[^\x20-\x7e]|$)", start, re.DOTALL)
    return version.group(1).decode() if version else "of unknown version"


def _connect(broker: SplitResult) -> socket.socket:
    """Over TLS if the URL says so; its `cafile` is the CA to trust, as client libraries read it."""
    secure = broker.scheme == "amqps"
    address = (broker.hostname or "", broker.port or (5671 if secure else 5672))
    wire = socket.create_connection(address, TIMEOUT)
    if not secure:
        return wire
    authority = parse_qs(broker.query).get("cafile", [None])[0]
    context = ssl.create_default_context(cafile=authority)
    return context.wrap_socket(wire, server_hostname=broker.hostname)


def listens(url: str) -> str:
    """A program accepts connections there; returns host:port. For services that are not ours, whose
    way of letting people in may be another."""
    parts = urlsplit(url)
    standard = {"amqp": 5672, "amqps": 5671}.get(parts.scheme, 5432)
    place = (parts.hostname or "localhost", parts.port or standard)
    try:
        socket.create_connection(place, TIMEOUT).close()
    except OSError as error:
        raise ServiceError(
            f"There is no answer at {place[0]}:{place[1]}, which your environment names ({error}). "
            "Start that service, or unset AMQP_URL and DATABASE_URL and the lab starts its own."
        ) from error
    return f"{place[0]}:{place[1]}"


def epmd(port: int) -> None:
    """Ask an Erlang port mapper for the names it knows; it answers with its own port first."""
    with socket.create_connection(("127.0.0.1", port), TIMEOUT) as wire:
        wire.sendall(struct.pack(">Hc", 1, b"n"))
        if struct.unpack(">I", _read(wire, 4)) != (port,):
            raise OSError("an Erlang port mapper would have sent its port here")


def management(url: str) -> str:
    """Ask RabbitMQ's management API who we are; returns the user's name."""
    return str(ask(url, "/api/whoami")["name"])


def ask(url: str, path: str) -> Any:
    """What RabbitMQ's management API at `url` says at this path."""
    parts = urlsplit(url)
    credentials = f"{unquote(parts.username or '')}:{unquote(parts.password or '')}"
    token = base64.b64encode(credentials.encode()).decode()
    request = urllib.request.Request(  # noqa: S310  (the lab's own URL)
        f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{path}",
        headers={"Authorization": f"Basic {token}"},
    )
    return _get_json(request)


def jupyter(url: str, token: str) -> str:
    """JupyterLab's version, from its own API."""
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(f"{url}/api", headers=headers)  # noqa: S310
    return str(_get_json(request)["version"])


def rest(url: str) -> str:
    """Ask the server's REST edge whether it can serve; returns what it says."""
    return str(_get_json(urllib.request.Request(f"{url}/healthz"))["status"])  # noqa: S310


def postgresql(url: str) -> str:
    """Log in to the database and leave; returns the server's version."""
    parts = urlsplit(url)
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    database = unquote(parts.path[1:]) or user
    with socket.create_connection((parts.hostname or "", parts.port or 5432), TIMEOUT) as wire:
        startup = f"user\0{user}\0database\0{database}\0\0".encode()
        wire.sendall(struct.pack(">II", len(startup) + 8, 196608) + startup)
        kind, body = _message(wire)
        if kind == b"R" and body[:4] == struct.pack(">I", 10):
            _scram(wire, password)
        parameters = b""
        while kind != b"Z":
            kind, body = _message(wire)
            parameters += body if kind == b"S" else b""
        wire.sendall(b"X" + struct.pack(">I", 4))
    version = re.search(rb"server_version\0([^\0 ]+)", parameters)
    return version.group(1).decode() if version else "of unknown version"


def _get_json(request: urllib.request.Request) -> Any:
    # Never through a proxy: HTTP_PROXY is common in schools, and 127.0.0.1 is not its business.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=TIMEOUT) as response:
            return json.loads(response.read())
    except urllib.error.HTTPError as error:
        raise Refused(str(error.code), error.reason) from error
    except TimeoutError as error:
        raise TimeoutError(
            f"{request.host} takes connections, but has not answered within {TIMEOUT:.0f} s: it is "
            "frozen, or too busy (see `top`), or another program listens there"
        ) from error
    except (KeyError, ValueError) as error:
        raise OSError(f"an unexpected answer: {error}") from error


def _short(text: str) -> bytes:
    data = text.encode()
    return bytes([len(data)]) + data


def _long(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def _send(wire: socket.socket, method: tuple[int, int], arguments: bytes) -> None:
    payload = struct.pack(">HH", *method) + arguments
    wire.sendall(struct.pack(">BHI", 1, 0, len(payload)) + payload + b"\xce")


def _expect(wire: socket.socket, method: tuple[int, int], name: str) -> bytes:
    """The arguments of the next method, which must be this one."""
    kind, _, size = struct.unpack(">BHI", _read(wire, 7))
    payload = _read(wire, size + 1)[:-1]
    got = struct.unpack(">HH", payload[:4])
    if got == (10, 50):
        (code,) = struct.unpack(">H", payload[4:6])
        raise Refused(str(code), payload[7 : 7 + payload[6]].decode("utf-8", "replace"))
    if kind != 1 or got != method:
        raise OSError(f"an AMQP broker would have sent {name} here")
    return payload[4:]


def _message(wire: socket.socket) -> tuple[bytes, bytes]:
    header = _read(wire, 5)
    body = _read(wire, struct.unpack(">I", header[1:])[0] - 4)
    if header[:1] == b"E":
        fields = {part[:1]: part[1:].decode("utf-8", "replace") for part in body.split(b"\0")}
        raise Refused(fields.get(b"C", "?"), fields.get(b"M", "?"))
    return header[:1], body


def _scram(wire: socket.socket, password: str) -> None:
    """SCRAM-SHA-256 (RFC 5802, RFC 7677), without channel binding."""
    first = f"n=,r={secrets.token_hex(12)}"
    initial = _long(f"n,,{first}".encode())
    _password_message(wire, b"SCRAM-SHA-256\0" + initial)
    challenge = _message(wire)[1][4:].decode()
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    salt, rounds = base64.b64decode(fields["s"]), int(fields["i"])
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, rounds)
    key = hmac.digest(salted, b"Client Key", "sha256")
    final = f"c=biws,r={fields['r']}"
    signature = hmac.digest(
        hashlib.sha256(key).digest(), f"{first},{challenge},{final}".encode(), "sha256"
    )
    proof = bytes(a ^ b for a, b in zip(key, signature, strict=True))
    _password_message(wire, f"{final},p={base64.b64encode(proof).decode()}".encode())


def _password_message(wire: socket.socket, body: bytes) -> None:
    wire.sendall(b"p" + struct.pack(">I", len(body) + 4) + body)


def _read(wire: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = wire.recv(size - len(data))
        if not piece:
            raise OSError("the connection was closed in the middle of the handshake")
        data += piece
    return data
