"""how much is in each queue, and how fast it goes through"""

import argparse

from labkit.broker.management import Broker
from labkit.broker.queues import measured, queues, watched
from labkit.cli.output import show
from labkit.place import Place
from labkit.ui.live import Live


def arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--rates", action="store_true", help="messages a second, too")
    parser.add_argument("--watch", action="store_true", help="again and again, until Ctrl-C")


async def run(place: Place, options: argparse.Namespace) -> None:
    async with Broker(place.management_url) as broker:
        if options.watch:
            await _watch(broker, place.vhost, options.rates)
        else:
            look = measured if options.rates else queues
            show(await look(broker, place.vhost), nothing=f"{place.vhost} has no queues.")


async def _watch(broker: Broker, vhost: str, rates: bool) -> None:
    live = Live(f"{vhost}, until Ctrl-C")
    async for table in watched(broker, vhost, with_rates=rates):
        live.show(table)
