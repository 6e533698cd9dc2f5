"""how much is in each queue"""

import argparse

from labkit.broker import Broker
from labkit.commands.output import show
from labkit.place import Place
from labkit.queues import queues


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", action="store_true", help="messages a second, too")
    parser.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")


async def run(place: Place, options: argparse.Namespace) -> None:
    async with Broker(place.management_url) as broker:
        show(await queues(broker, place.vhost), nothing=f"{place.vhost} has no queues.")
