"""A lesson in JupyterLab: what a student enters, runs and sees."""

import re
from functools import partial

from tests.browser.desk import Desk
from tests.support import until

STORY = """
import asyncio
from labkit import Lab
lab = await Lab.open("browser-story", obedient=True)
client = await lab.client()
async with lab.record() as run:
    await client.request("ping", request_id="look")
    await lab.settle()
story = await lab.story("look")
"""


def drawn(desk: Desk, text: str) -> bool:
    return text in desk.drawing("story.player()")


def test_a_notebook_runs_from_top_to_bottom_and_its_prediction_is_compared(desk: Desk) -> None:
    desk.open("my_work/00_start_here.ipynb")
    desk.run("lab = await Lab.open")
    asked = desk.run("touched = predict")
    asked.locator("input").fill("3")
    asked.locator("input").press("Enter")
    asked.get_by_text("kept").wait_for()
    desk.run_all()
    assert desk.errors() == []
    compared = desk.output("touched.compare")
    assert re.search("predicted: 3 queues · it was: 0 queues", compared), compared
    assert "first message" in desk.output("progress()")


def test_a_story_is_drawn_and_goes_step_by_step(desk: Desk) -> None:
    desk.open(
        desk.write("story", STORY, "# The diagram\nstory", "story.player()", "await lab.close()")
    )
    desk.run_all()
    assert ">deliver<" in desk.drawing("# The diagram")
    player = desk.cell("story.player()")
    picture = player.get_by_role("img", name="The story of look")
    assert ">asks<" in desk.drawing("story.player()")
    assert ">deliver<" not in desk.drawing("story.player()")
    for button, shows in [("Step", ">request<"), ("Step", ">confirm<"), ("Play", ">ack<")]:
        player.get_by_role("button", name=button).click()
        until(partial(drawn, desk, shows), within=30)
    assert picture.is_visible()


def test_the_board_moves(desk: Desk) -> None:
    first = """
import asyncio
from labkit import Lab
lab = await Lab.open("browser-board", workers=0)
await lab.start_workers()
client = await lab.client(timeout=60)
lab.board()
"""
    calls = """
await lab.stop_workers()
calls = [asyncio.create_task(client.call("ping")) for _ in range(30)]
"""
    desk.open(desk.write("board", first, calls, "await lab.close()"))
    board = desk.run("lab.board()")
    board.get_by_text("workers alive: 1, requests logged: 0").wait_for()
    desk.run("client.call")
    row = board.locator("tr").filter(has_text=re.compile(r"^api\.requests30"))
    row.wait_for()
    board.get_by_role("button", name="Start a worker").click()
    board.get_by_text("workers alive: 1, requests logged: 30").wait_for()
    desk.run("lab.close()")
    assert desk.errors() == []


def test_a_solved_exercise_is_on_the_map_of_the_course(desk: Desk) -> None:
    desk.open("my_work/01_first_message.ipynb")
    for cell in ("lab = await Lab.open", "connection = await", "channel = await", "queue = await"):
        desk.run(cell)
    desk.run("lesson_01.OneStays")
    desk.run("await exercise.check()").get_by_text("not attempted").wait_for()
    desk.replace("# Your code here. `channel`", "exercise.solution()")
    shown = desk.run("exercise.solution()")
    desk.replace("exercise.solution()", shown.locator(".jp-OutputArea-output").inner_text())
    desk.run("letters = await")
    desk.run("await exercise.check()").get_by_text("right").wait_for()
    desk.open("my_work/00_start_here.ipynb")
    desk.run("lab = await Lab.open")
    row = desk.run("progress()").get_by_role("row", name=re.compile("01"))
    assert "1" in row.inner_text()


def test_a_term_leads_to_the_glossary_as_a_page_to_be_read(desk: Desk) -> None:
    desk.open("my_work/01_first_message.ipynb")
    desk.page.get_by_role("link", name="broker", exact=True).first.click()
    desk.page.get_by_role("heading", name="Acknowledgement").wait_for()
