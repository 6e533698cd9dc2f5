"""Cursors: where the next page begins, opaque to the client so that it can change."""

import base64
import binascii
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from server.contract.envelope import LARGEST_ID, STORABLE
from server.contract.errors import InvalidData
from server.contract.payloads.v2 import Sort


class Position(BaseModel):
    """The last row of a page: by what the list is sorted, that row's value of it, and its id."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    sort: Sort
    value: (
        Annotated[int, Field(ge=-9999, le=9999)]
        | Annotated[str, Field(max_length=500), STORABLE]
        | None
    )
    id: Annotated[int, Field(ge=1, le=LARGEST_ID)]


def encode(position: Position) -> str:
    return base64.urlsafe_b64encode(position.model_dump_json().encode()).decode()


def decode(cursor: str, sort: Sort, value_type: type[object]) -> Position:
    """Raises ``InvalidData`` for what is no cursor of a list that is sorted like this."""
    try:
        decoded = base64.b64decode(cursor, altchars=b"-_", validate=True)
        position = Position.model_validate_json(decoded)
    except (binascii.Error, ValueError):
        raise _refusal("not a cursor: take it from `next` of the page before") from None
    if position.sort != sort or not isinstance(position.value, value_type):
        raise _refusal(f"a cursor of a list sorted by {position.sort}, not by {sort}")
    return position


def _refusal(problem: str) -> InvalidData:
    return InvalidData(f"cursor: {problem}", [{"field": "cursor", "problem": problem}])
