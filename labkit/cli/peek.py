"""look at the first messages of a queue, which stay where they are"""

import argparse

from labkit.broker import peek
from labkit.broker.management import Broker
from labkit.cli.output import show
from labkit.place import Place

MANY = f"how many (5): at most {peek.MOST}, in a quorum queue {peek.MOST_IN_QUORUM_QUEUES}"


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("queue", metavar="QUEUE", help="such as api.requests")
    parser.add_argument("-n", type=int, default=5, help=MANY)


async def run(place: Place, options: argparse.Namespace) -> None:
    async with Broker(place.management_url) as broker:
        found = await peek.look(
            broker, place.vhost, place.amqp_url, place.tools, options.queue, options.n
        )
    show(found, nothing=f"No message is ready in {options.queue}.")
