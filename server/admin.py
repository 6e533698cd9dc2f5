"""``python -m server.admin``: users and API keys, for the operator of the server.

    users add NAME [--role librarian] [--password]    users list
    keys make NAME [--label LABEL]                    keys list    keys revoke ID

It works on the database of DATABASE_URL, whether a server runs or not.
"""

import argparse
import asyncio
import getpass
import os
import sys
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from server.contract.errors import ApiError
from server.persistence.database import Database
from server.security import accounts, principal_cache
from server.security.principal import Role
from server.settings import Settings

Command = Callable[[AsyncConnection, argparse.Namespace], Awaitable[str]]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    # Nothing here speaks to a broker.
    settings = Settings.from_env({"AMQP_URL": "amqp://unused", **os.environ})
    try:
        sys.stdout.write(asyncio.run(_run(settings, options)) + "\n")
    except ApiError as error:
        sys.exit(str(error))


async def _run(settings: Settings, options: argparse.Namespace) -> str:
    database = Database(settings)
    try:
        await database.create_tables()
        async with database.transaction() as connection:
            command: Command = options.command
            done = await command(connection, options)
        if command is _revoke_key:  # it is said once no server takes the key any more
            await asyncio.sleep(principal_cache.LASTS)
        return done
    finally:
        await database.close()


async def _add_user(connection: AsyncConnection, options: argparse.Namespace) -> str:
    password = _ask_password() if options.password else None
    user_id = await accounts.add_user(connection, options.name, options.role, password)
    return f"user {user_id}: {options.name}, {options.role}"


async def _list_users(connection: AsyncConnection, options: argparse.Namespace) -> str:
    header = ("id", "name", "role", "password", "since")
    return _table(header, await accounts.list_users(connection))


async def _make_key(connection: AsyncConnection, options: argparse.Namespace) -> str:
    key = await accounts.make_key(connection, options.name, options.label)
    return f"{key}\nThis is the only time it is shown: the server keeps its digest."


async def _list_keys(connection: AsyncConnection, options: argparse.Namespace) -> str:
    header = ("id", "user", "label", "since", "revoked")
    return _table(header, await accounts.list_keys(connection))


async def _revoke_key(connection: AsyncConnection, options: argparse.Namespace) -> str:
    await accounts.revoke_key(connection, options.id)
    return f"key {options.id} is revoked"


def _ask_password() -> str:
    """From the terminal, or a line of standard input; never from the command line, which others
    can read.
    """
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\n")


def _table(header: tuple[str, ...], rows: Iterable[Iterable[Any]]) -> str:
    lines = [header, *(tuple("" if cell is None else str(cell) for cell in row) for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in lines
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m server.admin",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    things = parser.add_subparsers(required=True, metavar="users|keys")
    users = things.add_parser("users", help="who may call").add_subparsers(required=True)
    add = users.add_parser("add", help="a new user")
    add.add_argument("name")
    add.add_argument("--role", type=Role, choices=list(Role), default=Role.READER)
    add.add_argument("--password", action="store_true", help="ask for one, to log in with")
    add.set_defaults(command=_add_user)
    users.add_parser("list", help="all users").set_defaults(command=_list_users)
    keys = things.add_parser("keys", help="what they call with").add_subparsers(required=True)
    make = keys.add_parser("make", help="a new key, shown once")
    make.add_argument("name", help="whose it is")
    make.add_argument("--label", default="made by hand", help="what you call it")
    make.set_defaults(command=_make_key)
    keys.add_parser("list", help="all keys, without the keys").set_defaults(command=_list_keys)
    revoke = keys.add_parser("revoke", help="refuse a key from now on")
    revoke.add_argument("id", type=int)
    revoke.set_defaults(command=_revoke_key)
    return parser


if __name__ == "__main__":
    main()
