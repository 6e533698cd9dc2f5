"""What all pictures of measurements have in common: panels beside each other, and one legend."""

from typing import Any

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure


def panels(
    columns: int, width: float, *, rows: int = 1, height: float = 3.4, **options: Any
) -> tuple[Figure, Any]:
    """A figure of ``width`` by ``height`` inches, and its axes: ``axes[row][column]``."""
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


def show(figure: Figure, title: str, labelled: Axes | None = None) -> None:
    """With the title above, and below the legend of what is ``labelled`` on these axes."""
    if labelled is not None:
        handles, labels = labelled.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    figure.suptitle(title, x=0.01, ha="left", fontweight="bold")
    plt.show()
