"""The data of an action, as HTTP takes it apart: some of it is in the path, the rest in the query
or in the body. The models are those of the contract; here they only get other places.
"""

import re
from typing import Annotated, Any, get_args

from fastapi import Path
from pydantic import BaseModel, BeforeValidator, ConfigDict, Strict, create_model

from server.contract.envelope import Message
from server.contract.payloads.common import Id

_NUMBER = re.compile("-?[0-9]{1,1000}")
"""Longer than any id, so that it is refused as too large; Python reads no number of any length."""


def _read_number(value: object) -> object:
    """A path and a query have only text. What is no number stays text, which the model refuses."""
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


PathId = Annotated[Id, Strict(), BeforeValidator(_read_number), Path()]


def in_query(payload: type[BaseModel]) -> type[BaseModel]:
    """The same fields, with numbers written as text."""
    numbers: dict[str, Any] = {
        name: (Annotated[field.annotation, BeforeValidator(_read_number)], field)
        for name, field in payload.model_fields.items()
        if _is_number(field.annotation)
    }
    return create_model(payload.__name__, __base__=payload, **numbers)


def in_body(payload: type[BaseModel], in_path: list[str]) -> type[BaseModel]:
    """The fields that the path does not have. What is left out of an update stays as it was."""
    if not in_path:
        return payload
    fields: dict[str, Any] = {
        name: (field.annotation, field)
        for name, field in payload.model_fields.items()
        if name not in in_path
    }
    return create_model(f"{payload.__name__}Body", __base__=Changes, **fields)


def _show_no_defaults(schema: dict[str, Any]) -> None:
    schema["minProperties"] = 1
    for field in schema["properties"].values():
        field.pop("default", None)


class Changes(Message):
    """The fields that change; at least one. ``null`` empties a field that may be empty."""

    model_config = ConfigDict(json_schema_extra=_show_no_defaults)


def _is_number(annotation: Any) -> bool:
    """``int``, ``int | None``, ``Annotated[int, …] | None`` …"""
    return annotation is int or any(_is_number(part) for part in get_args(annotation))
