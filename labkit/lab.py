"""An isolated lab for one notebook: a virtual host, a database, and workers of its own."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import suppress
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack

from labkit import database
from labkit.board import Board
from labkit.client.amqp import AsyncAPIClient
from labkit.client.moments import FirstMoments, Moment
from labkit.client.rest import RestClient
from labkit.closing import close_all
from labkit.dead_letters import DeadLetters
from labkit.errors import BadArgument, LabNotOpen, NoStory, WorkerFailed
from labkit.faults.faults import Faults
from labkit.inspection import Inspection
from labkit.occupancy import Occupancy
from labkit.private import Grounds
from labkit.services.environment import ROOT
from labkit.services.files import make_folder
from labkit.services.home import Home
from labkit.services.inherited import inherited
from labkit.services.process import Process
from labkit.story import Recording, Sources, Story
from labkit.worker_settings import WorkerSettings, checked, environment_of, lab_name
from labkit.workers import OBEDIENT
from labkit.workspace import Workspace
from server.contract.errors import ApiError

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Key(Enum):
    """An API key that is not written out."""

    LABS_OWN = "the lab's own"


class Lab(Inspection):
    """In a notebook ``lab = await Lab.open("02")``, elsewhere ``async with Lab.open("02") as lab``.

    Opening makes the lab new: what an earlier run of the same name left behind is gone. So a
    notebook runs again from the top at any time, and no notebook disturbs another.

    What is in it can be looked at with the methods of ``Inspection``. What can go wrong in it, on
    purpose, is in ``lab.faults``; what an operator can do, in ``lab.dead_letters``.
    """

    def __init__(
        self,
        name: str,
        workers: int,
        rest: bool,
        private: bool,
        supervised: bool,
        seed: int,
        takeover: bool,
        obedient: bool,
        brokers: int,
        settings: WorkerSettings,
    ) -> None:
        """Use ``Lab.open``."""
        self.name = name
        self.settings = settings
        """The settings of all its workers."""
        self.amqp_url = self.client_amqp_url = self.database_url = ""
        self.api_key = self.rest_url = ""
        self.emptied_at: datetime | None = None
        """When it was last reset."""
        self.moments = FirstMoments()
        """Of the requests that clients of ``lab.client()`` have made since then."""
        self._worker_count = workers
        self._with_rest = rest
        self._private = private
        self._supervised = supervised
        self._seed = seed
        self._takeover = takeover
        self._obedient = obedient or private
        self._brokers = brokers
        self._environment = environment_of(settings)
        self._clients: list[AsyncAPIClient | RestClient] = []
        self._workspace: Workspace | None = None
        self._recording: Recording | None = None
        self._board: Board | None = None

    @classmethod
    def open(
        cls,
        name: str,
        *,
        workers: int = 1,
        rest: bool = False,
        private: bool = False,
        supervised: bool = False,
        seed: int = 0,
        takeover: bool = False,
        obedient: bool = False,
        brokers: int = 1,
        **settings: Unpack[WorkerSettings],
    ) -> Self:
        """To be awaited, or entered: ``Lab.open("08", workers=2, prefetch=1)``.

        ``name`` has letters a-z, digits and hyphens; ``workers`` are started, and with ``rest`` the
        lab is served over HTTP, too. ``settings`` are for all of its workers.

        A ``private`` lab has a broker and a database of its own, with proxies on the way to them,
        and workers that obey a plan: everything in it may be broken, see ``faults``. It starts in
        some seconds, and needs no running lab. With ``brokers=3`` its broker is a cluster of three,
        ``broker-1`` to ``broker-3``, with quorum queues on all of them.

        ``obedient`` workers in a shared lab report their steps to a recording, and do what
        ``faults`` orders at them, too. ``supervised`` workers that die are started again. ``seed``
        is for the faults that are left to chance. With ``takeover`` a lab is opened that another
        kernel has open, and loses there.

        Raises ``BadArgument`` (a ``ValueError``) and ``NoSuchArgument`` (a ``TypeError``) at once
        for what cannot be used. When it is awaited: ``services.errors.LabNotRunning``, which says
        the next step; ``BrokerAway`` and ``DatabaseAway`` if the lab's services are down;
        ``LabInUse`` if another kernel has it open; and ``WorkerFailed``.
        """
        lab_name(name)
        checked("workers", workers)
        checked("seed", seed)
        checked("brokers", brokers, at_least=1)
        if brokers > 1 and not private:
            raise BadArgument("A cluster is a private lab's: Lab.open(…, private=True, brokers=3)")
        return cls(
            name, workers, rest, private, supervised, seed, takeover, obedient, brokers, settings
        )

    def __await__(self) -> Generator[Any, None, Self]:
        return self._open().__await__()

    async def __aenter__(self) -> Self:
        return await self._open()

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def reopen(self) -> Self:
        """Go on in a lab that was closed: with its rows and messages, workers of the same number,
        and the same clients, connected again; with REST if one of them needs it. A lab that is open
        stays as it is. Raises as opening does; then the lab is closed, and keeps its clients.

        A private lab begins with nothing, for its broker and database ended with it.
        """
        if self._workspace is not None and self._workspace.occupancy.ours:
            return self
        await self.close()
        await self._open(keep=not self._private)
        try:
            for client in self._clients:
                await self._connect(client)
        except BaseException:
            await self.close()
            raise
        return self

    async def _connect(self, client: AsyncAPIClient | RestClient) -> None:
        is_rest = isinstance(client, RestClient)
        client.url = self.rest_url if is_rest else self.client_amqp_url
        await client.connect()

    async def _open(self, *, keep: bool = False) -> Self:
        run_dir = Home(ROOT / ".lab").run_dir
        make_folder(run_dir)
        occupancy = Occupancy(self.vhost, run_dir)
        occupancy.begin(takeover=self._takeover)
        try:
            grounds = await (
                Grounds.private(self._seed, self._brokers) if self._private else Grounds.shared()
            )
        except BaseException:
            occupancy.end()
            raise
        try:
            self._workspace = workspace = Workspace.on(
                grounds,
                self.name,
                self._environment,
                occupancy,
                obedient=self._obedient,
                supervised=self._supervised,
                seed=self._seed,
            )
            self.api_key = grounds.environment["API_KEY"]
            self.amqp_url = workspace.amqp_url
            self.client_amqp_url = workspace.client_amqp_url
            self.database_url = workspace.database_url
            if self._worker_count:
                workspace.workers.warm_up()
            await workspace.begin(keep=keep)
            await self.start_workers(self._worker_count)
            if self._with_rest or any(isinstance(c, RestClient) for c in self._clients):
                await self.serve_rest()
        except BaseException:
            try:
                await close_all(self.close, grounds.close)
            finally:
                occupancy.end()
            raise
        self._takeover = False  # once: who takes it over later is not taken by surprise
        return self

    async def close(self) -> None:
        """Ends clients and workers; rows and messages stay to be looked at. Twice is harmless.

        If something cannot be ended, everything else is ended all the same. It raises then, and
        closing the lab once more tries that again.
        """
        if (workspace := self._workspace) is not None:
            await close_all(
                self._stop_board,
                workspace.undo,
                self._stop_recording,
                self._close_clients,
                workspace.close,
            )
            self._workspace = None

    async def _stop_board(self) -> None:
        if self._board is not None:
            await self._board.stop()

    async def _stop_recording(self) -> None:
        if self._recording is not None:
            with suppress(ApiError, OSError):  # what it has seen so far stays
                await self._recording.stop()

    async def _close_clients(self) -> None:
        await close_all(*(client.close for client in self._clients))

    @property
    def vhost(self) -> str:
        """The name of the lab's virtual host, and of its database."""
        return f"lab-{self.name}"

    @property
    def faults(self) -> Faults:
        """What can go wrong in this lab, on purpose; closing the lab undoes it all."""
        return self._open_workspace().faults

    @property
    def dead_letters(self) -> DeadLetters:
        """The dead letters of this lab, with the lab's own key, which is a librarian's."""
        self._open_workspace()
        return DeadLetters(self.amqp_url, self.api_key)

    async def client(
        self,
        *,
        api_key: str | Key | None = Key.LABS_OWN,
        timeout: float = 10.0,  # noqa: ASYNC109
        tracer: "Tracer | None" = None,
    ) -> AsyncAPIClient:
        """A connected client; ``close()`` of the lab closes it, too.

        ``api_key`` is the lab's own unless it is given; with None the client sends none.
        ``timeout`` is the deadline of each call in seconds. With an OpenTelemetry ``tracer`` each
        call is a span.

        To the broker the client is the user ``client``, who may send requests and read their own
        replies, as is everyone who connects to ``lab.client_amqp_url``. For anything else connect
        to ``lab.amqp_url``, whose user may do everything in this lab.

        Raises ``BrokerAway``.
        """
        self._open_workspace()
        client = AsyncAPIClient(
            self.client_amqp_url, self._key(api_key), timeout=timeout, tracer=tracer
        )
        client.observers.append(self._note)
        self._clients.append(client)
        return await client.connect()

    async def rest_client(
        self,
        *,
        api_key: str | Key | None = Key.LABS_OWN,
        timeout: float = 10.0,  # noqa: ASYNC109
        tracer: "Tracer | None" = None,
    ) -> RestClient:
        """The same over HTTP. Raises ``LabNotOpen`` if the lab was opened without ``rest``, and
        ``ServerAway``.
        """
        self._open_workspace()
        if not self.rest_url:
            raise LabNotOpen(f"This lab has no REST: Lab.open({self.name!r}, rest=True)")
        client = RestClient(self.rest_url, self._key(api_key), timeout=timeout, tracer=tracer)
        self._clients.append(client)
        return await client.connect()

    @property
    def refused(self) -> int:
        """How many requests of the lab's clients the broker refused, because the queue was full."""
        return sum(c.refused for c in self._clients if isinstance(c, AsyncAPIClient))

    def board(self) -> Board:
        """Queues with their depths over time and rates, workers, the latest dead letters, and
        buttons for the usual faults, in a cell. It ends with the lab, or with ``await
        board.stop()``. Rates are of the last four counts of the broker: about as good as a quarter.
        """
        broker = self._open_workspace().broker
        if self._board is None or self._board.broker is not broker:  # it was opened again
            self._board = Board(self, broker)
        return self._board.start()

    def record(self) -> Recording:
        """``async with lab.record() as run:``: what happens to the requests meanwhile. ``run``
        shows them, and ``run.story(id)`` or ``lab.story(id)`` tells one. Raises ``BrokerAway``.
        """
        workspace = self._open_workspace()
        sources = Sources(
            workspace.broker,
            self.vhost,
            self.amqp_url,
            self.database_url,
            workspace.plan.folder,
            workspace.workers.names,
            workspace.faults.happened,
        )
        self._recording = Recording(sources, self._recording)
        return self._recording

    def _note(self, moment: Moment, request_id: str) -> None:
        self.moments.note(moment, request_id)
        if self._recording is not None:
            self._recording.note(moment, request_id)

    async def story(self, request_id: str) -> Story:
        """All that was seen of this request in the newest recording: a table with ``.table()``, a
        sequence diagram in a notebook, and step by step with ``.player()``. Raises ``NoStory``.
        """
        if self._recording is None:
            raise NoStory
        return await self._recording.story(request_id)

    def _key(self, given: str | Key | None) -> str | None:
        return self.api_key if isinstance(given, Key) else given

    async def start_workers(
        self,
        count: int = 1,
        *program: str,
        obedient: bool = False,
        dies_at: str | None = None,
        **settings: Unpack[WorkerSettings],
    ) -> None:
        """More workers: ``python -m server worker``, or another ``program``, such as one with a
        flaw, ``lab.start_workers(2, "flaws", "--flaw", "check-then-store")``.

        ``obedient`` ones are right, and do what ``lab.faults`` orders. With ``dies_at`` each is
        killed as soon as a request gets to that step. ``settings`` are for these alone,
        ``lab.start_workers(2, prefetch=1)``.

        Raises ``WorkerFailed`` with the end of the log, ``BrokerAway`` or ``DatabaseAway`` if that
        is why; ``BadArgument`` and ``NoSuchArgument`` for what cannot be used.
        """
        checked("count", count)
        if dies_at is not None:
            program = (*(program or OBEDIENT), "--dies-at", dies_at)
        elif obedient:
            program = program or OBEDIENT
        environment = environment_of(settings)
        workspace = self._open_workspace()
        try:
            await workspace.workers.start(count, *program, environment=environment)
        except WorkerFailed:
            await workspace.require_services()  # its log says it, in a hundred lines
            raise

    def start_program(self, path: Path) -> Process:
        """A server of your own: the Python program ``path``, with ``AMQP_URL``, ``DATABASE_URL``
        and the lab's settings in its environment. It ends with the lab, as the workers do.
        """
        return self._open_workspace().workers.start_program(path)

    async def have_workers(self, count: int, **settings: Unpack[WorkerSettings]) -> None:
        """Just so many right workers, with these settings, whatever runs now: for a new beginning
        in the middle of a lab. Raises as ``start_workers``.
        """
        checked("count", count)
        environment = environment_of(settings)
        if not self._open_workspace().workers.are(count, environment):
            await self.stop_workers()
            await self.start_workers(count, **settings)

    async def serve_rest(self) -> None:
        """The lab over HTTP, too, at the port of its settings or any free one; its REST clients
        find it. Raises ``WorkerFailed``.
        """
        port = self.settings.get("rest_port", 0)
        self.rest_url = await self._open_workspace().workers.start_rest(port)
        for client in self._clients:
            if isinstance(client, RestClient):
                client.url = self.rest_url

    async def stop_workers(self) -> None:
        """All of them drain and end."""
        await self._open_workspace().workers.stop()

    async def admin(self, *command: str, stdin: str = "") -> str:
        """Runs ``python -m server.admin COMMAND`` for this lab: it knows users, and API keys.
        ``stdin`` is its input. Returns what it prints, be it an error.
        """
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *("-m", "server.admin", *command),
            cwd=ROOT,
            env={**inherited(), "PYTHONPATH": str(ROOT), "DATABASE_URL": self.database_url},
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        output, _ = await process.communicate(stdin.encode())
        return output.decode().strip()

    async def reset(self) -> None:
        """No rows, no messages, ids from 1 again; clients and workers stay connected.

        Calls that still wait are cancelled, for their requests are gone. So a cell that leaves a
        call under way can be run again.
        """
        for client in self._clients:
            if isinstance(client, AsyncAPIClient):
                client.abandon()
        broker = self._open_workspace().broker
        for queue in await broker.queues_last_reported(self.vhost):
            if not queue["exclusive"]:  # a client's own reply queue is none of ours
                await broker.purge(self.vhost, queue["name"])
        await database.empty(self.database_url)
        self.moments.clear()
        self.emptied_at = datetime.now(UTC)

    def _open_workspace(self) -> Workspace:
        if self._workspace is None:
            raise LabNotOpen
        self._workspace.occupancy.require()
        return self._workspace
