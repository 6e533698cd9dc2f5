"""What a lab stands on: the services that all labs share, or some of its own, to be broken."""

import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from labkit.closing import close_all
from labkit.faults.network.proxy import Proxy
from labkit.services.environment import lab_environment
from labkit.services.home import Home
from labkit.services.private import private_home
from labkit.ui.progress import StatusLine
from server.contract import brokers

CLIENT, WORKER, DATABASE = "client-broker", "worker-broker", "worker-database"
"""The links that have a proxy, in private services."""
URLS = {CLIENT: "AMQP_URL", WORKER: "SERVER_AMQP_URL", DATABASE: "DATABASE_URL"}


class Grounds:
    """``environment`` has the services' addresses; ``home`` is where private ones live, and
    ``proxies`` are on the way to them: link → proxy. No other network is touched.
    """

    def __init__(
        self, environment: dict[str, str], home: Home | None, stack: AsyncExitStack
    ) -> None:
        self.environment = environment
        self.home = home
        self.proxies: dict[str, Proxy] = {}
        self.closed = False
        """From the beginning of its close on."""
        self._stack = stack

    @classmethod
    async def shared(cls) -> Self:
        """Raises ``LabNotRunning``."""
        return cls(lab_environment(), None, AsyncExitStack())

    @classmethod
    async def private(cls, seed: int = 0, nodes: int = 1) -> Self:
        """A RabbitMQ of so many ``nodes`` and a PostgreSQL, ended by ``close``, or with this
        process however it ends. ``seed`` is that of the proxies' jitter.
        """
        grounds = cls({}, None, AsyncExitStack())
        line = StatusLine()
        broker = "A broker" if nodes == 1 else f"A cluster of {nodes} brokers"
        line.show(f"{broker} and a database for this lab alone are starting …")
        try:
            await grounds._start_services(nodes)
            await grounds._lay_lines(seed)
            return grounds
        except BaseException:
            await grounds.close()
            raise
        finally:
            line.clear()

    async def _start_services(self, nodes: int) -> None:
        temporary = tempfile.TemporaryDirectory(prefix="lab-private-")
        folder = Path(self._stack.enter_context(temporary))
        made = private_home(folder, durable=False, brokers=nodes)
        self.environment, self.home = await self._stack.enter_async_context(made)

    async def _lay_lines(self, seed: int) -> None:
        for link, name in URLS.items():
            urls = map(urlsplit, brokers.each(self.environment[name]))
            targets = [(url.hostname or "", url.port or 0) for url in urls]
            # It is there to be closed before it is open: that may be interrupted, too.
            self.proxies[link] = Proxy(link, *targets, seed=seed)
            await self.proxies[link].open()

    @property
    def is_cluster(self) -> bool:
        return brokers.are_several(self.environment["AMQP_URL"])

    @property
    def client_amqp_url(self) -> str:
        return self._url(CLIENT)

    @property
    def worker_amqp_url(self) -> str:
        return self._url(WORKER)

    @property
    def worker_database_url(self) -> str:
        return self._url(DATABASE)

    def _url(self, link: str) -> str:
        url = self.environment[URLS[link]]
        return self.proxies[link].through(url) if link in self.proxies else url

    async def close(self) -> None:
        """Closing twice is harmless."""
        self.closed = True
        lines = [proxy.close for proxy in self.proxies.values()]
        await close_all(*lines, self._stack.aclose)
