"""The server's other process: the same API over HTTP."""

import threading

from labkit.services import handshake, ports, worker
from labkit.services.errors import NotReady, PortTaken
from labkit.services.layout import Home
from labkit.services.process import find

NAME = "rest"
PORT = 8080
TRIES = 4


def up(home: Home, services: dict[str, str], cancel: threading.Event) -> str:
    """Start it, or adopt the one that runs with these very settings; says where it is."""
    needed = {name: services[name] for name in ("DATABASE_URL", "API_KEY")}
    for attempt in range(TRIES):
        if find(NAME, home.run_dir) is None:
            worker.down(home, NAME)  # its supervisor would start it again meanwhile, on its port
            ports.assign(home, NAME, PORT, cancel, remembered=attempt == 0)
        address = {"REST_HOST": ports.LOOPBACK, "REST_PORT": str(home.port(NAME))}
        try:
            done = worker.run(home, NAME, "rest", needed | address, cancel)
            return f"{done}, port {home.port(NAME)}"
        except PortTaken:
            continue
    raise NotReady("REST found each port taken that it tried: see `ss -ltnp`.")


def url(home: Home) -> str:
    return f"http://{ports.LOOPBACK}:{home.port(NAME)}"


def answers(home: Home) -> str:
    """Its health. Raises `OSError` if it does not answer, or its database does not."""
    return handshake.rest(url(home))
