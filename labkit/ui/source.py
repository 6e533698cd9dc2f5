"""The code of something, coloured by the notebook's own theme."""

import inspect
from typing import Any


def source(thing: Any) -> "Source":
    """Of a function, a class or a module."""
    return Source(inspect.getsource(thing).rstrip())


class Source:
    """Python code. A notebook shows it as such."""

    def __init__(self, code: str) -> None:
        self._code = code

    def __repr__(self) -> str:
        return self._code

    def _repr_markdown_(self) -> str:
        return f"```python\n{self._code}\n```"
