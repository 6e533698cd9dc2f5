"""What can be predicted: one of several, a number, an order. Each has its input, and its measure of
how far a prediction was off.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from labkit.errors import BadArgument

Keep = Callable[[Any], None]
"""Called with the answer each time that it is changed."""


class Kind(ABC):
    """``hint`` says what kind of answer is wanted."""

    hint: str

    @abstractmethod
    def checked(self, answer: Any) -> Any:
        """As JSON can hold it. Raises ``BadArgument`` for what is no such answer."""

    @abstractmethod
    def agrees(self, predicted: Any, measured: Any) -> bool: ...

    @abstractmethod
    def off(self, predicted: Any, measured: Any) -> str:
        """How far, in words."""

    def said(self, answer: Any) -> str:
        return str(answer)

    @abstractmethod
    def entry(self, answer: Any, keep: Keep) -> Any:
        """An input, as a widget that holds ``answer`` if that is not None."""


@dataclass(frozen=True)
class Choice(Kind):
    options: tuple[str, ...]

    @property
    def hint(self) -> str:  # type: ignore[override]
        return " / ".join(self.options)

    def checked(self, answer: Any) -> str:
        if str(answer) not in self.options:
            raise BadArgument(f"{answer!r} is none of: {', '.join(self.options)}.")
        return str(answer)

    def agrees(self, predicted: Any, measured: Any) -> bool:
        return bool(predicted == measured)

    def off(self, predicted: Any, measured: Any) -> str:
        return "right" if predicted == measured else "not what happened"

    def entry(self, answer: Any, keep: Keep) -> Any:
        import ipywidgets

        buttons = ipywidgets.RadioButtons(
            options=self.options,
            value=answer if answer in self.options else None,
            layout={"width": "max-content"},
        )
        buttons.observe(lambda change: keep(change["new"]), names="value")
        return buttons


@dataclass(frozen=True)
class Number(Kind):
    unit: str = ""
    CLOSE = 0.1
    """A measurement is never the same twice: a tenth more or less agrees."""

    @property
    def hint(self) -> str:  # type: ignore[override]
        return f"a number of {self.unit}" if self.unit else "a number"

    def checked(self, answer: Any) -> int | float:
        try:
            value = float(answer)
        except (TypeError, ValueError):
            raise BadArgument(f"{answer!r} is no number.") from None
        return int(value) if value.is_integer() else round(value, 3)

    def agrees(self, predicted: Any, measured: Any) -> bool:
        if isinstance(measured, int) and abs(measured) < 10:
            return bool(predicted == measured)
        return bool(abs(predicted - measured) <= self.CLOSE * abs(measured))

    def off(self, predicted: Any, measured: Any) -> str:
        if predicted == measured:
            return "right"
        if self.agrees(predicted, measured):
            return "close enough"
        if predicted > 0 and measured > 0 and not 0.5 < predicted / measured < 2:
            times = max(predicted, measured) / min(predicted, measured)
            return f"{times:.1f} times too {'high' if predicted > measured else 'low'}"
        return f"off by {abs(predicted - measured):g}"

    def said(self, answer: Any) -> str:
        unit = self.unit.removesuffix("s") if answer == 1 else self.unit
        return f"{answer:,} {unit}".strip()

    def entry(self, answer: Any, keep: Keep) -> Any:
        import ipywidgets

        text = ipywidgets.Text(
            value="" if answer is None else str(answer),
            placeholder=self.hint,
            description=self.unit,
            continuous_update=False,
        )

        def changed(change: Any) -> None:
            if change["new"].strip():
                keep(change["new"].strip())

        text.observe(changed, names="value")
        return text


@dataclass(frozen=True)
class Order(Kind):
    items: tuple[str, ...]

    @property
    def hint(self) -> str:  # type: ignore[override]
        return "in order: " + ", ".join(self.items)

    def checked(self, answer: Any) -> list[str]:
        if not isinstance(answer, Sequence) or sorted(answer) != sorted(self.items):
            raise BadArgument(f"{answer!r} is no order of: {', '.join(self.items)}.")
        return list(answer)

    def agrees(self, predicted: Any, measured: Any) -> bool:
        return bool(predicted == measured)

    def off(self, predicted: Any, measured: Any) -> str:
        place = {item: index for index, item in enumerate(measured)}
        swapped = sum(place[a] > place[b] for a, b in combinations(predicted, 2))
        pairs = len(measured) * (len(measured) - 1) // 2
        return "right" if not swapped else f"{swapped} of {pairs} pairs the other way round"

    def said(self, answer: Any) -> str:
        return " → ".join(answer)

    def entry(self, answer: Any, keep: Keep) -> Any:
        """Buttons, to be pressed in order."""
        import ipywidgets

        chosen: list[str] = list(answer or [])
        shown = ipywidgets.Label(self.said(chosen))

        def press(item: str) -> None:
            if len(chosen) == len(self.items):
                chosen.clear()
            if item not in chosen:
                chosen.append(item)
            shown.value = self.said(chosen)
            if len(chosen) == len(self.items):
                keep(list(chosen))

        buttons = [ipywidgets.Button(description=item, tooltip=item) for item in self.items]
        for button, item in zip(buttons, self.items, strict=True):
            button.layout.width = "max-content"
            button.on_click(lambda _, item=item: press(item))
        return ipywidgets.VBox([ipywidgets.HBox(buttons), shown])
