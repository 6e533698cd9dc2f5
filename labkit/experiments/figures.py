"""What all pictures of measurements have in common: panels side by side, one legend, a text for
those who do not see them, and colours that are readable in a light and in a dark notebook.
"""

from io import BytesIO
from typing import Any

import matplotlib.pyplot as plt
from IPython.display import Image, display
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

INK = "#808080"
"""Of text and axes: as far from white as from black."""
NO_PAPER = dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "none")
WRITTEN = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
STYLE: dict[Any, Any] = NO_PAPER | dict.fromkeys(WRITTEN, INK)


def panels(
    columns: int, width: float, *, rows: int = 1, height: float = 3.4, **options: Any
) -> tuple[Figure, Any]:
    """A figure of ``width`` by ``height`` inches, and its axes: ``axes[row][column]``."""
    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(
            rows, columns, figsize=(width, height), squeeze=False, layout="constrained", **options
        )
    for axis in axes.flat:
        _tidy(axis)
    return figure, axes


def _tidy(axis: Axes) -> None:
    axis.spines[["top", "right"]].set_visible(False)
    axis.grid(alpha=0.3)
    axis.set_axisbelow(True)


def show(figure: Figure, title: str, labelled: Axes | None = None, *, alt: str = "") -> None:
    """With the title above, and below the legend of what is ``labelled`` on these axes. ``alt`` is
    what a screen reader says after the title.
    """
    with plt.rc_context(STYLE):
        if labelled is not None:
            handles, labels = labelled.get_legend_handles_labels()
            place: dict[str, Any] = {
                "loc": "outside lower center",
                "ncols": len(labels),
                "frameon": False,
            }
            figure.legend(handles, labels, **place)
        figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
        for text in figure.findobj(Text):
            if text.get_color() == "black":  # written into the axes since
                text.set_color(INK)
        picture = BytesIO()
        figure.savefig(picture, format="png", dpi=100)
    plt.close(figure)
    said = f"{title}. {alt}".strip()
    display(Image(picture.getvalue(), alt=said))  # type: ignore[no-untyped-call]
