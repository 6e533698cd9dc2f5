"""An isolated lab for one notebook: a virtual host, a database, and workers of its own."""

import asyncio
import os
import re
import sys
import time
from collections.abc import Generator
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import pandas as pd

from labkit import database
from labkit.broker import peek, queues
from labkit.broker.management import Broker
from labkit.broker.permissions import granted
from labkit.client.amqp import AsyncAPIClient
from labkit.client.rest import RestClient
from labkit.closing import close_all
from labkit.dead_letters import DeadLetters
from labkit.errors import LabNotOpen
from labkit.faults.at_step.plan import ENVIRONMENT, Plan
from labkit.faults.faults import Faults
from labkit.faults.scene import Scene
from labkit.place import user_of, with_path
from labkit.private import Grounds
from labkit.services import BrokerTools, Home
from labkit.services.logs import events
from labkit.ui.live import Live
from labkit.workers import OBEDIENT, RIGHT, Workers
from server.contract.topology import REQUESTS

HOME = Path(__file__).resolve().parents[1]

UNLIMITED = 1_000_000
"""Requests a second. In a lab one key does everything: no lesson is to meet the limit by chance."""

REQUEST_FIELDS = ["id", "version", "action", "attempt", "outcome", "replayed", "ms"]
"""What a worker logs of a request."""


