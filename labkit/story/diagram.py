"""Events as a sequence diagram, and as lines of text."""

from collections.abc import Sequence

from labkit.story.event import Event, Kind


def mermaid(events: Sequence[Event], title: str, count: int | None = None) -> str:
    """Of the first ``count`` events, or of all; the participants are those of all.

    ``title`` and the events as text are what a screen reader says of it.
    """
    names = list(dict.fromkeys(n for e in events for n in (e.source, e.target) if n))
    everyone = ",".join(_id(name) for name in names[:: max(1, len(names) - 1)])
    said = ". ".join(_escaped(text(event).strip()) for event in events[:count])
    lines = [
        "sequenceDiagram",
        f"    accTitle: {_escaped(title)}",
        f"    accDescr: {said}",
        *(f"    participant {_id(n)} as {n}" for n in names),
    ]
    return "\n".join([*lines, *(f"    {_line(event, everyone)}" for event in events[:count])])


def text(event: Event) -> str:
    if event.kind is Kind.FAULT:
        return f"  ⚡ {event.label}"
    if event.source == event.target:
        return f"  {event.source}: {event.label}"
    return f"  {event.source} → {event.target}: {event.label}"


def _line(event: Event, everyone: str) -> str:
    source, target, label = _id(event.source), _id(event.target), _escaped(event.label)
    if event.kind is Kind.FAULT:
        return f"Note over {everyone}: ⚡ {label}"
    if event.kind is Kind.GAP:
        return f"Note over {source}: ✗ {label}"
    if source == target:
        return f"Note over {source}: {label}"
    return f"{source}->>{target}: {label}"


def _escaped(label: str) -> str:
    """An id may be any text; to mermaid ``;`` ends a statement and ``#`` begins a character."""
    return " ".join(label.split()).replace("#", "#35\0").replace(";", "#59;").replace("\0", ";")


def _id(name: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in name)
