"""``api.md``: the API for people, from the same models, recordings and tables as the rest."""

import json
from collections.abc import Iterable

from reference import overview
from reference.actions import ACTIONS, ANY_REQUEST, NO_ACTION, DescribedAction, text_of
from reference.fields import fields
from reference.markdown import code, json_block, listed, table
from reference.recording import Recording, Recordings
from reference.schemas import of_models
from server.application.handlers import VERSIONS
from server.contract.errors import BY_CODE, ApiError

INTRODUCTION = """\
# The Library API

Written by `make docs` from the server's own models and tables: change those, not this page. Every
request and reply below was really sent and answered; only times, tokens and the names of reply
queues were made the same for every run. For programs: [asyncapi.json](asyncapi.json) describes the
API over RabbitMQ, [openapi.json](openapi.json) over HTTP."""

BY_ROLE = {True: "Only a librarian may do this.", False: "Every user may do this."}


def page(recordings: Recordings) -> str:
    parts = [
        INTRODUCTION,
        _contents(),
        overview.envelope(),
        overview.queues(),
        overview.errors(),
        *(_version(version, recordings) for version in VERSIONS),
        _refused_before_any_action(recordings["any"]),
    ]
    return "\n\n".join(parts) + "\n"


def _contents() -> str:
    names = dict.fromkeys(action.name for action in ACTIONS)
    rows = [
        [code(name), *(_link(version, name) for version in VERSIONS), _place(name)]
        for name in names
    ]
    return table(["action", *VERSIONS, "over HTTP"], rows)


def _link(version: str, name: str) -> str:
    exists = name in VERSIONS[version]
    return f"[{version}](#{version}-{name})" if exists else ""


def _place(name: str) -> str:
    route = next(action.route for action in ACTIONS if action.name == name)
    return code(f"{route.method} {route.path}")


def _version(version: str, recordings: Recordings) -> str:
    actions = [action for action in ACTIONS if action.version == version]
    asked = recordings[version]
    return "\n\n".join(
        [
            f"## Version {version.removeprefix('v')}",
            *(_action(a, [each for each in asked if each["action"] == a.name]) for a in actions),
        ]
    )


def _action(action: DescribedAction, asked: list[Recording]) -> str:
    schemas = of_models(with_token=False)
    who = "It needs no credentials." if action.is_public else BY_ROLE[action.is_write]
    route = action.route
    place = code(f"{route.method} /{action.version}{route.path}")
    right = [each for each in asked if each["outcome"] == "ok"]
    return "\n\n".join(
        [
            f"### {action.version} {action.name}",
            f"{text_of(action.payload)} {who} Over HTTP: {place}, {route.status}.",
            fields(schemas[action.payload.__name__]),
            f"**Answer.** {text_of(action.answer)}",
            fields(schemas[action.answer.__name__], answered=True, all_of=schemas),
            *_own_errors(action, asked),
            *map(_example, right),
        ]
    )


def _own_errors(action: DescribedAction, asked: list[Recording]) -> Iterable[str]:
    """Each with the message of an example that was answered with it, if there is one."""
    seen = {each["outcome"]: each for each in reversed(asked)}
    shown = action.own_errors + [BY_CODE[c] for c in ANY_REQUEST if c in seen]
    if shown:
        rows = [[code(error.code), *_seen(error, seen.get(error.code))] for error in shown]
        yield "**Errors** specific to this action, and those that its examples ran into:"
        yield table(["code", "for example", "is answered"], rows)


def _seen(error: type[ApiError], example: Recording | None) -> list[str]:
    if example is None:
        return ["", text_of(error)]
    asked = json.dumps(example["request"]["payload"]["data"], ensure_ascii=False)
    return [f"{example['title']}: {code(asked)}", example["reply"]["payload"]["error"]["message"]]


def _example(recording: Recording) -> str:
    request, reply = recording["request"], recording["reply"]
    replayed = (
        " (a replay: the header `replayed` is true)" if "replayed" in reply["headers"] else ""
    )
    return "\n\n".join(
        [
            f"**{recording['title']}**",
            json_block(request["payload"]),
            f"is answered{replayed}:",
            json_block(reply["payload"]),
        ]
    )


def _refused_before_any_action(refused: list[Recording]) -> str:
    parked = next(each["dead_letter"] for each in refused if "dead_letter" in each)
    return "\n\n".join(
        [
            "## Refused before any action",
            f"A request that names no action is answered {listed(NO_ACTION, 'or')}.",
            *map(_example, refused),
            "**A dead letter.** What cannot be read is answered `malformed`, if it says where to, "
            "and kept in `api.dlq` for people to look at. The first of these, with its headers:",
            json_block(parked["headers"]),
            json_block(parked["payload"]),
        ]
    )
