"""The code of something, coloured by the notebook's own theme."""

import inspect
import re
from typing import Any


def source(thing: Any) -> "Source":
    """Of a function, a class or a module, without what is said to our linter."""
    return Source(re.sub(r"  # noqa.*", "", inspect.getsource(thing).rstrip()))


class Source:
    """Code in this language. A notebook shows it in colours."""

    def __init__(self, code: str, language: str = "python") -> None:
        self._code = code
        self._language = language

    def __repr__(self) -> str:
        return self._code

    def _repr_markdown_(self) -> str:
        return f"```{self._language}\n{self._code}\n```"
