"""``make demo``: the four basic examples, sent to the running lab.

Every write has an idempotency key, so the demo can be run any number of times: from the second
time on the replies are replays, and no book is doubled.
"""

import asyncio
import json
import sys
from typing import Any

from labkit import AsyncAPIClient, Reply
from labkit.services.environment import lab_environment
from labkit.services.errors import LabNotRunning
from server.contract.errors import ApiError, from_wire

BOOK = {"title": "1984", "author": "George Orwell", "year": 1949, "isbn": "978-0451524935"}
AUTHOR = {"name": "J.K. Rowling", "birth_year": 1965, "country": "UK"}
FANTASY = {"title": "Harry Potter and the Philosopher's Stone", "genre": "Fantasy", "year": 1997}


async def demo(client: AsyncAPIClient) -> None:
    """Raises the ``ApiError`` of the first reply that is none."""
    _title("1. Create a book (v1)")
    first = await _show(client, "create_book", "v1", BOOK, "create-1984-v1")

    _title("2. Idempotency: the same key again")
    again = await _show(client, "create_book", "v1", BOOK, "create-1984-v1")
    same = first.data == again.data
    _say(f"The same id {again.data['id']}, no second book." if same else "NOT the same reply!")

    _title("3. Create an author (v2)")
    author = (await _show(client, "create_author", "v2", AUTHOR, "create-rowling-v2")).data

    _title("4. Filter by genre")
    book = FANTASY | {"author_id": author["id"]}
    await client.call("create_book", book, version="v2", idempotency_key="create-stone-v2")
    await _show(client, "get_books", "v2", {"genre": "Fantasy"})


async def _show(
    client: AsyncAPIClient, action: str, version: str, data: dict[str, Any], key: str | None = None
) -> Reply:
    request = {"action": action, "version": version, "data": data}
    _say(_json(request | ({"idempotency_key": key} if key else {})))
    reply = await client.request(action, data, version=version, idempotency_key=key)
    if reply.error is not None:
        raise from_wire(reply.error)
    _say("replayed reply:" if reply.replayed else "reply:")
    _say(_json({"status": reply.status, "data": reply.data}))
    return reply


def _title(text: str) -> None:
    _say(f"\n{text}\n{'─' * len(text)}")


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


async def main() -> None:
    try:
        environment = lab_environment()
        async with AsyncAPIClient(environment["AMQP_URL"], environment["API_KEY"]) as client:
            await demo(client)
    except (ApiError, LabNotRunning) as error:
        sys.exit(f"\nThe demo stops here: {error}")


if __name__ == "__main__":
    asyncio.run(main())
