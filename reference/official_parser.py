"""The AsyncAPI Initiative's parser, where there is a Node.js to run it.

There is none in Python. So it judges when the documents are written; that they are still the same,
and hold together, is what the tests can tell without it.
"""

import os
import shutil
import subprocess
import textwrap
from pathlib import Path

VERSION = "3.6.3"
PARSER = f"@asyncapi/parser@{VERSION}"
ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / ".lab" / "npm" / f"asyncapi-parser-{VERSION}"
"""Where the parser is installed, out of git's sight."""


def validate(document: Path) -> str:
    """The parser's diagnostics, one a line. Raises ``SystemExit`` if one of them is an error."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        return "    not asked: it needs node and npm, which are not here"
    if not (FOLDER / "node_modules").exists():
        _run(npm, "install", "--prefix", str(FOLDER), "--ignore-scripts", "--no-audit", PARSER)
    done = _run(node, str(Path(__file__).with_suffix(".cjs")), str(document))
    return textwrap.indent(done.strip() or "no complaints", "    ")


def _run(*command: str) -> str:
    environment = {**os.environ, "NODE_PATH": str(FOLDER / "node_modules")}
    done = subprocess.run(  # noqa: S603  (nothing of it is anybody's input)
        command, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")
    return done.stdout
