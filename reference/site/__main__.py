"""``make site``: all lessons with their stored outputs, the manual and a search, in .lab/site/html.

It needs the network once, for Sphinx and mermaid; the site itself then needs none.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from labkit.services import separate
from labkit.services.environment import ROOT
from reference.site.pages import Site

HERE = Path(__file__).parent
FOLDER = ROOT / ".lab" / "site"
SOURCE, HTML = FOLDER / "source", FOLDER / "html"
MERMAID = "mermaid@11.17.2"
"""Draws the diagrams in the reader's browser."""
MODULE = "mermaid.esm.min"


def main() -> int:
    print(__doc__)  # noqa: T201
    python = separate.environment(FOLDER / "venv", HERE / "requirements.txt")
    for folder in (SOURCE, HTML):
        shutil.rmtree(folder, ignore_errors=True)
    Site(ROOT, _repository()).write(SOURCE)
    shutil.copy(HERE / "conf.py", SOURCE)
    (SOURCE / "_static").mkdir()
    shutil.copy(HERE / "site.css", SOURCE / "_static")
    _mermaid(SOURCE / "_static")
    sphinx = [str(python), "-m", "sphinx", "-q", "-W", "--keep-going", "-j", "auto"]
    code = subprocess.run([*sphinx, str(SOURCE), str(HTML)], check=False).returncode  # noqa: S603
    print(f"  {HTML / 'index.html'}" if code == 0 else "  ✗ see above")  # noqa: T201
    return code


def _repository() -> str | None:
    """Where source files can be read, on GitHub; elsewhere there are no links to them."""
    name = os.environ.get("GITHUB_REPOSITORY")
    return f"https://github.com/{name}/blob/main" if name else None


def _mermaid(static: Path) -> None:
    """From npm, if it is there; else the reader's browser gets it from a CDN."""
    npm = shutil.which("npm")
    if npm is None:
        return
    packed = subprocess.run(  # noqa: S603
        [npm, "pack", "--silent", MERMAID],
        cwd=FOLDER,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout.strip()
    with tarfile.open(FOLDER / packed) as archive:
        archive.extractall(FOLDER / "mermaid", filter="data")
    built, own = FOLDER / "mermaid" / "package" / "dist", static / "mermaid"
    shutil.copytree(built / "chunks" / MODULE, own / "chunks" / MODULE)
    shutil.copy(built / f"{MODULE}.mjs", own)


if __name__ == "__main__":
    sys.exit(main())
