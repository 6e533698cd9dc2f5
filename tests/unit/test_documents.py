"""The API's documents are what the code says now, and hold together."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
from jsonschema import Draft202012Validator

from reference import documents, masks, messages
from reference.actions import ACTIONS, DescribedAction
from server.transports.http.problem import STATUS

RECORDINGS = documents.read_recordings()
WRITTEN = documents.texts(RECORDINGS)
ASYNCAPI = json.loads(WRITTEN[documents.FOLDER / "asyncapi.json"])
OPENAPI = json.loads(WRITTEN[documents.FOLDER / "openapi.json"])

each_action = pytest.mark.parametrize("action", ACTIONS, ids=lambda action: action.id)


@pytest.mark.parametrize("path", WRITTEN, ids=lambda path: path.name)
def test_the_committed_document_is_what_the_code_says_now(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == WRITTEN[path], (
        f"docs/{path.name} says something else than the code. Run `make docs`, look at the "
        "difference, and commit it."
    )


def inside(value: Any) -> Iterator[dict[str, Any]]:
    """Every object of a document."""
    if isinstance(value, dict):
        yield value
    for inner in value.values() if isinstance(value, dict) else value:
        if isinstance(inner, dict | list):
            yield from inside(inner)


def at(pointer: str) -> Any:
    """What a reference of the AsyncAPI document leads to."""
    found = ASYNCAPI
    for name in pointer.removeprefix("#/").split("/"):
        found = found[name]
    return found


@pytest.mark.parametrize("name", ["channels", "operations", "components"])
def test_every_reference_leads_somewhere(name: str) -> None:
    pointers = {
        each["$ref"] for each in inside(ASYNCAPI[name]) if isinstance(each.get("$ref"), str)
    }
    assert all(at(pointer) for pointer in pointers)


@each_action
def test_an_operation_replies_only_with_what_its_reply_channel_carries(
    action: DescribedAction,
) -> None:
    reply = ASYNCAPI["operations"][action.id]["reply"]
    carried = reply["channel"]["$ref"] + "/messages/"
    assert {message["$ref"] for message in reply["messages"]} == {
        f"{carried}{action.id}.ok",
        f"{carried}{action.id}.error",
    }


def problems(message: str, example: dict[str, Any]) -> list[str]:
    """Why an example is none of that message."""
    described = ASYNCAPI["components"]["messages"][message]
    headers = at(described["traits"][0]["$ref"])["headers"]
    checks = ((described["payload"], example["payload"]), (headers, example["headers"]))
    return [
        error.message
        for schema, value in checks
        for error in Draft202012Validator(
            {"components": ASYNCAPI["components"], "allOf": [schema]}
        ).iter_errors(value)
    ]


@each_action
def test_every_reply_fits_what_is_said_of_it(action: DescribedAction) -> None:
    for each in RECORDINGS[action.version]:
        if each["action"] == action.name:
            kind = "ok" if each["outcome"] == "ok" else "error"
            other = "error" if kind == "ok" else "ok"
            assert problems(f"{action.id}.{kind}", each["reply"]) == []
            assert problems(f"{action.id}.{other}", each["reply"]) != []


def test_a_request_fits_its_schema_unless_it_is_refused_for_its_data() -> None:
    for version in ("v1", "v2"):
        for each in RECORDINGS[version]:
            wrong = problems(f"{version}.{each['action']}", each["request"])
            # Of an ISBN's check digit no schema knows.
            assert bool(wrong) <= (each["outcome"] == "invalid_data"), wrong


def test_a_dead_letters_headers_are_those_that_are_described() -> None:
    (parked,) = [each["dead_letter"] for each in RECORDINGS["any"] if "dead_letter" in each]
    described = ASYNCAPI["components"]["messageTraits"]["deadLetter"]["headers"]["properties"]
    assert parked["headers"].keys() <= described.keys()
    assert problems(messages.DEAD_LETTER, parked) == []


@each_action
def test_every_action_is_shown_succeeding(action: DescribedAction) -> None:
    outcomes = {e["outcome"] for e in RECORDINGS[action.version] if e["action"] == action.name}
    assert "ok" in outcomes


def test_the_openapi_document_is_one() -> None:
    openapi_spec_validator.validate(OPENAPI)


@each_action
def test_http_can_answer_every_error_that_the_action_has(action: DescribedAction) -> None:
    operation = OPENAPI["paths"][f"/{action.version}{action.route.path}"]
    responses = operation[action.route.method.lower()]["responses"]
    assert {str(STATUS[error.code]) for error in action.errors} <= responses.keys()


def test_only_what_differs_at_each_run_is_masked() -> None:
    recorded = {"created_at": "2031-05-06T07:08:09.1Z", "expires_at": "tomorrow", "at": 1}
    assert masks.mask([recorded]) == [
        {"created_at": masks.MASKS["created_at"], "expires_at": "tomorrow", "at": 1}
    ]
