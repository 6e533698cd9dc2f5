"""The wire: what a request and a reply look like. What each action takes is in ``payloads``.

    request  {"id", "version", "action", "data", "auth", "idempotency_key"}
    reply    {"correlation_id", "status": "ok" | "error", "data", "error"}

Parsing is strict: ``"1949"`` is no year and an unknown field is an error, since a misspelt
``idempotency_key`` that is silently ignored is how books get doubled.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_core import from_json, to_json

from server.contract.errors import ApiError, InvalidData, Malformed
from server.contract.strict_json import read_json

JSON = "application/json"

LARGEST_ID = 2**63 - 1
LONGEST_ID = 255
"""Bytes of a request's id in UTF-8. AMQP has no longer ``correlation_id``, which a reply bears."""
BY_REQUEST_ID = "request"
"""The resource type under which every write is claimed by its request's id."""
MAX_PROBLEMS = 20
"""Problems named of one payload: enough to correct it, too few to make a small message a large one.
"""


def _storable(text: str) -> str:
    if "\x00" in text:
        raise ValueError("must not contain the character U+0000")
    if text.isspace():
        raise ValueError("must not be blank")
    return text


def _sendable(text: str) -> str:
    if len(text.encode()) > LONGEST_ID:
        raise ValueError(f"must not have more than {LONGEST_ID} bytes in UTF-8")
    return text


STORABLE = AfterValidator(_storable)


class Message(BaseModel):
    """Docstrings of fields are their descriptions in the API's documents."""

    model_config = ConfigDict(
        strict=True,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
    )


def _nothing(data: object) -> object:
    """Other languages write no data as ``null``, or as PHP does, ``[]``."""
    return {} if data is None or data == [] else data


class Request(Message):
    """What a client publishes to ``api.requests``."""

    id: Annotated[str, Field(min_length=1, max_length=128), STORABLE, AfterValidator(_sendable)]
    """Chosen by the client, ideally a UUID; without one, the AMQP ``correlation_id`` is used."""
    version: Annotated[str, Field(max_length=64)]
    """Of the API."""
    action: Annotated[str, Field(max_length=64)]
    """What is to be done."""
    data: Annotated[dict[str, Any], BeforeValidator(_nothing)] = {}
    """What the action takes; and ``auth_token``, a token, if there is no ``auth``."""
    auth: SecretStr | None = None
    """An API key."""
    idempotency_key: Annotated[str, Field(min_length=1, max_length=255), STORABLE] | None = None
    """A write that is sent again with the same key is applied once, and answered alike."""


@dataclass(frozen=True)
class Reply:
    """The outcome of a request: data, or an error ``{"code", "message", "details"}``.

    ``replayed`` says that this outcome was reached earlier, by a request with the same key. It
    travels as a header, because a replayed body is byte for byte the first one but for its
    ``correlation_id``.
    """

    data: Any = None
    error: dict[str, Any] | None = None
    replayed: bool = False
    parked: bool = False
    """The request lies in the dead letter queue."""

    @property
    def status(self) -> Literal["ok", "error"]:
        return "ok" if self.error is None else "error"

    @property
    def outcome(self) -> str:
        """``ok`` or the error's code: the one word for logs and counts."""
        return "ok" if self.error is None else str(self.error["code"])

    @classmethod
    def refusal(cls, error: ApiError) -> "Reply":
        return cls(error={"code": error.code, "message": str(error), "details": error.details})

    def to_stored(self) -> str:
        return to_json([self.data, self.error]).decode()

    @classmethod
    def from_stored(cls, stored: str) -> "Reply":
        data, error = from_json(stored)
        return cls(data, error, replayed=True)

    def to_bytes(self, correlation_id: str | None) -> bytes:
        return to_json(
            {
                "correlation_id": correlation_id,
                "status": self.status,
                "data": self.data,
                "error": self.error,
            }
        )


def parse(body: bytes, *, default_id: str | None = None) -> Request:
    """Bytes to a request, or ``Malformed`` with what is wrong and where.

    A body without ``id`` takes ``default_id``: AMQP's own ``correlation_id`` says the same.
    """
    document = read_json(body)
    if default_id is not None:
        document.setdefault("id", default_id)
    try:
        return Request.model_validate(document)
    except ValidationError as error:
        problems = _problems(_found(error))
        known = [problem for problem in problems if problem["field"] in Request.model_fields]
        malformed = Malformed(
            f"The request cannot be read: {_sentence(problems)}",
            problems,
            summary=f"The request cannot be read: {_sentence(known or _UNKNOWN_FIELD)}",
        )
        if not any(problem["field"] == "id" for problem in problems):
            malformed.request_id = document["id"]
        raise malformed from None


_UNKNOWN_FIELD = [{"field": "", "problem": "it has a field that the API does not know"}]


Payload = TypeVar("Payload", bound=BaseModel)


def validate(model: type[Payload], data: dict[str, Any]) -> Payload:
    """The payload of an action, or ``InvalidData`` with every field that is wrong."""
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise invalid_data(_found(error)) from None


def invalid_data(found: Iterable[tuple[tuple[int | str, ...], str]]) -> InvalidData:
    """The error for what pydantic has found: (where, what)."""
    problems = _problems(found)
    return InvalidData(f"The data does not fit: {_sentence(problems)}", problems)


def _found(error: ValidationError) -> list[tuple[tuple[int | str, ...], str]]:
    return [(e["loc"], e["msg"]) for e in error.errors(include_url=False, include_input=False)]


def _problems(found: Iterable[tuple[tuple[int | str, ...], str]]) -> list[dict[str, str]]:
    """What is wrong, field by field. Never the value: it may be a secret in the wrong place."""
    return [
        {
            "field": ".".join(map(str, where))[:100],
            "problem": what.removeprefix("Value error, "),
        }
        for where, what in islice(found, MAX_PROBLEMS)
    ]


def _sentence(problems: list[dict[str, str]]) -> str:
    return "; ".join(
        f"{p['field']}: {p['problem']}" if p["field"] else p["problem"] for p in problems
    )
