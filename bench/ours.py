"""A client of the Library API under load: `python -m bench.ours amqp|rest ACTION …`, where … is as
for the peers, `closed IN_FLIGHT SECONDS` or `open RATE SECONDS`.
"""

import os
import sys
from typing import Any

import uvloop

from bench.peers import load
from labkit.client.amqp import AsyncAPIClient
from labkit.client.caller import Caller
from labkit.client.rest import RestClient

DATA: dict[str, dict[str, Any]] = {
    "ping": {},
    "create_book": load.BOOK,
    "get_books": {"genre": "Genre 7", "limit": 10},
}
VERSION = {"get_books": "v2"}
TIMEOUT = 60.0


def _caller(transport: str) -> Caller:
    if transport == "amqp":
        return AsyncAPIClient(os.environ["AMQP_URL"], os.environ["API_KEY"], timeout=TIMEOUT)
    return RestClient(os.environ["REST_URL"], os.environ["API_KEY"], timeout=TIMEOUT)


async def main() -> None:
    transport, action = sys.argv[1:3]
    data, version = DATA[action], VERSION.get(action, "v1")
    async with _caller(transport) as client:
        await load.run(lambda name: client.call(action, data, version=version))


if __name__ == "__main__":
    uvloop.run(main())
