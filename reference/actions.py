"""What the documents say of each action: its models, its place in HTTP, the errors it answers."""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import get_type_hints

from pydantic import BaseModel

from reference.examples import EXAMPLES
from server.application.handlers import VERSIONS
from server.application.handlers.action import Action
from server.contract.errors import BY_CODE, ApiError
from server.contract.routes import ROUTE_OF, Route

ANY_REQUEST = (
    "malformed",
    "too_large",
    "expired",
    "rate_limited",
    "invalid_data",
    "unavailable",
    "internal",
)
"""Error codes that every action can answer."""
WRITE = ("forbidden", "key_reused", "in_progress")
"""Besides those, an action that writes."""
NO_ACTION = ("unsupported_version", "unknown_action")
"""Answered to a request that names none."""


@dataclass(frozen=True)
class DescribedAction:
    """One action of one version."""

    version: str
    action: Action

    @property
    def name(self) -> str:
        return self.action.name

    @property
    def id(self) -> str:
        """As the documents refer to it."""
        return f"{self.version}.{self.name}"

    @property
    def payload(self) -> type[BaseModel]:
        return self.action.payload

    @property
    def answer(self) -> type[BaseModel]:
        """The model of a success's data."""
        model: type[BaseModel] = get_type_hints(self.action.handler)["return"]
        return model

    @property
    def is_public(self) -> bool:
        return self.action.public

    @property
    def is_write(self) -> bool:
        return self.action.writes is not None

    @property
    def route(self) -> Route:
        return ROUTE_OF[self.name]

    @property
    def own_errors(self) -> list[type[ApiError]]:
        """Those that not every request can be answered with.

        What a handler refuses by itself, no declaration says: it is what the examples show.
        """
        codes = {each.outcome for each in EXAMPLES[self.version] if each.action == self.name}
        codes |= set() if self.is_public else {"unauthorized"}
        codes |= set(WRITE) if self.is_write else set()
        return _in_order(codes - {"ok", *ANY_REQUEST})

    @property
    def errors(self) -> list[type[ApiError]]:
        return _in_order({*ANY_REQUEST, *(error.code for error in self.own_errors)})


ACTIONS = [
    DescribedAction(version, action)
    for version, actions in VERSIONS.items()
    for action in actions.values()
]


def _in_order(codes: set[str]) -> list[type[ApiError]]:
    return [error for code, error in BY_CODE.items() if code in codes]


def text_of(thing: object) -> str:
    """The docstring in Markdown, its parents' if it has none; a paragraph is one line."""
    paragraphs = (inspect.getdoc(thing) or "").replace("``", "`").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


ADVICE: Mapping[tuple[bool, bool], str] = {
    (
        True,
        False,
    ): (
        "Do not send it unchanged: correct what the error names (the data, the id, the credentials "
        "or the deadline)."
    ),
    (True, True): "Send the same request again in a moment.",
    (False, True): "Send it again in a moment, with the same idempotency key.",
    (
        False,
        False,
    ): "Send it again with the same idempotency key; if that fails, tell the operator.",
}
"""(is_definite, is_transient) → what to do."""


def advice(error: type[ApiError]) -> str:
    return ADVICE[error.is_definite, error.is_transient]
