"""The AsyncAPI 3 document of the RabbitMQ API (https://www.asyncapi.com/docs/reference).

It describes the server: an operation that *receives* is one that a client sends. Each action of
each version is one operation with its reply.
"""

from typing import Any

from reference import channels, messages, schemas
from reference.actions import ACTIONS, DescribedAction, text_of
from reference.recording import Recordings
from server.application.handlers import VERSIONS
from server.contract.envelope import JSON

VERSION = list(VERSIONS)[-1].removeprefix("v")
"""The newest that the document describes."""

Part = dict[str, Any]


def document(recordings: Recordings) -> Part:
    """The whole document; its examples are the recorded ones."""
    return {
        "asyncapi": "3.0.0",
        "info": _info(),
        "defaultContentType": JSON,
        "servers": {"lab": _server()},
        "channels": channels.channels(),
        "operations": {action.id: _operation(action) for action in ACTIONS},
        "components": {
            "messages": messages.messages(recordings),
            "messageTraits": messages.traits(),
            "schemas": schemas.of_models() | messages.schemas(),
            "securitySchemes": _security_schemes(),
            "replyAddresses": {"reply_to": _reply_address()},
        },
    }


def _info() -> Part:
    return {
        "title": "Library API over RabbitMQ",
        "version": VERSION,
        "description": "Books and authors, in two versions. A request is a message to "
        "`api.requests` that names an action; its reply comes into the queue that the request's "
        "`reply_to` names. The same for people: `docs/api.md`; over HTTP: `docs/openapi.json`.",
        "tags": [{"name": version} for version in VERSIONS],
    }


def _server() -> Part:
    return {
        "host": "localhost:5672",
        "protocol": "amqp",
        "protocolVersion": "0-9-1",
        "description": "RabbitMQ. `AMQP_URL` in `.lab/lab.env` says where a lab's own listens.",
        "security": [_scheme("broker")],
    }


def _scheme(name: str) -> Part:
    return {"$ref": f"#/components/securitySchemes/{name}"}


def _operation(action: DescribedAction) -> Part:
    return {
        "action": "receive",
        "channel": {"$ref": "#/channels/requests"},
        "title": action.id,
        "summary": action.name.replace("_", " ").capitalize(),
        "description": f"{text_of(action.payload)}\n\nThe answer: {text_of(action.answer)}",
        "tags": [{"name": action.version}],
        "security": [] if action.is_public else [_scheme("apiKey"), _scheme("token")],
        "bindings": {"amqp": {"deliveryMode": 2, "ack": True, "bindingVersion": "0.3.0"}},
        "messages": [{"$ref": f"#/channels/requests/messages/{action.id}"}],
        "reply": {
            "address": {"$ref": "#/components/replyAddresses/reply_to"},
            "channel": {"$ref": "#/channels/replies"},
            "messages": [
                {"$ref": f"#/channels/replies/messages/{action.id}.{outcome}"}
                for outcome in messages.OUTCOMES
            ],
        },
    }


def _reply_address() -> Part:
    return {
        "location": "$message.header#/reply_to",
        "description": "A queue of the client's own, exclusive and named by the broker.",
    }


def _security_schemes() -> Part:
    """AsyncAPI has no location for a credential in a payload: ``x-location`` says where it is."""
    return {
        "broker": {"type": "userPassword", "description": "In the URL of the connection."},
        "apiKey": {
            "type": "apiKey",
            "in": "user",
            "description": "An API key in the field `auth` of the payload, not in the connection.",
            "x-location": "$message.payload#/auth",
        },
        "token": {
            "type": "http",
            "scheme": "bearer",
            "bearerFormat": "JWT",
            "description": "A token from `login`, in the field `data.auth_token` of the payload.",
            "x-location": "$message.payload#/data/auth_token",
        },
    }
