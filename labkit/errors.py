"""Errors of the lab itself: services, labs, queues, arguments. All of them are ``ApiError``s."""

from server.contract.errors import ApiError

NEXT_STEP = (
    "Start the lab with `make up` in a terminal; if it runs, `make doctor` says what is wrong with "
    "it. In a private lab `await lab.faults.undo()` starts what a fault has ended."
)
"""After a service did not answer: a client does not know whose it is."""


class BrokerAway(ApiError):
    """RabbitMQ cannot be reached."""

    code = "broker_away"
    is_transient = True

    def __init__(self, where: str, error: BaseException) -> None:
        """``where`` is host and port: a URL holds a password."""
        super().__init__(
            f"RabbitMQ cannot be reached at {where} ({type(error).__name__}: {error}). {NEXT_STEP}"
        )


class DatabaseAway(ApiError):
    """PostgreSQL cannot be reached."""

    code = "database_away"
    is_transient = True

    def __init__(self, where: str, error: BaseException) -> None:
        """``where`` is host and port: a URL holds a password."""
        super().__init__(
            f"PostgreSQL cannot be reached at {where} ({type(error).__name__}: {error}). "
            f"{NEXT_STEP}"
        )


class ServerAway(ApiError):
    """The server cannot be reached over HTTP; the request was not sent."""

    code = "server_away"
    is_transient = True

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(
            f"No server answers at {where} ({type(error).__name__}: {error}); nothing was sent. "
            f"{NEXT_STEP}"
        )


class LabNotOpen(ApiError):
    """The lab is not open: `lab = await Lab.open(name)` opens it, with the `await`; and one that
    was closed goes on with `await lab.reopen()`.
    """

    code = "lab_not_open"


class LabInUse(ApiError):
    """Another kernel has this lab open: to open it here would empty its tables and end its workers.

    Close it there (`await lab.close()`, or shut its kernel down), or take it over with
    `Lab.open(name, takeover=True)`.
    """

    code = "lab_in_use"


class LabTakenOver(ApiError):
    """This lab was opened again, here or by another kernel, which has its queues and workers now.

    `Lab.open(name, takeover=True)` takes it back.
    """

    code = "lab_taken_over"


class BadArgument(ApiError, ValueError):
    """This value cannot be used."""

    code = "bad_argument"


class NoSuchArgument(ApiError, TypeError):
    """There is no such argument."""

    code = "no_such_argument"


class NotSettled(ApiError, TimeoutError):
    """It did not come to rest in time."""

    code = "not_settled"


class NoSuchTable(ApiError):
    """The lab's database has no table of this name."""

    code = "no_such_table"


class WorkerFailed(ApiError):
    """A worker of the lab did not start."""

    code = "worker_failed"


class NoManagement(ApiError):
    """RabbitMQ's management API is not known: set MANAGEMENT_URL, as `make doctor` says."""

    code = "no_management"


class NoStory(ApiError):
    """Nothing is recorded: `async with lab.record() as run:` around the cell's calls does it."""

    code = "no_story"


class NoSuchQueue(ApiError):
    """There is no queue of this name: `python -m labkit queues` shows those that there are."""

    code = "no_such_queue"


class CannotLook(ApiError):
    """Looking into this queue would change what is in it."""

    code = "cannot_look"

    def __init__(self, queue: str, why: str) -> None:
        super().__init__(f"{queue} cannot be looked into: {why}")


class NoStatistics(ApiError):
    """The broker counts nothing: its management plugin collects no statistics, or no rates."""

    code = "no_statistics"


class NoSuchVhost(ApiError):
    """The broker has no virtual host of this name: a notebook's is `lab-` and its number."""

    code = "no_such_vhost"


class BadSelection(ApiError):
    """This selection cannot match any letter."""

    code = "bad_selection"


class NoLedger(ApiError):
    """There is no saved run of this name: `ledger.save(path)` writes one."""

    code = "no_ledger"


class Violated(ApiError):
    """An invariant does not hold."""

    code = "violated"


class QueueInUse(ApiError):
    """Another consumer holds this queue's messages."""

    code = "queue_in_use"
    is_transient = True


class NobodyAnswers(ApiError):
    """No worker answered. Nothing was moved: start one, `make up`, and ask again."""

    code = "nobody_answers"
    is_transient = True


class NotMoved(ApiError):
    """The broker did not take the message: the letter stays where it was."""

    code = "not_moved"
    is_transient = True


class FaultImpossible(ApiError):
    """This fault cannot happen in this lab."""

    code = "fault_impossible"
