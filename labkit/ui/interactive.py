"""What has inputs and buttons in JupyterLab, and a text everywhere else."""

import os
from abc import ABC, abstractmethod
from typing import Any

JUPYTERLAB = "JPY_SESSION_NAME"
"""Set in a kernel that a student looks at: where none does, a widget would be an empty box."""


class Interactive(ABC):
    """It shows itself when it is the last line of a cell."""

    @abstractmethod
    def _widget(self) -> Any:
        """Made when it is shown."""

    @abstractmethod
    def __repr__(self) -> str: ...

    def _repr_markdown_(self) -> str:
        return repr(self)

    def _ipython_display_(self) -> None:
        from IPython.display import display

        if JUPYTERLAB in os.environ:
            display(self._widget())  # type: ignore[no-untyped-call]
        else:
            data = {"text/plain": repr(self), "text/markdown": self._repr_markdown_()}
            display(data, raw=True)  # type: ignore[no-untyped-call]
