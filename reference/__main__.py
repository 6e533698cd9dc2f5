"""``make docs``: run the examples on services of their own, write the documents, validate them."""

import asyncio
import logging
import sys
import tempfile
from pathlib import Path

import structlog

from labkit.services.private import private_services
from reference import documents, official_parser
from reference.recording import Recordings, record
from server.settings import Settings


def main() -> None:
    for path, text in documents.texts(asyncio.run(run_examples())).items():
        changed = not path.exists() or path.read_text(encoding="utf-8") != text
        path.write_text(text, encoding="utf-8")
        _say(f"  {'✎' if changed else '='} {path.relative_to(Path.cwd())}")
    _say("  the AsyncAPI Initiative's parser:")
    _say(official_parser.validate(documents.FOLDER / "asyncapi.json"))


async def run_examples() -> Recordings:
    # What the server logs of each request is of no interest here.
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    with tempfile.TemporaryDirectory(prefix="lab-docs-") as home:
        async with private_services(Path(home), durable=False) as urls:
            # The dead letter queue is an operator's to read.
            amqp_url, database_url = urls["ADMIN_AMQP_URL"], urls["DATABASE_URL"]
            return await record(Settings(amqp_url=amqp_url, database_url=database_url))


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


if __name__ == "__main__":
    main()
