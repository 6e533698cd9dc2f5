"""The live board of a lab."""

import asyncio
import re

from labkit import Lab
from tests.support import BOOK, eventually


async def test_the_board_shows_depths_workers_and_requests_while_they_change(place: str) -> None:
    async with Lab.open(place) as lab:
        client, board = await lab.client(), lab.board()
        await lab.stop_workers()
        calls = [asyncio.create_task(client.call("ping", timeout=30)) for _ in range(30)]

        async def shows(pattern: str) -> bool:
            return bool(re.search(pattern, board.html(), re.DOTALL))

        await eventually(lambda: shows(r"api\.requests</td><td [^>]*>30</td>"))
        assert await shows("messages in api.requests: 30 now")  # for those who do not see the line
        await lab.start_workers(2)
        await asyncio.gather(*calls)
        await eventually(lambda: shows("workers alive: 2, requests logged: 30"))


async def test_the_board_keeps_up_with_thousands_and_leaves_nothing_behind(place: str) -> None:
    lab = await Lab.open(place)
    client, board = await lab.client(timeout=60), lab.board()
    assert lab.board() is board
    await asyncio.gather(*(client.call("ping") for _ in range(3000)))

    async def all_counted() -> bool:
        return "requests logged: 3,000" in board.html()

    await eventually(all_counted)
    await lab.close()
    assert not board.running
    names = [repr(task.get_coro()) for task in asyncio.all_tasks()]
    assert not [name for name in names if "Board" in name]
    board.html()  # it stays as it was


async def test_the_board_shows_rates_and_the_latest_dead_letters(place: str) -> None:
    async with Lab.open(place, retry_delays="0.05") as lab:
        await lab.stop_workers()
        await lab.start_workers(obedient=True)
        client, board = await lab.client(), lab.board()
        await lab.faults.fail(at="applied", request_id="<emma>", always=True)
        await client.request("create_book", BOOK, request_id="<emma>")

        async def flows() -> bool:
            await asyncio.gather(*(client.call("ping") for _ in range(50)))
            rate = re.search(r"now, at most.*?</svg></td><td[^>]*>(\d+)</td>", board.html())
            return rate is not None and int(rate[1]) > 0

        await eventually(flows, within=20)
        letter = r">\d\d:\d\d:\d\d</td><td [^>]*>&lt;emma&gt;</td><td [^>]*>internal</td>"
        assert re.search(letter, board.html())


async def test_a_board_goes_on_when_the_broker_comes_back() -> None:
    async with Lab.open("board", private=True) as lab:
        board = lab.board()
        async with await lab.faults.kill("broker"):

            async def says_so() -> bool:
                return "cannot be reached" in board.html()

            await eventually(says_so, within=30)
        assert board.running


async def test_a_lab_that_was_opened_again_has_a_board_that_looks_on(place: str) -> None:
    async with Lab.open(place) as lab:
        lab.board()
        await lab.close()
        await lab.reopen()
        client, board = await lab.client(), lab.board()
        await client.call("ping")

        async def counted() -> bool:
            return "workers alive: 1, requests logged: 1<" in board.html()

        await eventually(counted)
