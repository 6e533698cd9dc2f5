"""Opening JupyterLab for the student, without its token on any command line: every local user sees
those. As Jupyter itself does, it opens a page that only its owner may read, and that leads there.
"""

import html
import webbrowser
from pathlib import Path

from labkit.services import environment
from labkit.services.files import write_atomically

PAGE = "open-jupyterlab.html"
"""In the clone, and not in `.lab`: a browser that is a snap may read no hidden folder."""

TEXT = """\
<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>JupyterLab</title>
<p>This page leads to <a href="{url}">JupyterLab</a>. It holds your token: give it to no one.
"""


def open_page(url: str) -> None:
    """Lead the user's browser to `url`."""
    write_atomically(page(), TEXT.format(url=html.escape(url, quote=True)))
    webbrowser.open(page().as_uri())


def page() -> Path:
    return environment.ROOT / PAGE


def forget() -> None:
    """The page is gone: the token in it leads nowhere any more."""
    page().unlink(missing_ok=True)
