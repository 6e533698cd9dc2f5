"""An address of a broker may name several, the nodes of one cluster, each whole:

    amqp://user:password@one:5672/library,amqp://user:password@two:5672/library

So may the address of the management API. Who connects takes the first that lets them in. They are
one broker: the same queues, users and virtual hosts, so what the first address says of user and
virtual host is true of all.
"""

import re
from collections.abc import Awaitable, Callable
from typing import TypeVar

BETWEEN = re.compile(r",\s*(?=(?:amqp|http)s?://)")
"""A password may have a comma, too."""

T = TypeVar("T")

_latest: dict[str, str] = {}
"""Address → the broker of it that let us in the last time. One that is frozen costs the whole time
for connecting, so it is not asked first again and again."""


def each(amqp_url: str) -> list[str]:
    """The brokers that this address names, in its order."""
    return [address.strip() for address in BETWEEN.split(amqp_url)]


def first(amqp_url: str) -> str:
    return each(amqp_url)[0]


def are_several(amqp_url: str) -> bool:
    """Whether there are others to go to."""
    return len(each(amqp_url)) > 1


async def connected(amqp_url: str, connect: Callable[[str], Awaitable[T]]) -> T:
    """What ``connect`` returns for the first broker that it succeeds with, beginning with that of
    the last time. Raises what it raises for the last one that was tried.
    """
    errors: list[Exception] = []
    for broker in sorted(each(amqp_url), key=lambda broker: broker != _latest.get(amqp_url)):
        try:
            connection = await connect(broker)
        except Exception as error:  # aiormq raises all kinds
            errors.append(error)
        else:
            _latest[amqp_url] = broker
            return connection
    raise errors[-1]
