"""Configuration enters the server here, once."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from server.vouching import user_of

DEVELOPMENT_KEY = "supersecretapikey"
"""The key of the documentation: it works out of the box, so it protects nothing."""


def _listed(text: object) -> object:
    """``RETRY_DELAYS=1,5,25`` in the environment is ``(1.0, 5.0, 25.0)`` here."""
    return text.split(",") if isinstance(text, str) else text


class Settings(BaseModel):
    """What a server process has to know; times in seconds, sizes in bytes.

    Every field is read from the environment variable of the same name in capitals.
    """

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    amqp_url: str = Field(pattern="^amqps?://", repr=False)
    database_url: str = Field(pattern="^postgres(ql)?://", repr=False)
    api_key: str = Field(DEVELOPMENT_KEY, min_length=8, repr=False)

    prefetch: int = Field(64, ge=1, le=65535)
    """Deliveries that one worker holds at a time: its concurrency, and what a crash redelivers."""
    pool_size: int = Field(10, ge=1)
    """Connections to the database."""
    max_body: int = Field(256 * 1024, ge=1024)
    """A request larger than this is refused unread."""
    max_queue_length: int = Field(100_000, ge=1)
    """Requests waiting in the queue before the broker refuses more of them. As many may wait for
    their next attempt, in all queues for that together."""
    delivery_limit: int = Field(5, ge=1)
    """Redeliveries of a message that kills its worker each time, before it is dead-lettered."""
    retry_delays: Annotated[tuple[float, ...], BeforeValidator(_listed), Field(min_length=1)] = (
        1.0,
        5.0,
        25.0,
    )
    """Wait before the second, the third … attempt. After the last one: the dead letter queue."""
    lock_timeout: float = Field(2.0, gt=0)
    """How long a duplicate waits for the first request with its idempotency key."""
    key_retention: float = Field(30 * 24 * 3600.0, gt=0)
    """How long a stored reply is kept: longer than clients retry, and dead letters wait."""
    rate_limit: float = Field(500.0, gt=0)
    """Requests a second that one user may send to one worker in the long run, and twice as many at
    once; see ``rate_limit.Admission``."""
    drain_timeout: float = Field(10.0, ge=0)
    """How long a stopping worker lets the requests it holds finish."""
    rest_host: str = "127.0.0.1"
    rest_port: int = Field(8080, ge=0, le=65535)
    """Where the REST edge listens; port 0 is any free one, which its log then names."""
    rest_hosts: Annotated[tuple[str, ...], BeforeValidator(_listed)] = ()
    """Names under which the REST edge may be asked, beside localhost and ``rest_host``."""

    @property
    def amqp_user(self) -> str:
        """The broker's user that this process is."""
        return user_of(self.amqp_url)

    @property
    def max_attempts(self) -> int:
        return len(self.retry_delays) + 1

    @classmethod
    def from_env(cls, environ: Mapping[str, str]) -> "Settings":
        """Raises ``SystemExit`` with a sentence for each variable that is missing or unusable."""
        given = {name: environ.get(name.upper(), "").strip() for name in cls.model_fields}
        try:
            return cls.model_validate({name: text for name, text in given.items() if text})
        except ValidationError as error:
            raise SystemExit(_explain(error)) from None


def _explain(error: ValidationError) -> str:
    """One line per variable. It never repeats a value: URLs hold passwords."""
    lines = [f"{str(problem['loc'][0]).upper()}: {problem['msg']}" for problem in error.errors()]
    advice = "Start the lab with `make up`, then load its settings: `. .lab/lab.env`."
    return "\n".join(["The server cannot start.", *lines, advice])
