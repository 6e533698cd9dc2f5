"""Where faults happen: one lab, as far as they reach into it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from labkit.broker import Broker
from labkit.faults.proxy import Proxy
from labkit.services import Home
from labkit.workers import Workers


@dataclass(frozen=True)
class Scene:
    """Everything is lent. ``home`` is None, and ``proxies`` empty, unless the lab is private."""

    workers: Workers
    broker: Broker
    vhost: str
    amqp_url: str = field(repr=False)
    database_url: str = field(repr=False)
    users: Mapping[str, str]
    """``worker`` or ``client`` → what the broker calls that user."""
    plan: Path
    """The folder with the orders to the workers."""
    home: Home | None
    proxies: Mapping[str, Proxy]
    """By the name of the link."""
