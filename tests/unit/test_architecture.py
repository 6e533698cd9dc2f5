"""Dependencies point one way: pyproject.toml has the layers, as `lint-imports` reads them."""

import ast
import sys
from pathlib import Path

import pytest
from importlinter.cli import lint_imports

HOME = Path(__file__).resolve().parents[2]


def imports(folder: str) -> dict[str, set[str]]:
    """Module path -> the roots of what it imports."""
    return {
        str(path.relative_to(HOME)): {
            name for node in ast.walk(ast.parse(path.read_text())) for name in _roots(node)
        }
        for path in (HOME / folder).rglob("*.py")
    }


def _roots(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name.split(".")[0] for alias in node.names]
    if isinstance(node, ast.ImportFrom) and node.module:
        return [node.module.split(".")[0]]
    return []


def test_no_layer_imports_what_is_above_it(capsys: pytest.CaptureFixture[str]) -> None:
    broken = lint_imports(config_filename=str(HOME / "pyproject.toml"), no_cache=True)
    assert broken == 0, capsys.readouterr().out


def test_services_need_nothing_but_python() -> None:
    for module, roots in imports("labkit/services").items():
        assert roots - {"labkit"} <= sys.stdlib_module_names, module
