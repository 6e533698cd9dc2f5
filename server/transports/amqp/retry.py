"""Requests that are worked on later: a copy waits in ``api.retry.<delay>`` until it expires.

The broker then dead-letters it back to ``api.requests``. The copy is as the request came, with its
key: it has to be authenticated again.
"""

from typing import Any

from server.contract import topology
from server.contract.errors import ApiError
from server.contract.headers import ATTEMPT, FAILURES, REDELIVERED, WAITING_SINCE
from server.settings import Settings
from server.transports.amqp.confirmed import ConfirmedPublisher
from server.transports.amqp.delivery import Delivery, copy_id, failures_with, persistent


class Retries:
    """Schedules requests over ``publisher``, which is borrowed."""

    def __init__(self, publisher: ConfirmedPublisher, settings: Settings) -> None:
        self._publisher = publisher
        self._settings = settings

    def are_used_up(self, delivery: Delivery) -> bool:
        return delivery.attempt >= self._settings.max_attempts

    async def schedule(self, delivery: Delivery, error: ApiError) -> None:
        """The request's next attempt, after the delay that belongs to it."""
        delay = self._settings.retry_delays[delivery.attempt - 1]
        failed = {ATTEMPT: delivery.attempt + 1, FAILURES: failures_with(delivery, error)}
        await self._publish(delivery, delay, failed)

    async def postpone(self, delivery: Delivery) -> None:
        """The same attempt a little later, and its place here for another request."""
        since = round(delivery.waiting_since * 1000)
        waiting = {
            WAITING_SINCE: since,
            REDELIVERED: delivery.is_redelivered,
            FAILURES: delivery.failures or None,
        }
        await self._publish(delivery, self._settings.retry_delays[0], waiting)

    async def _publish(self, delivery: Delivery, delay: float, headers: dict[str, Any]) -> None:
        queue = topology.retry(delay, self._settings).name
        copy = persistent(
            delivery, delivery.message.body, copy_id(delivery, queue), delivery.headers | headers
        )
        await self._publisher.publish(copy, queue)
