"""What the docstring under a constant says; Python itself does not keep it."""

import ast
import inspect
from itertools import pairwise
from types import ModuleType


def docstrings(module: ModuleType) -> dict[str, str]:
    """Constant → the string right after its assignment, on one line, in Markdown."""
    body = ast.parse(inspect.getsource(module)).body
    return {
        target.id: " ".join(text.split()).replace("``", "`")
        for assignment, expression in pairwise(body)
        if isinstance(assignment, ast.Assign) and (text := _string(expression)) is not None
        for target in assignment.targets
        if isinstance(target, ast.Name)
    }


def _string(node: ast.stmt) -> str | None:
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return node.value.value if isinstance(node.value.value, str) else None
    return None
