"""All documents, each as the text of its file."""

import json
from pathlib import Path
from typing import Any

from reference import asyncapi, page
from reference.recording import Recordings
from server.application.dispatcher import Dispatcher
from server.persistence.database import Database
from server.settings import Settings
from server.transports.http.app import create_app

FOLDER = Path(__file__).parents[1] / "docs"
RECORDINGS = Path(__file__).with_name("examples.json")


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
    settings = Settings(amqp_url="amqp://", database_url="postgres://")
    database = Database(settings)
    return create_app(Dispatcher(database), database, settings).openapi()


def _json(document: Any) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
