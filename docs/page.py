"""``api.md``: the API for people, from the same models, recordings and tables as the rest."""

import json
from collections.abc import Iterable

from docs import channels, messages
from docs.actions import ACTIONS, ANY_REQUEST, NO_ACTION, DescribedAction, advice, text_of
from docs.fields import fields
from docs.markdown import code, json_block, table
from docs.recording import Recording, Recordings
from docs.schemas import of_models
from server.errors import BY_CODE, ApiError
from server.handlers import VERSIONS
from server.problem import STATUS

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
        _envelope(),
        _queues(),
        _errors(),
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


def _envelope() -> str:
    ours = {name: schema for each in messages.OUR_HEADERS.values() for name, schema in each.items()}
    known = messages.PROPERTIES | {"reply_to": messages.REPLY_TO} | ours
    return "\n\n".join(
        [
            "## Requests and replies",
            "A request is JSON, published to `api.requests` through the default exchange:",
            fields(of_models()["Request"]),
            "Its reply comes into the queue that `reply_to` names:",
            table(
                ["field", "what it is"],
                [
                    ["`correlation_id`", "The request's `id`."],
                    ["`status`", "`ok` or `error`."],
                    ["`data`", "What the action answers; null if it is refused."],
                    ["`error`", "Null, or `code`, `message` and `details`."],
                ],
            ),
            "Properties and headers:",
            table(
                ["name", "what it is"],
                [[code(name), schema["description"]] for name, schema in known.items()],
            ),
        ]
    )


def _queues() -> str:
    rows = [
        [
            code(queue.name),
            channels.describe(queue),
            "<br>".join(code(f"{name}={value}") for name, value in queue.arguments.items()),
        ]
        for queue in channels.queues()
    ]
    note = "All are durable. Delays and limits are those of a server that is told no others."
    return f"## Queues\n\n{table(['queue', 'what it is for', 'arguments'], rows)}\n\n{note}"


def _errors() -> str:
    rows = [
        [
            code(error.code),
            text_of(error),
            "yes" if error.is_definite else "no",
            "yes" if error.is_transient else "no",
            advice(error),
            str(STATUS[error.code]),
        ]
        for error in sorted(BY_CODE.values(), key=lambda error: STATUS[error.code])
    ]
    heads = ["code", "when", "definite", "transient", "what to do", "HTTP"]
    return f"""\
## Errors

*Definite*: it is certain that the request had no effect. *Transient*: the very same request may
succeed later.

{table(heads, rows)}

Every action can answer {_codes(ANY_REQUEST)}; what else one can answer is said below."""


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
    who = "Nobody has to say who asks." if action.is_public else BY_ROLE[action.is_write]
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
        yield "**Errors** of its own, and those that its examples met:"
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
            f"A request that names no action is answered {_codes(NO_ACTION, 'or')}.",
            *map(_example, refused),
            "**A dead letter.** What cannot be read is answered `malformed`, if it says where to, "
            "and kept in `api.dlq` for people to look at. The first of these, with its headers:",
            json_block(parked["headers"]),
            json_block(parked["payload"]),
        ]
    )


def _codes(codes: tuple[str, ...], word: str = "and") -> str:
    *most, last = map(code, codes)
    return f"{', '.join(most)} {word} {last}"
