"""All documents, each as the text of its file."""

import json
from pathlib import Path
from typing import Any

from docs import asyncapi, page
from docs.channels import SETTINGS
from docs.recording import Recordings
from server.application import Application
from server.database import Database
from server.rest import create_app

FOLDER = Path(__file__).parent
RECORDINGS = FOLDER / "examples.json"


def read_recordings() -> Recordings:
    """Those that the committed documents were written from."""
    recordings: Recordings = json.loads(RECORDINGS.read_text(encoding="utf-8"))
    return recordings


def texts(recordings: Recordings) -> dict[Path, str]:
    """File → what it says. They depend on the code and on these recordings alone."""
    return {
        RECORDINGS: _json(recordings),
        FOLDER / "asyncapi.json": _json(asyncapi.document(recordings)),
        FOLDER / "openapi.json": _json(openapi()),
        FOLDER / "api.md": page.page(recordings),
    }


def openapi() -> dict[str, Any]:
    """As the server itself answers at ``/openapi.json``. Nothing is connected for it."""
    database = Database(SETTINGS)
    return create_app(Application(database), database, SETTINGS).openapi()


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
