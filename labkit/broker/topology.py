"""Exchanges, queues, bindings, consumers and dead-letter routes, as the broker has them now."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from labkit.broker.management import Broker

DEAD_LETTER = "x-dead-letter-routing-key"


@dataclass(frozen=True)
class Topology:
    """A notebook shows it as a picture; ``repr`` is one line for each arrow, in alphabetical order.

    Server-named queues are all called ``amq.gen-…``: their names differ from run to run.
    """

    queues: tuple[str, ...]
    arrows: tuple[tuple[str, str, str], ...]
    """From, to, and what it is: a binding's key, ``dead letters``, or ``consumers``."""

    def __repr__(self) -> str:
        lines = (f"{source} → {target}: {what}" for source, target, what in self.arrows)
        return "\n".join([f"{len(self.queues)} queues", *lines])

    def mermaid(self) -> str:
        """A flow chart: a dotted arrow is what the broker moves by itself."""
        names = sorted({*self.queues, *(end for arrow in self.arrows for end in arrow[:2])})
        ids = {name: f"n{number}" for number, name in enumerate(names)}  # a name may be any text
        lines = [
            "flowchart LR",
            "    accTitle: Exchanges, queues and how they lead to each other",
            f"    accDescr: {_plain('. '.join(repr(self).splitlines()))}",
            *(f"    {ids[name]}{_shape(name, name in self.queues)}" for name in names),
        ]
        for source, target, what in self.arrows:
            arrow = "-.->" if what.startswith("dead letters") else "-->"
            lines.append(f'    {ids[source]} {arrow}|"{_plain(what)}"| {ids[target]}')
        return "\n".join(lines)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        return {"text/plain": repr(self), "text/vnd.mermaid": self.mermaid()}


async def topology(broker: Broker, vhost: str) -> Topology:
    """Raises ``BrokerAway``."""
    queues = await broker.declared(vhost)
    consumers = await broker.consumers(vhost)
    arrows = {arrow for queue in queues for arrow in _dead_letters(queue)}
    arrows |= set(_bindings(await broker.bindings(vhost)))
    arrows |= {(_short(name), "consumers", f"{count} of them") for name, count in consumers.items()}
    names = sorted({_short(queue["name"]) for queue in queues})
    return Topology(tuple(names), tuple(sorted(arrows)))


def _dead_letters(queue: Mapping[str, Any]) -> Iterable[tuple[str, str, str]]:
    arguments = queue.get("arguments", {})
    if target := arguments.get(DEAD_LETTER):
        after = arguments.get("x-message-ttl")
        why = f"dead letters, after {after / 1000:g} s" if after else "dead letters"
        yield _short(queue["name"]), target, why


def _bindings(bindings: Iterable[Mapping[str, Any]]) -> Iterable[tuple[str, str, str]]:
    """Not those of the default exchange, to which every queue is bound by its name."""
    for each in bindings:
        if each["source"]:
            yield each["source"], _short(each["destination"]), each["routing_key"] or "all"


def _short(name: str) -> str:
    return "amq.gen-…" if name.startswith("amq.gen-") else name


def _plain(text: str) -> str:
    """In mermaid ``"`` ends a text, ``;`` a statement, and ``#`` begins a character."""
    codes = {"#": "#35;", ";": "#59;", '"': "#quot;"}
    return "".join(codes.get(character, character) for character in " ".join(text.split()))


def _shape(name: str, is_queue: bool) -> str:
    return f'[["{_plain(name)}"]]' if is_queue else f'(["{_plain(name)}"])'
