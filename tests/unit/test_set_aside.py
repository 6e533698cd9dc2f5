"""What a request that is set aside takes along, and what not."""

from typing import Any

import aio_pika

from server.contract.headers import ATTEMPT, FAILURES, ON_BEHALF_OF, REPLAYS, WAITING_SINCE
from server.contract.lane import Delivered
from server.contract.properties import Properties
from server.settings import Settings
from server.transports.amqp.delivery import LARGEST_HEADERS, Delivery
from server.transports.amqp.retry import Retries

SETTINGS = Settings(amqp_url="amqp://server@localhost", database_url="postgres://")
FAILED = [{"attempt": 1, "code": "unavailable", "error": "away", "at": "2026-01-01T00:00:00Z"}]
OURS = {ATTEMPT: 2, REPLAYS: 1, ON_BEHALF_OF: "user 7"}
LARGE = {"trace": "x" * LARGEST_HEADERS}


def delivery(headers: dict[str, Any], user: str | None = "server") -> Delivery:
    properties = Properties(headers=headers, user_id=user, message_id="1")
    return Delivery(Delivered(None, 1, False, properties, b"{}"), "server")  # type: ignore[arg-type]


class Kept:
    """In place of a publisher: the messages."""

    def __init__(self) -> None:
        self.copies: list[aio_pika.Message] = []

    async def publish(self, copy: aio_pika.Message, queue: str) -> None:
        self.copies.append(copy)


async def test_a_request_that_is_postponed_keeps_its_attempts_and_their_failures() -> None:
    kept = Kept()
    retries = Retries(kept, SETTINGS)  # type: ignore[arg-type]
    await retries.postpone(delivery(OURS | {FAILURES: FAILED}))
    (copy,) = kept.copies
    assert {name: copy.headers[name] for name in OURS} == OURS
    assert copy.headers[FAILURES] == FAILED
    assert WAITING_SINCE in copy.headers


def test_large_headers_of_a_client_do_not_cost_ours() -> None:
    assert delivery(OURS | LARGE).headers == OURS


def test_of_a_stranger_nothing_signed_is_kept_and_nothing_large() -> None:
    assert delivery(OURS | {"trace": "t"}, user=None).headers == {"trace": "t"}
    assert delivery(OURS | LARGE, user="client").headers == {}
