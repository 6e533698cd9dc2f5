"""The scene of a lab that another process has open: a notebook's, for a command in a terminal."""

from pathlib import Path

from labkit.broker.management import Broker
from labkit.errors import FaultImpossible
from labkit.faults.at_step.plan import Plan
from labkit.faults.scene import Scene
from labkit.place import Place
from labkit.services.environment import lab_environment
from labkit.workers import Found
from server.contract.vouching import user_of

PREFIX = "lab-"
"""Of the virtual hosts of notebooks."""


def elsewhere(place: Place, home: Path, broker: Broker) -> Scene:
    """Its orders are added to those of the open lab. Raises ``FaultImpossible`` if it never was."""
    environment = lab_environment()
    urls = {"client": environment["AMQP_URL"], "worker": environment["SERVER_AMQP_URL"]}
    return Scene(
        Found(place.vhost.removeprefix(PREFIX), home / ".lab" / "run"),
        broker,
        place.vhost,
        place.amqp_url,
        place.database_url,
        users={who: user_of(url) for who, url in urls.items()},
        plan=_plan(home, place.vhost),
        home=None,
        proxies={},
    )


def _plan(home: Path, vhost: str) -> Plan:
    plan = Plan.of_lab(home, vhost)
    if not vhost.startswith(PREFIX) or not plan.folder.is_dir():
        opened = sorted(folder.name for folder in plan.folder.parent.glob(f"{PREFIX}*"))
        raise FaultImpossible(
            f"{vhost} is no lab that was opened here. Name one with --vhost: "
            f"{', '.join(opened) or 'none'}."
        )
    return plan
