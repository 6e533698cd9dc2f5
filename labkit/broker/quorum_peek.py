"""The first messages of a quorum queue, as ``rabbitmq-queues peek`` shows them.

Its formatter for Erlang terms is the only one that prints any message: the one for JSON fails at
bytes that are not UTF-8, and so at a body whose 64th byte is half a Cyrillic letter.
"""

import asyncio
import re
from typing import Any

from pydantic_core import from_json, to_json

from labkit.services.broker_tools import BrokerTools, ToolFailed
from server.contract.redaction import presentable

AT_A_TIME = 2
"""Calls of the tool: each keeps a core busy."""
COUNTS = ("header.x-delivery-count", "header.x-acquired-count")
"""Above 0 for what was delivered before."""
BODY = "payload (max 64 bytes)"
NONE_THERE = "does not have a message at that position"

Shown = dict[str, bytes | int]
"""The tool's names and values of one message; of tables and lists it has none here."""


async def first(tools: BrokerTools, vhost: str, queue: str, count: int) -> list[Shown]:
    """Up to ``count`` messages that are ready.

    While a consumer takes some, one may be left out. Raises ``services.broker_tools.ToolFailed``.
    """
    limit = asyncio.Semaphore(AT_A_TIME)
    end = count + 1

    async def at(position: int) -> Shown | None:
        nonlocal end
        async with limit:
            if position > end:  # behind the last message there is no other
                return None
            found = await asyncio.to_thread(_at, tools, vhost, queue, position)
            if found is None:
                end = min(end, position)
            return found

    found = await asyncio.gather(*(at(position) for position in range(1, count + 1)))
    return [message for message in found if message is not None]


def _at(tools: BrokerTools, vhost: str, queue: str, position: int) -> Shown | None:
    options = ("--vhost", vhost, "--formatter", "erlang", "--", queue, str(position))
    try:
        return parsed(tools.run("rabbitmq-queues", "peek", *options))
    except ToolFailed as error:
        if NONE_THERE in error.output:
            return None
        raise


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
