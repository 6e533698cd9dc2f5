"""``predict("…", choice | number | order)``: asked before the run, compared with it after.

ready = predict("How many messages are `ready` now?", number("messages"))
…
ready.compare(1, why="the broker keeps it until it is acknowledged.")
"""

import html
from typing import Any

from labkit.course.kinds import Choice, Kind, Number, Order
from labkit.course.record import Record
from labkit.ui.interactive import Interactive

SECTION = "predictions"


def choice(*options: str) -> Choice:
    """One of these."""
    return Choice(options)


def number(unit: str = "") -> Number:
    """Any number, of ``unit``: "messages", "seconds" …"""
    return Number(unit)


def order(*items: str) -> Order:
    """These, in the order in which they happen; they are shown as given."""
    return Order(items)


def predict(question: str, kind: Kind | Any) -> "Prediction":
    """A question, with an input in JupyterLab; elsewhere ``….guess(answer)`` is the input.

    What was answered before, in an earlier run of the notebook, is there again.
    """
    return Prediction(question, kind() if kind is number else kind)


class Prediction(Interactive):
    """One question. The cell's output shows it with its input."""

    def __init__(self, question: str, kind: Kind) -> None:
        self.question = question
        self.kind = kind
        self._record = Record.own()
        self._guess = self._record.section(SECTION).get(question, {}).get("guess")

    def guess(self, answer: Any) -> "Prediction":
        """Keep this prediction. Raises ``BadArgument`` for what is no answer to the question."""
        self._guess = self.kind.checked(answer)
        self._record.note(SECTION, self.question, guess=self._guess)
        return self

    def compare(self, measured: Any, why: str = "") -> "Comparison":
        """The prediction beside what was ``measured``, and ``why`` it came out like that: a
        sentence, in Markdown. With no prediction it says so.
        """
        compared = Comparison(self, self.kind.checked(measured), why)
        if self._guess is not None:
            right = self.kind.agrees(self._guess, compared.measured)
            self._record.note(SECTION, self.question, measured=compared.measured, right=right)
        return compared

    @property
    def made(self) -> Any:
        """What was predicted; None if nothing was."""
        return self._guess

    def __repr__(self) -> str:
        return f"Predict: {self.question} ({self.kind.hint})"

    def _repr_markdown_(self) -> str:
        return f"**Predict.** {self.question} *({self.kind.hint})*"

    def _widget(self) -> Any:
        import ipywidgets
        from markdown_it import MarkdownIt

        said = ipywidgets.HTML("" if self._guess is None else "kept")

        def keep(answer: Any) -> None:
            self.guess(answer)
            said.value = "kept"

        text = MarkdownIt().renderInline(f"**Predict.** {self.question}")
        label = ipywidgets.HTML(f"<div style='line-height: 1.5'>{text}</div>")
        entry = ipywidgets.HBox([self.kind.entry(self._guess, keep), said])
        return ipywidgets.VBox([label, entry])


class Comparison:
    """A prediction beside its measurement."""

    def __init__(self, prediction: Prediction, measured: Any, why: str) -> None:
        self.prediction = prediction
        self.measured = measured
        self.why = why

    @property
    def right(self) -> bool | None:
        """None if nothing was predicted."""
        made = self.prediction.made
        return None if made is None else self.prediction.kind.agrees(made, self.measured)

    def _lines(self) -> list[str]:
        kind, made = self.prediction.kind, self.prediction.made
        it_was = f"it was: {kind.said(self.measured)}"
        if made is None:
            return [f"○ no prediction · {it_was}"]
        off = kind.off(made, self.measured)
        return [f"{'✓' if self.right else '✗'} predicted: {kind.said(made)} · {it_was} · {off}"]

    def __repr__(self) -> str:
        return "\n".join([*self._lines(), *([f"Why: {self.why}"] if self.why else [])])

    def _repr_markdown_(self) -> str:
        lines = [html.escape(line, quote=False) for line in self._lines()]
        return "\n\n".join([f"**{lines[0]}**", *([f"*Why:* {self.why}"] if self.why else [])])
