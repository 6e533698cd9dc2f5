"""The first messages of a quorum queue, as ``rabbitmq-queues peek`` shows them.

The tool calls one function of the node, ``rabbit_quorum_queue:peek``, for one message; and it takes
a second of processor time to start. Here ``erl_call`` has the node call it, for all of them.

What comes is printed as an Erlang term, for that is how any message can be: JSON fails at bytes
that are not UTF-8, and so at a body whose 64th byte is half a Cyrillic letter.
"""

import asyncio
import re
from base64 import b64decode
from collections.abc import Iterable
from typing import Any

from pydantic_core import from_json, to_json

from labkit.services.broker_tools import BrokerTools
from server.contract.redaction import presentable

COUNTS = ("header.x-delivery-count", "header.x-acquired-count")
"""Above 0 for what was delivered before."""
BODY = "payload (max 64 bytes)"
LONGEST = 500
"""Bytes of a value, of which a table shows fewer."""

Shown = dict[str, bytes | int]
"""The tool's names and values of one message; of tables and lists it has none here."""

LOOK = """
Names = [{names}],
Short = fun(<<Value:{longest}/binary, _/binary>>) -> Value; (Value) -> Value end,
Printed = fun(Message) ->
    Pairs = [[{{<<"keys">>, Name}}, {{<<"values">>, Short(Value)}}]
             || {{Name, Value}} <- Message, lists:member(Name, Names)],
    base64:encode_to_string(lists:flatten(io_lib:format("~p", [Pairs])))
end,
[case rabbit_quorum_queue:peek({vhost}, {queue}, Position) of
     {{ok, Message}} -> Printed(Message);
     {{error, no_message_at_pos}} -> none
 end || Position <- lists:seq(1, {count})]
"""


async def first(
    tools: BrokerTools, vhost: str, queue: str, count: int, names: Iterable[str]
) -> list[Shown]:
    """Up to ``count`` messages that are ready: of each what has one of these ``names``.

    While a consumer takes some, one may be left out. Raises ``services.broker_tools.ToolFailed``.
    """
    look = LOOK.format(
        names=", ".join(map(_erlang, names)),
        longest=LONGEST,
        vhost=_erlang(vhost),
        queue=_erlang(queue),
        count=count,
    )
    said = await asyncio.to_thread(tools.evaluate, look)
    return [parsed(b64decode(each).decode("latin-1")) for each in re.findall(r'"([^"]*)"', said)]


def _erlang(text: str) -> str:
    """A binary of these bytes, whatever they are."""
    return f"<<{','.join(map(str, text.encode()))}>>"


_BINARY = r'<<(?:(?:"(?:[^"\\]|\\.)*"\s*)+(?:/utf8)?|[\d,\s]*)>>'
_PAIR = re.compile(
    rf'\{{<<"keys">>,\s*({_BINARY})\}},\s*\{{<<"values">>,\s*({_BINARY}|-?\d+)\}}', re.DOTALL
)
_LITERAL = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "e": "\x1b", "b": "\b", "f": "\f", "v": "\v"} | {
    "d": "\x7f",
    "s": " ",
}


def parsed(printed: str) -> Shown:
    """The pairs of ``[[{<<"keys">>,Name},{<<"values">>,Value}],…]`` whose value is no term."""
    return {
        _bytes(name).decode(errors="replace"): _bytes(value) if value[0] == "<" else int(value)
        for name, value in _PAIR.findall(printed)
    }


def _bytes(binary: str) -> bytes:
    """Of an Erlang binary: a text of bytes, a text that is UTF-8, or numbers."""
    literals = _LITERAL.findall(binary)
    if not literals:
        return bytes(map(int, re.findall(r"\d+", binary)))
    text = re.sub(
        r"\\(.)",
        lambda escaped: _ESCAPES.get(escaped[1], escaped[1]),
        "".join(literals),
        flags=re.S,
    )
    return text.encode("utf-8" if binary.endswith("/utf8>>") else "latin-1")


def beginning(body: bytes | int | None) -> str:
    """What of a body's first 64 bytes is known to be no secret. JSON that ends in the middle is
    read as far as it goes; of another body nothing is shown.
    """
    given = body.decode(errors="ignore") if isinstance(body, bytes) else ""
    try:
        document = from_json(given, allow_partial="trailing-strings")
    except ValueError:
        document = None
    if not isinstance(document, dict):
        return "[no JSON object]"
    return presentable(to_json(document)).decode().removesuffix("}") + " …"


def text(value: bytes | int | None) -> Any:
    """What a table shows of a property."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value
