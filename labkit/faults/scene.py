"""Where faults happen: one lab, as far as they reach into it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from labkit.broker.management import Broker
from labkit.faults.at_step.plan import Plan
from labkit.faults.network.proxy import Proxy
from labkit.services.home import Home
from labkit.services.process import Process


class RunningWorkers(Protocol):
    """The workers of one lab, whichever process started them."""

    @property
    def processes(self) -> Sequence[Process]: ...

    @property
    def obedient(self) -> bool:
        """Whether any of them obeys a plan of faults."""


@dataclass(frozen=True)
class Scene:
    """All is borrowed. ``home`` is None, and ``proxies`` empty, unless the lab is private."""

    workers: RunningWorkers
    broker: Broker
    vhost: str
    amqp_url: str = field(repr=False)
    database_url: str = field(repr=False)
    users: Mapping[str, str]
    """``worker`` or ``client`` → what the broker calls that user."""
    plan: Plan
    """The orders to the workers."""
    home: Home | None
    proxies: Mapping[str, Proxy]
    """By the name of the link."""
