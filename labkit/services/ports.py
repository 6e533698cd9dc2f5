"""Which port a service listens on."""

import socket
from collections.abc import Iterable

LOOPBACK = "127.0.0.1"


def is_free(port: int) -> bool:
    """Whether a service could listen on this port of the loopback interface now."""
    with socket.socket() as probe:
        probe.settimeout(0.5)
        # macOS lets us bind beside somebody who listens on all interfaces: ask him first.
        if probe.connect_ex((LOOPBACK, port)) == 0:
            return False
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def any_free() -> int:
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        port: int = probe.getsockname()[1]
        return port


def choose(preferred: Iterable[int | None]) -> int:
    """The first preferred port that is free, else any. Nobody reserves it: see `PortTaken`."""
    return next((port for port in preferred if port and is_free(port)), 0) or any_free()
