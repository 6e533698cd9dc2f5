"""The JSON schemas of the contract, as pydantic derives them from the models that check it."""

from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from reference.actions import ACTIONS
from server.contract.credentials import TOKEN_FIELD
from server.contract.envelope import Request

Schema = dict[str, Any]

REF = "#/components/schemas/{model}"
TOKEN: Schema = {
    "type": "string",
    "writeOnly": True,
    "description": "A token that `login` gave, in place of `auth`.",
}


def ref(name: str) -> Schema:
    return {"$ref": REF.format(model=name)}


def of_models(*, with_token: bool = True) -> dict[str, Schema]:
    """Name → schema of the request, and of every payload and answer.

    A payload's has the field ``auth_token``, unless it was said before that all have it.
    """
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [(Request, "validation")]
    models += [(action.payload, "validation") for action in ACTIONS]
    models += [(action.answer, "serialization") for action in ACTIONS]
    _, schemas = models_json_schema(models, ref_template=REF)
    found: dict[str, Schema] = _clean(schemas["$defs"])
    for action in ACTIONS:
        if with_token and not action.is_public:
            properties = found[action.payload.__name__].setdefault("properties", {})
            properties[TOKEN_FIELD] = TOKEN
    return found


def _clean(value: Any) -> Any:
    """Without the titles that pydantic makes of names, and with Markdown's `code`."""
    if isinstance(value, list):
        return [_clean(inner) for inner in value]
    if isinstance(value, str):
        return value.replace("``", "`")
    if not isinstance(value, dict):
        return value
    return {
        name: _clean(inner)
        for name, inner in value.items()
        if not (name == "title" and isinstance(inner, str))
    }
