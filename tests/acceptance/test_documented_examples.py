"""The examples of the documents, run again."""

from reference.documents import read_recordings
from reference.recording import record
from server.settings import Settings


async def test_the_examples_in_the_documents_are_what_the_server_answers(
    settings: Settings,
) -> None:
    told = read_recordings()
    seen = await record(settings)
    assert seen == told, "the server answers something else than docs/ says: run `make docs`"
