"""A JSON schema's fields as a table for people."""

from collections.abc import Mapping
from typing import Any

from reference.markdown import code, table
from reference.schemas import Schema
from server.contract.envelope import LARGEST_ID


def fields(
    schema: Schema, *, answered: bool = False, all_of: Mapping[str, Schema] | None = None
) -> str:
    """The fields of what is asked, or of what is ``answered``, which is always complete.

    In an answer that is a list, the fields of its items are listed, too: ``all_of`` knows them.
    """
    properties: dict[str, Schema] = schema.get("properties", {})
    if not properties:
        return "No fields."
    if answered:
        rows = [[code(n), kind(s), meaning(s)] for n, s in properties.items()]
        items = [_items(s) for s in properties.values() if "items" in s]
        parts = [table(["field", "type", "what it means"], rows)]
        parts += [
            f"Each of them:\n\n{fields((all_of or {})[item], answered=True)}" for item in items
        ]
        return "\n\n".join(parts)
    required = schema.get("required", [])
    rows = [
        [code(n), kind(s), "yes" if n in required else "", default(s), meaning(s)]
        for n, s in properties.items()
    ]
    return table(["field", "type", "required", "default", "what it means"], rows)


def _items(schema: Schema) -> str:
    return str(schema["items"]["$ref"]).rpartition("/")[2]


def kind(schema: Schema) -> str:
    """``string, 1 to 500 characters``; ``integer, 1 to 100, or null``."""
    if "anyOf" in schema:
        return ", or ".join(kind(each) for each in schema["anyOf"])
    if "const" in schema:
        return code(_json(schema["const"]))
    if "enum" in schema:
        return " ".join(code(str(value)) for value in schema["enum"])
    if schema.get("type") == "array":
        return "list"
    if schema.get("format") == "date-time":
        return "time, ISO 8601"
    return ", ".join(filter(None, [str(schema.get("type", "any")), _limits(schema)]))


def _limits(schema: Schema) -> str:
    if "maxLength" in schema:
        least, most = schema.get("minLength", 0), schema["maxLength"]
        return f"{least} to {most} characters" if least else f"at most {most} characters"
    if schema.get("maximum") == LARGEST_ID:
        return f"from {schema['minimum']}"
    return f"{schema['minimum']} to {schema['maximum']}" if "maximum" in schema else ""


def default(schema: Schema) -> str:
    return code(_json(schema["default"])) if "default" in schema else ""


def meaning(schema: Schema) -> str:
    """The field's own description, else that of its type."""
    kinds: list[Any] = [schema, *schema.get("anyOf", [])]
    return next((str(each["description"]) for each in kinds if "description" in each), "")


def _json(value: Any) -> str:
    names = {None: "null", True: "true", False: "false"}
    return names[value] if value is None or isinstance(value, bool) else str(value)