class Lab:
    """In a notebook ``lab = await Lab.open("02")``, elsewhere ``async with Lab.open("02") as lab``.

    Opening makes the lab new: what an earlier run of the same name left behind is gone. So a
    notebook runs again from the top at any time, and no notebook disturbs another.

    Raises ``services.LabNotRunning``, which says the next step, if the lab's services are down.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        rest: bool,
        private: bool,
        supervised: bool,
        seed: int,
        settings: dict[str, object],
    ) -> None:
        self.name = name
        self.amqp_url = self.client_amqp_url = self.database_url = ""
        self.api_key = self.rest_url = ""
        self._worker_count = workers
        self._with_rest = rest
        self._private = private
        self._supervised = supervised
        self._seed = seed
        self._settings = settings
        self._clients: list[AsyncAPIClient | RestClient] = []
        self._at_work: _AtWork | None = None

    @classmethod
    def open(
        cls,
        name: str,
        *,
        workers: int = 1,
        rest: bool = False,
        private: bool = False,
        supervised: bool = False,
        seed: int = 0,
        **settings: object,
    ) -> Self:
        """To be awaited, or entered. ``settings`` are ``server.settings.Settings`` of its workers:
        ``Lab.open("08", workers=2, prefetch=1)``. With ``rest`` it is served over HTTP, too.

        A ``private`` lab has a broker and a database of its own, with proxies on the way to them,
        and workers that obey a plan: everything in it may be broken, see ``faults``. It starts in
        some seconds, and needs no running lab. ``supervised`` workers that die are started again.
        ``seed`` is for the faults that are left to chance.
        """
        if not re.fullmatch("[a-z0-9][a-z0-9-]{0,40}", name):
            raise ValueError(f"The lab's name is {name!r}: use letters a-z, digits and hyphens.")
        return cls(name, workers, rest, private, supervised, seed, settings)

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def _open(self) -> Self:
        grounds = await (Grounds.private(self._seed) if self._private else Grounds.shared())
        try:
            self._at_work = at_work = self._go_to_work(grounds)
            await self._make_new(at_work)
        except BaseException:
            await close_all(self.close, grounds.close)
            raise
        return self

    def _go_to_work(self, grounds: Grounds) -> "_AtWork":
        environment = grounds.environment
        self.api_key = environment["API_KEY"]
        self.amqp_url = with_path(environment["ADMIN_AMQP_URL"], self.vhost)
        self.database_url = with_path(environment["DATABASE_URL"], self.vhost)
        self.client_amqp_url = with_path(grounds.client_amqp_url, self.vhost)
        broker = Broker(environment["MANAGEMENT_URL"])
        plan = Plan.of_lab(HOME, self.vhost)
        Home(HOME / ".lab").make()
        plan.clear()
        workers = Workers(
            self.name,
            self._worker_environment(grounds, plan),
            HOME,
            OBEDIENT if self._private else RIGHT,
            supervised=self._supervised,
        )
        faults = Faults(self._scene(grounds, broker, workers, plan), self._seed)
        tools = BrokerTools.of(environment, self.amqp_url)
        return _AtWork(grounds, broker, workers, faults, tools)

    async def _make_new(self, at_work: "_AtWork") -> None:
        """What an earlier run of the same name left behind is gone, and the workers work."""
        broker, workers, environment = at_work.broker, at_work.workers, at_work.grounds.environment
        await workers.stop()
        await broker.delete_vhost(self.vhost)
        await broker.create_vhost(self.vhost, granted(environment))
        await database.create(environment["DATABASE_URL"], self.vhost)
        await workers.start(self._worker_count)
        if self._with_rest:
            self.rest_url = await workers.start_rest()

    @property
    def vhost(self) -> str:
        """The name of the lab's virtual host, and of its database."""
        return f"lab-{self.name}"

    @property
    def faults(self) -> Faults:
        """What can go wrong in this lab, on purpose; closing the lab undoes it all."""
        return self._require_open().faults

    def _scene(self, grounds: Grounds, broker: Broker, workers: Workers, plan: Plan) -> Scene:
        urls = {"client": grounds.client_amqp_url, "worker": grounds.worker_amqp_url}
        return Scene(
            workers,
            broker,
            self.vhost,
            self.amqp_url,
            self.database_url,
            users={who: user_of(url) for who, url in urls.items()},
            plan=plan,
            home=grounds.home,
            proxies=grounds.proxies,
        )

    def _worker_environment(self, grounds: Grounds, plan: Plan) -> dict[str, str]:
        mine = {
            "amqp_url": with_path(grounds.worker_amqp_url, self.vhost),
            "database_url": with_path(grounds.worker_database_url, self.vhost),
            "api_key": self.api_key,
            "rate_limit": UNLIMITED,
            ENVIRONMENT: plan.folder,
        }
        return {name.upper(): str(value) for name, value in (mine | self._settings).items()}

    async def start_workers(
        self,
        count: int = 1,
        *program: str,
        obedient: bool = False,
        dies_at: str | None = None,
        **settings: object,
    ) -> None:
        """More workers: ``python -m server worker``, or another ``program``, such as one with a
        flaw, ``lab.start_workers(2, "flaws", "--flaw", "check-then-store")``.

        ``obedient`` ones are right, and do what ``lab.faults`` orders. With ``dies_at`` each is
        killed as soon as a request gets to that step. ``settings`` are for these alone,
        ``lab.start_workers(2, prefetch=1)``.
        """
        if dies_at is not None:
            program = (*(program or OBEDIENT), "--dies-at", dies_at)
        elif obedient:
            program = program or OBEDIENT
        await self._require_open().workers.start(count, *program, **settings)

    async def stop_workers(self) -> None:
        """All of them drain and end."""
        await self._require_open().workers.stop()

    async def admin(self, *command: str, stdin: str = "") -> str:
        """What ``python -m server.admin`` prints, for this lab: users, and API keys."""
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server.admin", *command),
            cwd=HOME,
            env={**os.environ, "DATABASE_URL": self.database_url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(stdin.encode())
        return output.decode().strip()

    async def close(self) -> None:
        """Ends clients and workers; rows and messages stay to be looked at. Twice is harmless.

        Whatever cannot be ended, or is interrupted, keeps nothing else from its end. It raises
        then, and closing the lab once more tries that again.
        """
        if (at_work := self._at_work) is not None:
            await close_all(at_work.undo, self._close_clients, at_work.close)
            self._at_work = None

    async def _close_clients(self) -> None:
        await close_all(*(client.close for client in self._clients))
        self._clients.clear()

    async def client(self, **options: Any) -> AsyncAPIClient:
        """A connected client with the lab's key; ``close()`` of the lab closes it too.

        To the broker it is the user ``client``, who may send requests and read his replies, as is
        whoever connects to ``lab.client_amqp_url``. For anything else connect to ``lab.amqp_url``,
        whose user may do everything in this lab.
        """
        self._require_open()
        client = AsyncAPIClient(self.client_amqp_url, **{"api_key": self.api_key} | options)
        self._clients.append(client)
        return await client.connect()

    async def rest_client(self, **options: Any) -> RestClient:
        """The same over HTTP, in a lab that was opened with ``rest=True``."""
        self._require_open()
        if not self.rest_url:
            raise LabNotOpen(f"This lab has no REST: Lab.open({self.name!r}, rest=True)")
        client = RestClient(self.rest_url, **{"api_key": self.api_key} | options)
        self._clients.append(client)
        return await client.connect()

    async def queues(self, *, rates: bool = False, seconds: float = 1.0) -> pd.DataFrame:
        """One row per queue: messages ``ready`` for delivery, and delivered but ``unacked``.

        With ``rates`` also its ``consumers``, and messages a second that clients ``published``
        into it, that were ``delivered`` to them, ``acknowledged`` by them, and ``redelivered``.
        They are measured from now on, for ``seconds`` at least. RabbitMQ counts only now and then,
        in a lab every second: so it takes up to three seconds. With a broker of your own it counts
        every five, as a rule, and it takes as much longer. What the broker moves by itself, such
        as a dead letter, is in no counter of its.
        """
        broker = self._require_open().broker
        if rates:
            return await queues.measured(broker, self.vhost, seconds)
        return await queues.queues(broker, self.vhost)

    async def watch_queues(self, seconds: float = 30.0, *, rates: bool = True) -> None:
        """The table of ``queues``, written anew about every second; interrupt it to end it sooner.

        The last one stays.
        """
        watched = queues.watched(self._require_open().broker, self.vhost, with_rates=rates)
        end = time.monotonic() + seconds
        with Live(self.vhost) as live:
            async with aclosing(watched):
                async for table in watched:
                    live.show(table)
                    if time.monotonic() >= end:
                        break

    async def peek(self, queue: str, count: int = 5) -> pd.DataFrame:
        """One row for each of the queue's first messages that are ready, without any key.

        They stay where they are, in their order, and no quorum queue counts it as a delivery; in a
        classic queue, which lends them for the moment, they are ``redelivered`` from then on.
        While a worker takes messages, it is what one could see.

        Raises ``NoSuchQueue``, with the names that there are, and ``CannotLook``.
        """
        at_work = self._require_open()
        return await peek.look(
            at_work.broker, self.vhost, self.amqp_url, at_work.tools, queue, count
        )

    @property
    def dead_letters(self) -> DeadLetters:
        """The dead letters of this lab, with the lab's own key: it is a librarian's."""
        self._require_open()
        return DeadLetters(self.amqp_url, self.api_key)

    async def settle(self, within: float = 10.0) -> None:
        """Returns when every request is done with: none waits, none is in a worker's hands.

        Raises ``TimeoutError`` after ``within`` seconds.
        """
        async with asyncio.timeout(within):
            while await self._requests_left():  # noqa: ASYNC110  (the broker sets no event of ours)
                await asyncio.sleep(0.02)

    async def _requests_left(self) -> int:
        queues = await self.queues()
        return int(queues.loc[queues.index.isin([REQUESTS]), ["ready", "unacked"]].sum().sum())

    async def rows(self, table: str) -> pd.DataFrame:
        """All rows of one of the lab's tables, in the order of its first column."""
        self._require_open()
        return await database.rows(self.database_url, table)

    async def reset(self) -> None:
        """No rows, no messages, ids from 1 again; clients and workers stay connected."""
        broker = self._require_open().broker
        for queue in await broker.queues(self.vhost):
            if not queue["exclusive"]:  # a client's own reply queue is none of ours
                await broker.purge(self.vhost, queue["name"])
        await database.empty(self.database_url)

    def log(self) -> pd.DataFrame:
        """What the workers logged, also those that have ended: one row per request, by time."""
        lines = [
            {"worker": worker, **event}
            for worker, log in self.worker_logs.items()
            for event in events([log])
            if event.get("event") == "request"
        ]
        table = pd.DataFrame(lines, columns=["time", "worker", *REQUEST_FIELDS])
        return table.sort_values("time", ignore_index=True)

    @property
    def worker_logs(self) -> dict[str, Path]:
        """Name → log of each worker that was started since the lab was opened."""
        return self._require_open().workers.logs

    def _require_open(self) -> "_AtWork":
        if self._at_work is None:
            raise LabNotOpen
        return self._at_work


@dataclass(frozen=True)
class _AtWork:
    """What an open lab has, and a closed one has not."""

    grounds: Grounds
    broker: Broker
    workers: Workers
    faults: Faults
    tools: BrokerTools | None

    async def undo(self) -> None:
        """Not where a close was before: services that have ended would be started, for nobody."""
        if not self.grounds.closed:
            await self.faults.undo()

    async def close(self) -> None:
        await close_all(self.workers.stop, self.broker.close, self.grounds.close)
