"""AsyncAPI's messages: for each action its request, the reply to a success and to a refusal."""

from collections.abc import Iterable
from typing import Any

from reference.actions import ACTIONS, NO_ACTION, DescribedAction, advice, text_of
from reference.constants import docstrings
from reference.recording import Recording, Recordings
from reference.schemas import Schema, ref
from server.contract import headers
from server.contract.envelope import JSON, Request
from server.contract.errors import BY_CODE, ApiError

OUTCOMES = ("ok", "error")
REFUSAL, SET_ASIDE, DEAD_LETTER = "refusal", "setAside", "deadLetter"
"""Messages of no action: a refusal of what names none, and requests that are set aside."""

_TEXT: Schema = {"type": "string"}
_SAYS = docstrings(headers)
"""What the contract says of its own headers."""

PROPERTIES: dict[str, Schema] = {
    "content_type": {"const": JSON, "description": f"AMQP property: `{JSON}`."},
    "correlation_id": _TEXT
    | {"description": "AMQP property: the request's `id`. The reply has the same."},
    "message_id": _TEXT | {"description": "AMQP property: another one for each message."},
}
REPLY_TO = _TEXT | {"description": "AMQP property: the queue in which the reply is waited for."}
OUR_HEADERS: dict[str, dict[str, Schema]] = {
    "request": {
        headers.DEADLINE: {"type": "integer", "description": _SAYS["DEADLINE"]},
        headers.SENT_AT: {"type": "integer", "description": _SAYS["SENT_AT"]},
        headers.TRACEPARENT: _TEXT | {"description": _SAYS["TRACEPARENT"]},
        headers.ON_BEHALF_OF: _TEXT | {"description": _SAYS["ON_BEHALF_OF"]},
        headers.REPLAYS: {"type": "integer", "description": _SAYS["REPLAYS"]},
        headers.EDITED_FROM: _TEXT | {"description": _SAYS["EDITED_FROM"]},
        headers.ASKED_AS: _TEXT | {"description": _SAYS["ASKED_AS"]},
    },
    "reply": {
        headers.REPLAYED: {"type": "boolean", "description": _SAYS["REPLAYED"]},
        headers.PARKED: {"type": "boolean", "description": _SAYS["PARKED"]},
    },
    "setAside": {
        headers.ATTEMPT: {"type": "integer", "minimum": 2, "description": _SAYS["ATTEMPT"]},
        headers.FAILURES: {
            "type": "array",
            "items": {"type": "object"},
            "description": _SAYS["FAILURES"],
        },
        headers.WAITING_SINCE: {"type": "integer", "description": _SAYS["WAITING_SINCE"]},
        headers.REDELIVERED: {"type": "boolean", "description": _SAYS["REDELIVERED"]},
    },
    "deadLetter": {
        headers.CALLER: _TEXT | {"description": _SAYS["CALLER"]},
        headers.REASON: _TEXT | {"description": _SAYS["REASON"]},
        headers.ERROR: _TEXT | {"description": _SAYS["ERROR"]},
        headers.ORIGIN: _TEXT | {"description": _SAYS["ORIGIN"]},
        headers.PARKED_AT: _TEXT | {"format": "date-time", "description": _SAYS["PARKED_AT"]},
    },
}


def traits() -> dict[str, Any]:
    """What all messages of one direction have in common."""
    deadline, replayed, failed, parked = OUR_HEADERS.values()
    request = PROPERTIES | {"reply_to": REPLY_TO} | deadline
    return {
        "request": _trait(request, ["reply_to"]),
        "reply": _trait(PROPERTIES | replayed, ["content_type"]),
        "setAside": _trait(request | failed, []),
        "deadLetter": _trait(request | failed | parked, sorted(parked.keys() - {headers.CALLER})),
    }


