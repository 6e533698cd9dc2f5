"""Text that others have written, made safe for a terminal and a notebook."""

REPLACEMENT = "·"


def printable(text: str) -> str:
    """Every character that does something instead of being seen becomes ``·``: ESC and BEL, what
    turns the direction of writing (U+202E …), line breaks, halves of a surrogate pair.
    """
    return "".join(each if each.isprintable() else REPLACEMENT for each in text)


def printable_lines(text: str) -> str:
    """The same for text whose lines are ours: they stay lines."""
    return "\n".join(map(printable, text.split("\n")))
