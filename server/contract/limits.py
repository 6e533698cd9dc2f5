"""How much, how many and how long: what of a server's settings the other side can notice."""

from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


def listed(text: object) -> object:
    """``RETRY_DELAYS=1,5,25`` in the environment is ``(1.0, 5.0, 25.0)`` here."""
    return text.split(",") if isinstance(text, str) else text


class Limits(BaseModel):
    """Times in seconds, sizes in bytes. Without arguments: those of a server with no settings."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    prefetch: int = Field(64, ge=1, le=65535)
    """Deliveries that one worker holds at a time: its concurrency, and what a crash redelivers."""
    pool_size: int = Field(10, ge=1)
    """Connections to the database."""
    commit_batch: int = Field(64, ge=1)
    """Writes that may share one transaction, and its wait for the disk; 1: none are shared."""
    max_body: int = Field(256 * 1024, ge=1024)
    """A request larger than this is refused unread."""
    max_queue_length: int = Field(100_000, ge=1)
    """Requests waiting in the queue before the broker refuses more of them. As many may wait for
    their next attempt, in all queues for that together."""
    delivery_limit: int = Field(5, ge=1)
    """Redeliveries of a message that kills its worker each time, before it is dead-lettered."""
    retry_delays: Annotated[tuple[float, ...], BeforeValidator(listed), Field(min_length=1)] = (
        1.0,
        5.0,
        25.0,
    )
    """Wait before the second, the third … attempt. After the last one: the dead letter queue."""
    lock_timeout: float = Field(2.0, gt=0)
    """How long a duplicate waits for the first request with its idempotency key."""
    key_retention: float = Field(30 * 24 * 3600.0, gt=0)
    """How long a stored reply is kept: longer than clients retry, and dead letters wait."""
    rate_limit: float = Field(10_000.0, gt=0)
    """Requests a second that one user may send to one worker in the long run, and twice as many at
    once; see ``security.rate_limit.Admission``."""
    clustered: bool = False
    """Whether the broker is a cluster: then dead letters are in a quorum queue, too, and no worker
    cancels a consumer that holds a message; see ``topology`` and ``transports.amqp.consumer``."""
    drain_timeout: float = Field(10.0, ge=0)
    """How long a stopping worker lets the requests it holds finish."""

    @property
    def max_attempts(self) -> int:
        """The first one, and one after each of the ``retry_delays``."""
        return len(self.retry_delays) + 1