def _trait(headers: dict[str, Schema], required: list[str]) -> dict[str, Any]:
    return {
        "headers": {"type": "object", "properties": headers, "required": required},
        "correlationId": {"location": "$message.header#/correlation_id"},
        "contentType": JSON,
    }


def messages(recordings: Recordings) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for action in ACTIONS:
        asked = [each for each in recordings[action.version] if each["action"] == action.name]
        found |= _of_action(action, asked)
    return found | _of_no_action(recordings["any"])


def _of_action(action: DescribedAction, asked: list[Recording]) -> dict[str, Any]:
    right = [each for each in asked if each["outcome"] == "ok"]
    wrong = [each for each in asked if each["outcome"] != "ok"]
    return {
        action.id: _message("request", _request(action), _examples(right, "request")),
        f"{action.id}.ok": _message(
            "reply", _reply(ref(action.answer.__name__)), _examples(right, "reply")
        ),
        f"{action.id}.error": _message("reply", _refusal(action.errors), _examples(wrong, "reply")),
    }


def _of_no_action(refused: list[Recording]) -> dict[str, Any]:
    errors = [BY_CODE[code] for code in NO_ACTION]
    shown = [each for each in refused if each["outcome"] in NO_ACTION]
    parked = [each for each in refused if "dead_letter" in each]
    anything: Schema = {"description": "The body as it was sent, without its secrets."}
    return {
        REFUSAL: _message("reply", _refusal(errors), _examples(shown, "reply")),
        SET_ASIDE: _message("setAside", ref("Request"), []),
        DEAD_LETTER: _message("deadLetter", anything, _examples(parked, "dead_letter")),
    }


def _message(trait: str, payload: Schema, examples: list[Any]) -> dict[str, Any]:
    shown = {"examples": examples} if examples else {}
    return {
        "traits": [{"$ref": f"#/components/messageTraits/{trait}"}],
        "payload": payload,
        **shown,
    }


def _examples(recordings: Iterable[Recording], part: str) -> list[Any]:
    return [
        {"name": each["request"]["payload"]["id"], "summary": each["title"]} | each[part]
        for each in recordings
    ]


def _request(action: DescribedAction) -> Schema:
    """The request's own schema, with this version, this action and this action's data."""
    names = Request.model_fields
    fields = {name: ref(f"Request/properties/{name}") for name in names}
    fields |= {"version": {"const": action.version}, "action": {"const": action.name}}
    fields["data"] = ref(action.payload.__name__)
    takes_nothing = not any(field.is_required() for field in action.payload.model_fields.values())
    required = ["id", "version", "action", *([] if takes_nothing else ["data"])]
    return _object(fields, required)


def _reply(data: Schema) -> Schema:
    return _outcome("ok", data, {"type": "null"})


def _refusal(errors: list[type[ApiError]]) -> Schema:
    return _outcome(
        "error", {"type": "null"}, {"oneOf": [ref(f"error.{error.code}") for error in errors]}
    )


def _outcome(status: str, data: Schema, error: Schema) -> Schema:
    """A reply's body: what ``contract.Reply.to_bytes`` writes."""
    fields: dict[str, Schema] = {
        "correlation_id": {"type": ["string", "null"], "description": "The request's `id`."},
        "status": {"const": status},
        "data": data,
        "error": error,
    }
    return _object(fields, list(fields))


def schemas() -> dict[str, Schema]:
    return {f"error.{code}": _error(error) for code, error in BY_CODE.items()}


def _error(error: type[ApiError]) -> Schema:
    fields: dict[str, Schema] = {
        "code": {"const": error.code},
        "message": _TEXT | {"description": "For people."},
        "details": {"description": "More about it; field by field for `invalid_data`."},
    }
    return _object(fields, list(fields)) | {
        "description": f"{text_of(error)} {advice(error)}",
        "x-is-definite": error.is_definite,
        "x-is-transient": error.is_transient,
    }


def _object(properties: dict[str, Schema], required: list[str]) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": False,
    }
