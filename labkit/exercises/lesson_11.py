"""Exercises of ``11_three_brokers``."""

from itertools import combinations

import pandas as pd

from labkit.client.moments import Moment
from labkit.exercises.exercise import Assessment, Exercise, not_attempted, right, wrong
from labkit.exercises.waited import first
from server.contract.topology import REQUESTS

NODES = ["broker-1", "broker-2", "broker-3"]
AWAY = ("kill", "stop", "restart")
"""How the names of faults begin that take a node away."""


class Cluster(Exercise):
    """What the exercises have in common: which nodes were away, and who is there now."""

    _led = ""
    """Led the queue of requests at the beginning."""

    async def prepare(self) -> None:
        self._led = await self.leads()

    def away(self) -> pd.DataFrame:
        """Rows of the timeline: the nodes that were killed or stopped since the beginning."""
        timeline = self.lab.faults.timeline()
        is_it = timeline["fault"].str.startswith(AWAY) & timeline["target"].isin(NODES)
        return timeline[is_it & (timeline["at"] > self.since)]

    def killed(self, node: str) -> pd.Series:
        """When it was, since the beginning."""
        away = self.away()
        is_it = away["fault"].str.startswith("kill") & (away["target"] == node)
        return away["at"][is_it]

    async def leads(self) -> str:
        return str((await self.lab.queues()).loc[REQUESTS, "leader"])

    async def missing(self) -> list[str]:
        """Nodes that have no member of the queue of requests in service."""
        members = str((await self.lab.queues()).loc[REQUESTS, "members"])
        return [node for node in NODES if node not in members]

    async def made(self, *titles: str) -> pd.DataFrame:
        rows = await self.lab.rows("books_v1")
        return rows[rows["title"].isin(titles)]


class AnotherLeads(Cluster):
    """One node leads `api.requests`. Have **this** node killed, and brought back: in the end
    another one leads the queue, and all three are members of it.
    """

    title = "The king is dead"
    stars, minutes = 1, 4
    tips = (
        "`await lab.queues()` says who leads; a fault has a name for it, too: `leader of …`.",
        "`async with await lab.faults.kill('leader of api.requests'): ...` brings it back.",
    )

    async def look(self) -> Assessment:
        away = self.away()
        if away.empty:
            return not_attempted("The same node leads as in the beginning: none was killed.")
        if self._led not in set(away["target"]):
            return wrong(f"{away['target'].iloc[-1]} was killed; but {self._led} led the queue.")
        if missing := await self.missing():
            return wrong(f"{', '.join(missing)} is not back: heal the fault.")
        if self.killed(self._led).empty:
            return wrong("It was stopped politely. What does it do when it has no time to say so?")
        if (leads := await self.leads()) == self._led:
            return wrong(f"{leads} was killed, and leads again: it should be another one.")
        return right(f"{leads} leads now: elected by the two that were left.")

    async def answer(self) -> None:
        async with await self.lab.faults.kill("leader of api.requests"):
            pass


class ThroughAnElection(Cluster):
    """Create *Book 1* to *Book 20* (by Anyone), all asked at once, and have the leader of
    `api.requests` killed while they are under way. Every one has to be there, once, and some have
    to be made after its death.
    """

    title = "Twenty books and an election"
    stars, minutes, workers = 2, 6, 0
    tips = (
        "Without a worker they are under way for as long as you like.",
        "Tasks first, then the kill, then `await lab.start_workers(1)`, then the tasks' results.",
    )

    async def look(self) -> Assessment:
        titles = [f"Book {number}" for number in range(1, 21)]
        made = await self.made(*titles)
        if made.empty:
            return not_attempted("None of the books is there.")
        counts = made["title"].value_counts().reindex(titles, fill_value=0)
        if (counts > 1).any():
            return wrong(f"{(counts > 1).sum()} of them are there more than once.")
        if (counts == 0).any():
            return wrong(f"{(counts == 0).sum()} of 20 are missing.")
        away = self.away()
        if away.empty:
            return wrong("All are there, and no node died since the exercise began.")
        if not (made["created_at"] > away["at"].min()).any():
            return wrong("All were made before the node died: none was under way at that moment.")
        if (deaths := self.killed(self._led)).empty:
            return wrong(f"{away['target'].iloc[-1]} was away; but {self._led} led the queue.")
        calls = self.calls("create_book")
        asked = first(self.lab, Moment.ASKED, calls)
        before = max(calls["id"][asked < death].nunique() for death in deaths)
        if before < 20:
            return wrong(
                f"Of twenty {before} were asked for when {self._led} was killed: ask for all of "
                "them at once, and have it killed then."
            )
        return right("Asked of one leader, made by way of another; no caller noticed.")

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client(timeout=60)
        books = [{"title": f"Book {n}", "author": "Anyone"} for n in range(1, 21)]
        calls = [asyncio.create_task(client.call("create_book", book)) for book in books]
        await asyncio.sleep(0.5)
        async with await self.lab.faults.kill("leader of api.requests"):
            await self.lab.start_workers(1)
            await asyncio.gather(*calls)


