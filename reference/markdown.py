"""The little Markdown that the page is made of."""

import json
from collections.abc import Sequence
from typing import Any


def code(text: str) -> str:
    return f"`{text}`"


def listed(codes: Sequence[str], word: str = "and") -> str:
    *most, last = map(code, codes)
    return f"{', '.join(most)} {word} {last}"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(text: str) -> str:
    """On one line, and without a bar, which would end the cell."""
    return text.replace("\n\n", "<br>").replace("\n", " ").replace("|", "\\|")


def json_block(value: Any) -> str:
    return f"```json\n{json.dumps(value, indent=2, ensure_ascii=False)}\n```"
