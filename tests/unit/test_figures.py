"""Pictures are readable on light and dark, and for those who do not see them."""

from io import BytesIO
from typing import Any

import matplotlib as mpl
import matplotlib.image
import pytest

from labkit.experiments import figures

mpl.use("Agg")


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    pictures: list[Any] = []
    monkeypatch.setattr(figures, "display", pictures.append)
    return pictures


def test_a_picture_has_no_paper_no_black_ink_and_a_text(shown: list[Any]) -> None:
    figure, ((axis,),) = figures.panels(1, 4)
    axis.bar_label(axis.bar([1, 2], [3, 4], color="#c44e52", label="calls"))
    axis.set_xlabel("seconds")
    axis.text(1, 2, "here")
    figures.show(figure, "Calls a second", axis, alt="The second bar is higher.")
    (picture,) = shown
    assert picture.alt == "Calls a second. The second bar is higher."
    pixels = matplotlib.image.imread(BytesIO(picture.data))
    assert pixels[0, 0, 3] == 0  # transparent
    ink = pixels[pixels[..., 3] > 0.9]
    assert ink[:, :3].max(axis=1).min() > 0.4  # nothing is black