class TwoOfThree(Cluster):
    """No worker runs. Ask for *Dune* (Frank Herbert), and when its request is in the queue have
    **two** nodes away at the same time. Bring them back, start a worker: the call has to be
    answered.
    """

    title = "No majority, and nothing lost"
    stars, minutes, workers = 2, 7, 0
    tips = (
        "The call is a task with a long timeout; the request is there when `ready` is 1.",
        "Kill two by name, heal both faults, and then `await lab.start_workers(1)`.",
    )

    async def look(self) -> Assessment:
        made = await self.made("Dune")
        if made.empty:
            return not_attempted("There is no Dune.")
        if len(made) > 1:
            return wrong(f"There are {len(made)} of it.")
        both = self._both_away()
        if both.empty:
            return wrong("Never were two nodes away at the same time: two of three are a majority.")
        if made["created_at"].iloc[0] < both.min():
            return wrong("Dune was made before the second node died: no worker should run then.")
        accepted = first(self.lab, Moment.ACCEPTED, self.calls("create_book")).min()
        if not both.between(accepted, made["created_at"].iloc[0]).any():
            return wrong(
                "Two nodes were away, and Dune was made; but its request was not in the queue when "
                "the second one went. Ask first, and have them killed when `ready` is 1."
            )
        return right("Without a majority the queue did nothing; and it forgot nothing.")

    def _both_away(self) -> pd.Series:
        """Each time at which a second one went."""
        away = self.away().sort_values("at").to_dict("records")
        seconds = [
            later["at"]
            for sooner, later in combinations(away, 2)
            if sooner["target"] != later["target"] and not later["at"] > sooner["healed"]
        ]
        return pd.Series(pd.to_datetime(seconds, utc=True))

    async def answer(self) -> None:
        import asyncio

        client = await self.lab.client(timeout=60)
        dune = {"title": "Dune", "author": "Frank Herbert"}
        call = asyncio.create_task(client.call("create_book", dune))
        while not (await self.lab.queues())["ready"].get("api.requests"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        first = await self.lab.faults.kill("broker-1")
        second = await self.lab.faults.kill("broker-2")
        await second.heal()
        await first.heal()
        await self.lab.start_workers(1)
        await call


class UpdatedInTurn(Cluster):
    """An update: each of the three nodes is stopped and started, one after the other, while a
    librarian creates *Update 1*, *Update 2*, … (by Anyone), one after the other. While each of them
    is away a book has to be made, and no book twice.
    """

    title = "An update in working hours"
    stars, minutes = 3, 8
    tips = (
        "A task that creates books until an event is set, with a key for each; and the update.",
        "`await lab.faults.rolling_restart()` does it in turn; `restart('broker-1')` one by hand.",
        "The next one may go when `members` has all three again.",
    )

    async def look(self) -> Assessment:
        rows = await self.lab.rows("books_v1")
        made = rows[rows["title"].str.startswith("Update ")]
        away = self.away()
        if made.empty and away.empty:
            return not_attempted("There is no book *Update …*, and no node was restarted.")
        if set(away["target"]) != set(NODES):
            there = ", ".join(sorted(set(away["target"]))) or "none"
            return wrong(f"Of the three nodes these were restarted: {there}.")
        if made["title"].duplicated().any():
            return wrong(f"{made['title'].duplicated().sum()} books are there twice.")
        for _, gone in away.iterrows():
            if not made["created_at"].between(gone["at"], gone["healed"]).any():
                return wrong(f"While {gone['target']} was away no book was made.")
        if missing := await self.missing():
            return wrong(f"{', '.join(missing)} is not back.")
        return right(f"{len(made)} books, three restarts, and no caller noticed.")

    async def answer(self) -> None:
        import asyncio
        from itertools import count

        client = await self.lab.client(timeout=60)
        updated = asyncio.Event()

        async def librarian() -> None:
            for number in count(1):
                if updated.is_set():
                    return
                book = {"title": f"Update {number}", "author": "Anyone"}
                await client.call("create_book", book, idempotency_key=f"update-{number}")

        work = asyncio.create_task(librarian())
        await self.lab.faults.rolling_restart()
        updated.set()
        await work


EXERCISES = (AnotherLeads, ThroughAnElection, TwoOfThree, UpdatedInTurn)
