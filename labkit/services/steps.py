"""Steps that run side by side, each as soon as those that it needs are finished."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from types import TracebackType

from labkit.services.errors import Cancelled
from labkit.services.progress import Progress

Work = Callable[[threading.Event], str]
"""Does something and says what it did. It ends soon, with `Cancelled`, once the event is set."""


class Steps:
    """`with Steps(progress) as steps` ends when all steps have.

    The first failure, or an interruption of the block, cancels the others; when all have ended, it
    is raised.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._cancel = threading.Event()
        self._pool = ThreadPoolExecutor(max_workers=16)
        self._futures: list[Future[None]] = []

    def begin(self, title: str, work: Work, *after: Future[None]) -> Future[None]:
        future = self._pool.submit(self._run, title, work, after)
        self._futures.append(future)
        return future

    def __enter__(self) -> "Steps":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            while error is None and self._wait(0.1):
                pass
        finally:
            # Threads cannot be interrupted, only asked: so that nothing is started half.
            self._cancel.set()
            self._pool.shutdown(wait=True)
        for future in self._futures:
            reason = future.exception()
            if error is None and reason is not None and not isinstance(reason, Cancelled):
                raise reason

    def _wait(self, seconds: float) -> bool:
        """Whether anything is still to be waited for. Short, or signals would have to wait too."""
        done, pending = wait(self._futures, timeout=seconds, return_when=FIRST_EXCEPTION)
        return bool(pending) and not any(future.exception() for future in done)

    def _run(self, title: str, work: Work, after: tuple[Future[None], ...]) -> None:
        wait(after)
        if self._cancel.is_set() or any(future.exception() for future in after):
            raise Cancelled
        start = time.monotonic()
        try:
            with self._progress.running(title):
                text = work(self._cancel)
        except Cancelled:
            raise
        except BaseException:
            self._progress.failed(title)
            raise
        self._progress.done(title, text, time.monotonic() - start)
