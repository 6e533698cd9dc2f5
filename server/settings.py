"""Configuration enters the server here, once."""

from collections.abc import Mapping
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from server.contract.brokers import each
from server.contract.limits import Limits, listed
from server.contract.vouching import user_of

DEVELOPMENT_KEY = "supersecretapikey"
"""The key of the documentation: it works out of the box, so it protects nothing."""


def _addresses(text: str) -> str:
    """One, or several of a cluster's nodes. The error repeats none of it: there is a password."""
    try:
        for address in each(text):
            urlsplit(address).port  # noqa: B018  (it is read to be checked)
    except ValueError:
        raise ValueError(
            "it cannot be read. Write special characters of user and password as %40 for @, "
            "%2F for /, and so on, and the port as a number."
        ) from None
    return text


Address = Annotated[str, AfterValidator(_addresses)]


class Settings(Limits):
    """What a server process has to know: its limits, and where everything is.

    Every field is read from the environment variable of the same name in capitals.
    """

    amqp_url: Address = Field(pattern="^amqps?://", repr=False)
    database_url: Address = Field(pattern="^postgres(ql)?://", repr=False)
    api_key: str = Field(DEVELOPMENT_KEY, min_length=8, repr=False)

    rest_host: str = "127.0.0.1"
    rest_port: int = Field(8080, ge=0, le=65535)
    """Where the REST edge listens; port 0 is any free one, which its log then names."""
    rest_hosts: Annotated[tuple[str, ...], BeforeValidator(listed)] = ()
    """Names under which the REST edge may be asked, beside localhost and ``rest_host``."""

    metrics_host: str = "127.0.0.1"
    metrics_port: int | None = Field(None, ge=0, le=65535)
    """Where Prometheus finds this process's metrics; 0 is any free port, which the log then names.
    Without it there are none, and none are counted."""

    otel_exporter_otlp_endpoint: str | None = Field(None, pattern="^https?://")
    """Where traces are sent, as OpenTelemetry names it: ``http://collector:4318``. Without it there
    are none."""

    @property
    def amqp_user(self) -> str:
        """The broker's user that this process is."""
        return user_of(self.amqp_url)

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
