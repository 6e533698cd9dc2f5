"""Dependencies point one way."""

import ast
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]


def imports(folder: str) -> dict[str, set[str]]:
    """Module path -> the dotted names that it imports."""
    return {
        str(path.relative_to(HOME)): {
            name for node in ast.walk(ast.parse(path.read_text())) for name in _names(node)
        }
        for path in (HOME / folder).rglob("*.py")
    }


def _names(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [f"{node.module}.{alias.name}" for alias in node.names]
    return []


def test_the_server_never_imports_labkit() -> None:
    for module, names in imports("server").items():
        assert not any(name.startswith("labkit") for name in names), module


def test_labkit_knows_the_wire_of_the_server_and_nothing_behind_it() -> None:
    wire = ("connection", "contract", "topology", "settings", "errors", "redaction", "vouching")
    allowed = tuple(f"server.{module}" for module in (*wire, "routes", "steps"))
    for module, names in imports("labkit").items():
        behind = {n for n in names if n.startswith("server") and not n.startswith(allowed)}
        assert not behind, (module, behind)


@pytest.mark.parametrize("transport", ["aio_pika", "fastapi"])
def test_handlers_know_no_transport(transport: str) -> None:
    inner = imports("server/handlers") | {
        f"server/{name}.py": imports("server")[f"server/{name}.py"]
        for name in ("application", "idempotency", "database", "auth", "contract")
    }
    for module, names in inner.items():
        assert not any(name.startswith(transport) for name in names), module


def test_services_need_nothing_but_python() -> None:
    import sys

    for module, names in imports("labkit/services").items():
        roots = {name.split(".")[0] for name in names} - {"labkit"}
        assert roots <= sys.stdlib_module_names, (module, roots - sys.stdlib_module_names)
