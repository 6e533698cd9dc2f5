"""Where the story of a request comes from: the parts of one lab that saw something of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from labkit.broker.management import Broker
from labkit.faults.fault import Fault


@dataclass(frozen=True)
class Sources:
    """All is borrowed."""

    broker: Broker
    vhost: str
    amqp_url: str = field(repr=False)
    database_url: str = field(repr=False)
    folder: Path
    """Where workers report their steps."""
    workers: Mapping[int, str]
    """A process's id → its name, of all that were ever started."""
    faults: Callable[[], Sequence[Fault]]
    """Those that have begun by now."""
