"""The page's first part: what all actions have in common."""

from reference import channels, messages
from reference.actions import ANY_REQUEST, advice, text_of
from reference.fields import fields
from reference.markdown import code, listed, table
from reference.schemas import of_models
from server.contract.errors import BY_CODE
from server.transports.http.problem import STATUS


def envelope() -> str:
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


def queues() -> str:
    rows = [
        [
            code(queue.name),
            channels.describe(queue),
            "<br>".join(code(f"{name}={value}") for name, value in queue.arguments.items()),
        ]
        for queue in channels.queues()
    ]
    note = "All are durable. Delays and limits are those of a server without settings of its own."
    return f"## Queues\n\n{table(['queue', 'what it is for', 'arguments'], rows)}\n\n{note}"


def errors() -> str:
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

Every action can answer {listed(ANY_REQUEST)}; what else one can answer is said below."""
