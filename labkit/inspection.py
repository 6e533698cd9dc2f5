"""Looking into an open lab: queues, messages, rows, logs. Nothing here changes what it shows."""

import asyncio
import time
from abc import ABC, abstractmethod
from contextlib import aclosing
from pathlib import Path

import pandas as pd

from labkit import database, deadline
from labkit.broker import peek, queues, topology
from labkit.broker.topology import Topology
from labkit.services.logs import events
from labkit.ui.live import Live
from labkit.workspace import Workspace
from server.contract.limits import Limits
from server.contract.log_events import REQUEST
from server.contract.topology import REQUESTS

REQUEST_FIELDS = ["id", "version", "action", "attempt", "outcome", "replayed", "ms"]
"""What a worker logs of a request."""

UNSETTLED = (
    f"{REQUESTS} still has requests that wait, or that a worker holds. Does a worker run? "
    "`await lab.start_workers()` starts one; `await lab.reset()` drops the requests."
)


class Inspection(ABC):
    """What can be seen of a lab. All of it raises ``LabNotOpen`` while the lab is closed."""

    @abstractmethod
    def _open_workspace(self) -> Workspace:
        """Raises ``LabNotOpen``."""

    async def queues(self, *, rates: bool = False, seconds: float = 1.0) -> pd.DataFrame:
        """One row for each queue, by its name.

        ``ready`` and ``unacked`` are messages (int64): those that wait for delivery, and those that
        were delivered and not acknowledged. Where the broker is a cluster, there are ``leader``,
        the node that gives them out, and ``members``, the nodes that have them and serve now (str).
        A quorum queue works while more than half of its members serve.

        With ``rates`` there are ``consumers`` (int64), and messages a second (float64) that clients
        ``published`` into it, that were ``delivered`` to them, ``acknowledged`` by them, and
        ``redelivered``.

        Rates are measured from now on, for at least ``seconds``. RabbitMQ counts only now and then,
        in a lab every second, so it takes up to three seconds. A broker of your own counts every
        five, as a rule, and it takes as much longer. What the broker moves by itself, such as a
        dead letter, is in none of its counters.

        Raises ``BrokerAway``.
        """
        workspace = self._open_workspace()
        if rates:
            return await queues.measured(workspace.broker, workspace.vhost, seconds)
        return await queues.queues(workspace.broker, workspace.vhost)

    async def survivors(self) -> set[str]:
        """Names of the queues that a restart of the broker leaves there: durable ones, with any
        other arguments, that no connection has for itself. Raises ``BrokerAway``.
        """
        workspace = self._open_workspace()
        found = await workspace.broker.queues_last_reported(workspace.vhost)
        return {q["name"] for q in found if q["durable"] and not q["exclusive"]}

    async def queues_last_reported(self) -> pd.DataFrame:
        """The table of ``queues``, at once: a quorum queue reports its counts now and then, and
        each row is of the last time. For those who look often. Raises ``BrokerAway``.
        """
        workspace = self._open_workspace()
        return await queues.last_reported(workspace.broker, workspace.vhost)

    async def topology(self) -> Topology:
        """The broker's exchanges, queues, bindings, consumers and dead-letter routes of now: a
        picture in a notebook, and a line for each arrow as text. Consumers are as old as the
        broker's last count, a second in a lab.

        Raises ``BrokerAway``.
        """
        workspace = self._open_workspace()
        return await topology.topology(workspace.broker, workspace.vhost)

    async def watch_queues(self, seconds: float = 30.0, *, rates: bool = True) -> None:
        """The table of ``queues``, refreshed about every second; interrupt it to end it sooner.

        The last one stays.
        """
        workspace = self._open_workspace()
        watched = queues.watched(workspace.broker, workspace.vhost, with_rates=rates)
        end = time.monotonic() + seconds
        with Live(workspace.vhost) as live:
            async with aclosing(watched):
                async for table in watched:
                    live.show(table)
                    if time.monotonic() >= end:
                        break

    async def peek(self, queue: str, count: int = 5) -> pd.DataFrame:
        """One row for each of the queue's first messages that are ready, by its position from 1.

        Columns: ``redelivered`` (bool); ``message_id``, ``correlation_id``, ``reply_to``,
        ``attempt``, ``reason`` (object, None if not given); ``size`` of the body in bytes (Int64);
        and the ``body`` without anything that could be a secret, shortened.

        The messages stay where they are, in their order. In a classic queue they are
        ``redelivered`` from then on. A quorum queue would count a look as a delivery, so there
        we look as RabbitMQ's own tool does: up to 100 messages, the first 64 bytes of each body,
        no ``size``.
        While a worker takes messages, it is what one could see.

        Raises ``NoSuchQueue``, with the names that there are, ``BadSelection``, ``CannotLook``,
        ``QueueInUse`` while another operator has it, and ``BrokerAway``.
        """
        workspace = self._open_workspace()
        return await peek.look(
            workspace.broker, workspace.vhost, workspace.amqp_url, workspace.tools, queue, count
        )

    async def rows(self, table: str) -> pd.DataFrame:
        """All rows of one of the lab's tables, by their first column; columns as PostgreSQL has
        them, times in UTC. Raises ``NoSuchTable``.
        """
        return await database.rows(self._open_workspace().database_url, table)

    def workers(self) -> pd.DataFrame:
        """One row for each of the server's processes in this lab, by its name.

        Columns: ``transport`` (str: ``RabbitMQ`` or ``REST``), ``alive`` (bool), ``started``
        (datetime64[us, UTC]). Those that were stopped in order are not there any more.
        """
        return self._open_workspace().workers.table()

    def log(self) -> pd.DataFrame:
        """What the workers logged, also those that have ended: one row for each request, by time.

        Columns: ``time`` (UTC, ISO 8601), ``worker``, ``id``, ``version``, ``action``, ``attempt``
        (from 1), ``outcome`` (``ok``, the error's code, or ``retry_scheduled``), ``replayed``, and
        ``ms``, the milliseconds from its delivery to its reply.
        """
        lines = [
            {"worker": worker, **event}
            for worker, log in self.worker_logs.items()
            for event in events([log])
            if event.get("event") == REQUEST
        ]
        table = pd.DataFrame(lines, columns=["time", "worker", *REQUEST_FIELDS])
        return table.sort_values("time", ignore_index=True)

    @property
    def worker_logs(self) -> dict[str, Path]:
        """Name → log of each worker that was started since the lab was opened."""
        return self._open_workspace().workers.logs

    @property
    def limits(self) -> set[Limits]:
        """Those of every worker that was started since the lab was opened: of one lab, mostly all
        have the same.
        """
        return self._open_workspace().workers.limits

    async def settle(self, within: float = 10.0) -> None:
        """Returns once every request is done: none waits, no worker holds one.

        Raises ``NotSettled`` (a ``TimeoutError``) after ``within`` seconds.
        """
        async with deadline.within(within, UNSETTLED):
            while await self._requests_left():  # noqa: ASYNC110  (nor does the broker)
                await asyncio.sleep(0.02)

    async def _requests_left(self) -> int:
        table = await self.queues()
        return int(table.loc[table.index.isin([REQUESTS]), ["ready", "unacked"]].sum().sum())
