"""What an open lab is made of: its virtual host and database, its workers, its faults."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from labkit import database
from labkit.broker.management import Broker
from labkit.closing import close_all
from labkit.errors import NoManagement
from labkit.faults.at_step.plan import ENVIRONMENT, Plan
from labkit.faults.faults import Faults
from labkit.faults.scene import Scene
from labkit.occupancy import Occupancy
from labkit.place import with_path
from labkit.private import Grounds
from labkit.services.broker_tools import BrokerTools
from labkit.services.environment import ROOT
from labkit.services.permissions import granted
from labkit.workers import OBEDIENT, RIGHT, Workers
from server.contract.vouching import user_of

LAB_RATE_LIMIT = 1_000_000
"""Requests a second. In a lab one key does everything: no lesson is to meet the limit by chance."""


@dataclass(frozen=True)
class Workspace:
    """Of the lab ``name``, on the services of ``grounds``, which it closes."""

    vhost: str
    grounds: Grounds
    broker: Broker
    workers: Workers
    faults: Faults
    plan: Plan
    occupancy: Occupancy
    tools: BrokerTools | None
    """None if the broker is not a private one of this machine."""

    @classmethod
    def on(
        cls,
        grounds: Grounds,
        name: str,
        settings: Mapping[str, str],
        occupancy: Occupancy,
        *,
        obedient: bool,
        supervised: bool,
        seed: int,
    ) -> Self:
        """``settings`` are environment variables of its workers. Nothing is started yet."""
        vhost = f"lab-{name}"
        if "MANAGEMENT_URL" not in grounds.environment:
            raise NoManagement
        broker = Broker(grounds.environment["MANAGEMENT_URL"])
        plan = Plan.of_lab(ROOT, vhost)
        workers = Workers(
            name,
            {**_environment(grounds, vhost, plan), **settings},
            ROOT,
            OBEDIENT if obedient else RIGHT,
            supervised=supervised,
        )
        faults = Faults(_scene(grounds, vhost, broker, workers, plan), seed)
        tools = BrokerTools.of(grounds.environment, _amqp_url(grounds, vhost))
        return cls(vhost, grounds, broker, workers, faults, plan, occupancy, tools)

    @property
    def amqp_url(self) -> str:
        """For the broker's user who may do everything in this virtual host."""
        return _amqp_url(self.grounds, self.vhost)

    @property
    def client_amqp_url(self) -> str:
        """For the user who may send requests and read their own replies."""
        return with_path(self.grounds.client_amqp_url, self.vhost)

    @property
    def database_url(self) -> str:
        return _database_url(self.grounds, self.vhost)

    async def begin(self, *, keep: bool) -> None:
        """No workers, and no faults; and unless it is to ``keep`` them, nothing of the rows and
        messages that an earlier run of the same name left behind.
        """
        self.plan.clear()
        await self.workers.stop()
        if not keep:
            environment = self.grounds.environment
            await self.broker.delete_vhost(self.vhost)
            await self.broker.create_vhost(self.vhost, granted(environment))
            await database.create(environment["DATABASE_URL"], self.vhost)

    async def require_services(self) -> None:
        """Raises ``BrokerAway`` or ``DatabaseAway``."""
        await self.broker.queues_last_reported(self.vhost)
        await (await database.connect(self.database_url)).close()

    async def undo(self) -> None:
        """Heal every fault. Not where a close was before: it would start services that ended; and
        not in a lab that others have taken over.
        """
        if not self.grounds.closed and self.occupancy.ours:
            await self.faults.undo()

    async def close(self) -> None:
        await close_all(self._stop_workers, self.broker.close, self.grounds.close)
        self.occupancy.end()

    async def _stop_workers(self) -> None:
        if self.occupancy.ours:
            await self.workers.stop()


def _amqp_url(grounds: Grounds, vhost: str) -> str:
    return with_path(grounds.environment["ADMIN_AMQP_URL"], vhost)


def _database_url(grounds: Grounds, vhost: str) -> str:
    return with_path(grounds.environment["DATABASE_URL"], vhost)


def _environment(grounds: Grounds, vhost: str, plan: Plan) -> dict[str, str]:
    return {
        "AMQP_URL": with_path(grounds.worker_amqp_url, vhost),
        "DATABASE_URL": with_path(grounds.worker_database_url, vhost),
        "API_KEY": grounds.environment["API_KEY"],
        "RATE_LIMIT": str(LAB_RATE_LIMIT),
        ENVIRONMENT: str(plan.folder),
        "CLUSTERED": str(grounds.is_cluster),
    }


def _scene(grounds: Grounds, vhost: str, broker: Broker, workers: Workers, plan: Plan) -> Scene:
    urls = {"client": grounds.client_amqp_url, "worker": grounds.worker_amqp_url}
    return Scene(
        workers,
        broker,
        vhost,
        _amqp_url(grounds, vhost),
        _database_url(grounds, vhost),
        users={who: user_of(url) for who, url in urls.items()},
        plan=plan,
        home=grounds.home,
        proxies=grounds.proxies,
    )
