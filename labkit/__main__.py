"""``python -m labkit COMMAND``: the lab's tools, for a terminal.

    python3 -m labkit.launcher run -- python -m labkit queues --watch

They work on the running lab's own virtual host, or with ``--vhost lab-06`` on a notebook's.
"""

import argparse
import asyncio
import os
import sys

try:
    from labkit.cli import (
        Command,
        FreeCommand,
        dead_letters,
        faults,
        ledger,
        peek,
        progress,
        queues,
        renew,
    )
except ModuleNotFoundError as missing:
    sys.exit(
        f"{missing}. This Python is not the lab's own, which `make up` makes: run "
        "`.venv/bin/python -m labkit …`."
    )
from labkit.broker.management import Broker
from labkit.errors import NoSuchVhost
from labkit.place import Place
from labkit.services.environment import lab_environment
from labkit.services.errors import ServiceError
from labkit.ui.printable import printable_lines
from server.contract.errors import ApiError

COMMANDS: dict[str, Command] = {
    "queues": queues,
    "peek": peek,
    "dead-letters": dead_letters,
    "faults": faults,
}
FREE: dict[str, FreeCommand] = {"ledger": ledger, "progress": progress, "renew": renew}
"""Those that need no running lab."""


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0, or 1 after an error was printed."""
    where = _where()
    place, rest = where.parse_known_args(arguments)
    options = _parser(where).parse_args(rest)
    try:
        asyncio.run(_run(place.vhost, options))
    except (ApiError, ServiceError) as error:
        sys.stderr.write(f"{printable_lines(str(error))}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


async def _run(vhost: str | None, options: argparse.Namespace) -> None:
    if options.command in FREE:
        await options.run(options)
        return
    place = Place.of(lab_environment(), vhost)
    if vhost is not None and place.management is not None:
        await _require(place)
    await options.run(place, options)


async def _require(place: Place) -> None:
    """Raises ``NoSuchVhost``, with the names of those that there are."""
    async with Broker(place.management_url) as broker:
        names = await broker.vhosts()
    if place.vhost not in names:
        raise NoSuchVhost(
            f"The broker has no virtual host {place.vhost!r}; it has: {', '.join(sorted(names))}. "
            "A notebook's is there once the notebook has opened its lab."
        )


def _where() -> argparse.ArgumentParser:
    """What may be written anywhere in the line."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--vhost", help="such as lab-06; without it the running lab's own")
    return parser


def _parser(where: argparse.ArgumentParser) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m labkit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[where],
    )
    names = parser.add_subparsers(required=True, dest="command", metavar="COMMAND")
    for name, command in (COMMANDS | FREE).items():
        text = (command.__doc__ or "").partition("\n")[0]
        its = names.add_parser(name, help=text, description=text)
        its.set_defaults(run=command.run)
        command.arguments(its)
    return parser


if __name__ == "__main__":
    sys.exit(main())
