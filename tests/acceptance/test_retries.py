"""What is transient is tried again, a bounded number of times, and then parked."""

import json
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from server.application.dispatcher import Dispatcher
from server.contract.envelope import Reply, Request
from server.contract.errors import Unavailable
from server.contract.topology import DEAD_LETTERS
from server.settings import Settings
from tests.support import BOOK, wire, worker_here


class Failing(Dispatcher):
    """Raises ``error`` for the first ``times`` attempts of each request."""

    def __init__(self, dispatcher: Dispatcher, error: Exception, times: int) -> None:
        super().__init__(dispatcher.database)
        self._dispatcher = dispatcher
        self._error = error
        self._times = times
        self.attempts: Counter[str] = Counter()

    async def execute(self, request: Request, **circumstances: Any) -> Reply:
        self.attempts[request.id] += 1
        if self.attempts[request.id] <= self._times:
            raise self._error
        return await self._dispatcher.execute(request)


@pytest.mark.parametrize("error", [Unavailable(), ZeroDivisionError("a bug")])
async def test_a_request_that_fails_and_then_succeeds_is_answered_once(
    settings: Settings, dispatcher: Dispatcher, error: Exception
) -> None:
    failing = Failing(dispatcher, error, times=2)
    async with worker_here(settings, failing), wire(settings) as client:
        assert (await client.ask(client.body("create_book", BOOK, id="1")))["status"] == "ok"
        assert failing.attempts["1"] == 3
        assert await client.depth(DEAD_LETTERS) == 0


@pytest.mark.parametrize(
    ("error", "code"), [(Unavailable(), "unavailable"), (ZeroDivisionError("a bug"), "internal")]
)
async def test_after_the_last_attempt_it_is_parked_with_its_history(
    settings: Settings, dispatcher: Dispatcher, error: Exception, code: str
) -> None:
    failing = Failing(dispatcher, error, times=99)
    async with worker_here(settings, failing), wire(settings) as client:
        reply = await client.ask(client.body("create_book", BOOK, id="1"), expiration=60)
        assert reply["error"]["code"] == code
        parked = await client.dead_letter()
    assert failing.attempts["1"] == settings.max_attempts == 3
    assert parked.headers["x-reason"] == code
    failures: Any = parked.headers["x-failures"]
    assert [failure["attempt"] for failure in failures] == [1, 2, 3]
    assert parked.expiration is None
    assert json.loads(parked.body)["data"] == BOOK
    assert settings.api_key not in parked.body.decode()


async def test_each_attempt_waits_for_the_delay_that_belongs_to_it(
    settings: Settings, dispatcher: Dispatcher
) -> None:
    growing = settings.model_copy(update={"retry_delays": (0.05, 1.0)})
    failing = Failing(dispatcher, Unavailable(), times=99)
    async with worker_here(growing, failing), wire(growing) as client:
        await client.send(client.body("create_book", BOOK))
        failures: Any = (await client.dead_letter()).headers["x-failures"]
    first, second, third = (datetime.fromisoformat(failure["at"]) for failure in failures)
    assert (third - second).total_seconds() >= 1.0
    assert second - first < third - second
