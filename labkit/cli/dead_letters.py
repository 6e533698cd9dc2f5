"""the dead letter queue: list, groups, show, replay, edit, aside, archive, restore, purge"""

import argparse
import json
from collections.abc import Awaitable, Callable
from typing import Any

from labkit.cli.output import say, show
from labkit.dead_letters import DeadLetters, Letter
from labkit.errors import BadSelection
from labkit.place import Place
from server.contract.topology import DEAD_LETTERS, SET_ASIDE

NOTHING = "No dead letter matches."
SELECTED = ("error", "action", "version", "ids", "since", "replays", "number", "unreadable")
_OTHER = f"another one that holds letters, {SET_ASIDE}"
MOST = 1000
"""Rows that are printed; counting more of them is what `groups` is for."""

Do = Callable[[DeadLetters, argparse.Namespace], Awaitable[None]]


def arguments(parser: argparse.ArgumentParser) -> None:
    which = _selection()
    parser.add_argument("--queue", dest="letters_of", default=DEAD_LETTERS, help=_OTHER)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, do: Do, text: str, **options: Any) -> argparse.ArgumentParser:
        its = commands.add_parser(name, help=text, description=text, **options)
        its.set_defaults(do=do)
        return its

    command("list", _list, "one line for each letter", parents=[which])
    command("groups", _groups, "how many of each error and action", parents=[which])
    _one(command("show", _show, "one letter, whole, with its history"))
    replay = command(
        "replay", _replay, "send letters again, on behalf of their senders", parents=[which]
    )
    replay.add_argument("--rate", type=float, help="at most this many letters a second")
    replay.add_argument(
        "--dry-run", action="store_true", help="only show which letters would be sent"
    )
    replay.add_argument(
        "--to", metavar="QUEUE", help="send to this queue instead of the original one"
    )
    edit = command("edit", _edit, "send one with other data, as a new request")
    _one(edit)
    edit.add_argument("--data", type=_json, help="all of it, as JSON")
    edit.add_argument("--action")
    edit.add_argument("--version")
    text = f"move letters into {SET_ASIDE}, out of the way"
    command("aside", _aside, text, parents=[which])
    archive = command("archive", _archive, "move letters into a new file", parents=[which])
    archive.add_argument("path", metavar="FILE")
    command("restore", _restore, "put a file's letters back").add_argument("path", metavar="FILE")
    purge = command("purge", _purge, "delete letters for ever", parents=[which])
    purge.add_argument(
        "name", nargs="?", default="", help="the name of the queue, as a confirmation"
    )


async def run(place: Place, options: argparse.Namespace) -> None:
    do: Do = options.do
    await do(DeadLetters(place.amqp_url, place.api_key, queue=options.letters_of), options)


def _selection() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False)
    which = parser.add_argument_group("which letters", "without any of these: all")
    which.add_argument("--error", action="append", help="such as unavailable; may be repeated")
    which.add_argument("--action", action="append", help="such as create_book; may be repeated")
    which.add_argument("--version", action="append")
    which.add_argument("--id", action="append", dest="ids")
    which.add_argument("--since", help="a time (UTC), or how long ago: 90s, 10m, 2h, 7d")
    which.add_argument("--replays", type=int, help="replayed exactly this many times; 0: never")
    which.add_argument("--number", type=int, action="append", help="its place in the list")
    text = "only what cannot be decoded"
    which.add_argument("--unreadable", action="store_const", const=True, help=text)
    return parser


def _one(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("id", nargs="?", help="of the letter's request")
    which.add_argument("--number", type=int, help="its place in the list")


def _json(text: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"this is no JSON: {error}") from error
    if not isinstance(data, dict):
        raise argparse.ArgumentTypeError('give an object, {"title": "1984"}')
    return data


def _selected(options: argparse.Namespace) -> dict[str, Any]:
    return {name: getattr(options, name) for name in SELECTED}


async def _list(dead: DeadLetters, options: argparse.Namespace) -> None:
    table = await dead.list(**_selected(options))
    show(table.head(MOST), nothing=NOTHING)
    if len(table) > MOST:
        say(f"… {len(table) - MOST:,} more: select some, or count them with `groups`.")


async def _groups(dead: DeadLetters, options: argparse.Namespace) -> None:
    show(await dead.groups(**_selected(options)), nothing=NOTHING)


async def _show(dead: DeadLetters, options: argparse.Namespace) -> None:
    letter: Letter = await dead.show(options.id, number=options.number)
    say(repr(letter))


async def _replay(dead: DeadLetters, options: argparse.Namespace) -> None:
    how = {"rate": options.rate, "dry_run": options.dry_run, "to": options.to}
    table = await dead.replay(**_selected(options), **how)
    show(table.head(MOST), nothing=NOTHING)
    if len(table):
        say("\n" + table.groupby(["outcome", "letter"]).size().to_string())


async def _edit(dead: DeadLetters, options: argparse.Namespace) -> None:
    changes = {"data": options.data, "action": options.action, "version": options.version}
    reply = await dead.edit(options.id, number=options.number, **changes)
    say(json.dumps(reply.data if reply.error is None else reply.error, ensure_ascii=False))
    if reply.error is not None:
        raise BadSelection("It was refused: the letter stays as it was.")


async def _aside(dead: DeadLetters, options: argparse.Namespace) -> None:
    count = await dead.set_aside(**_selected(options))
    say(f"{count:,} letters are in {SET_ASIDE} now: look at them with --queue {SET_ASIDE}.")


async def _archive(dead: DeadLetters, options: argparse.Namespace) -> None:
    count = await dead.archive(options.path, **_selected(options))
    say(f"{count:,} letters are in {options.path} now, and not in {options.letters_of} any more.")


async def _restore(dead: DeadLetters, options: argparse.Namespace) -> None:
    count = await dead.restore(options.path)
    say(f"{count:,} letters are in {options.letters_of} again; {options.path} stays.")


async def _purge(dead: DeadLetters, options: argparse.Namespace) -> None:
    count = await dead.purge(options.name, **_selected(options))
    say(f"{count:,} letters are gone for ever.")
