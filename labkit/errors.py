"""What a call can end in, beside a reply. With the server's own errors they are one tree."""

from server.contract.errors import ApiError


class BrokerAway(ApiError):
    """RabbitMQ cannot be reached."""

    code = "broker_away"
    is_transient = True

    def __init__(self, where: str, error: BaseException) -> None:
        """``where`` is host and port: a URL holds a password."""
        super().__init__(
            f"RabbitMQ cannot be reached at {where} ({type(error).__name__}: {error}). "
            "Start the lab with `make up`; if it runs, `make doctor` tells what is wrong with it."
        )


class ServerAway(ApiError):
    """The server cannot be reached over HTTP; the request was not sent."""

    code = "server_away"
    is_transient = True

    def __init__(self, where: str, error: BaseException) -> None:
        super().__init__(
            f"No server answers at {where} ({type(error).__name__}: {error}); nothing was sent. "
            "Start the lab with `make up`; if it runs, `make doctor` tells what is wrong with it."
        )


class LabNotOpen(ApiError):
    """The lab is not open: run `lab = await Lab.open(name)` first, with the `await`."""

    code = "lab_not_open"


class NoSuchTable(ApiError):
    """The lab's database has no table of this name."""

    code = "no_such_table"


class WorkerFailed(ApiError):
    """A worker of the lab did not start."""

    code = "worker_failed"


class NoManagement(ApiError):
    """RabbitMQ's management API is not known: set MANAGEMENT_URL, as `make doctor` says."""

    code = "no_management"


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
    """This selects nothing that there could be."""

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
