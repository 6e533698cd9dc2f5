"""The one way in, for every transport: a request becomes a reply.

    admission ──► who asks? ──► is it valid? ──► once: claimed before? ──► may they? ──► handler

What they may do is asked last. A request that was applied has its outcome, even if its sender's
token has expired since, and it comes again because a reply was lost.
"""

from dataclasses import replace

from pydantic import BaseModel

from server.application.effect import Effect, Handled, as_json
from server.application.group_commit import GroupCommit
from server.application.handlers import VERSIONS
from server.application.handlers.action import Action
from server.application.hooks import Announce, Observer, announcing, no_observer
from server.application.idempotency import Claim
from server.application.keyed_locks import Busy, KeyedLocks, TooManyWaiting
from server.contract.envelope import Reply, Request, validate
from server.contract.errors import (
    ApiError,
    InProgress,
    Unauthorized,
    Unavailable,
    UnknownAction,
    UnsupportedVersion,
)
from server.contract.steps import Step
from server.persistence.database import Database
from server.security import authentication
from server.security.on_behalf_of import act_for, describe
from server.security.principal import Principal
from server.security.principal_cache import PrincipalCache
from server.security.rate_limit import Admission, RateLimit
from server.security.tokens import SigningKeys

ROOM = 32
ROW_BUSY = "Other requests are changing the same row: ask again in a moment."


class Dispatcher:
    """Authenticates, validates and applies requests. It owns nothing: the database is borrowed.

    ``room`` is for requests that wait here for others which want the same thing.
    """

    def __init__(
        self,
        database: Database,
        observe: Observer = no_observer,
        limit: RateLimit | None = None,
        *,
        room: int = ROOM,
    ) -> None:
        self.database = database
        self._observe = observe
        self._admission = Admission(limit or RateLimit())
        self._locks = KeyedLocks(room)
        self._keys = SigningKeys()
        self._principals = PrincipalCache()
        self._writes = GroupCommit(database)

    async def prepare(self) -> None:
        """Learn what has to be known while the database is away. Raises ``Unavailable``."""
        async with self.database.reading() as connection:
            await self._keys.load(connection)

    def admit(self, request: Request) -> None:
        """A request that a transport refuses itself counts as well. Raises ``RateLimited``."""
        self._admission.claimed(authentication.credentials(request))

    def caller_of(self, body: bytes) -> str | None:
        """Who sent this request, for its dead letter: see ``security.on_behalf_of``."""
        return describe(body, self._keys)

    async def execute(
        self,
        request: Request,
        *,
        again: bool = False,
        on_behalf_of: str | None = None,
        can_wait: bool = False,
    ) -> Reply:
        """The reply to the request; a refusal is a reply too.

        ``again`` says that it may have been worked on before: it was let in then, so no limit of
        rate keeps it out now. ``on_behalf_of`` names another user, for whom a librarian sends it.
        ``can_wait`` says that the transport has a place where it can wait.

        Raises ``Unavailable``, or ``InProgress`` while a first request with its key is running: the
        transport knows whether to try again or to answer that. ``TooManyWaiting`` if it
        ``can_wait`` and too many wait here already. Any other exception is a bug.
        """
        try:
            return await self._execute(request, again, on_behalf_of, can_wait)
        except (Unavailable, InProgress):
            raise
        except ApiError as refusal:
            return Reply.refusal(refusal)

    async def _execute(
        self, request: Request, again: bool, on_behalf_of: str | None, can_wait: bool
    ) -> Reply:
        action = _action(request)
        if action.public:
            return await self._login(action, request)
        principal = await self._authenticate(request, again, on_behalf_of)
        payload = validate(action.payload, authentication.without_token(request.data))
        if action.writes is None:
            principal.require_reader()
            return Reply(data=as_json(await self._read(action, payload)))
        claim = Claim.of(request, payload, principal.user_id, action.writes, is_repeated=again)
        effect = Handled(action, payload, principal)
        return await self._write(request, claim, effect, can_wait)

    async def _read(self, action: Action, payload: BaseModel) -> BaseModel:
        if not action.reads:
            return await action.handler(None, payload)
        async with self.database.reading() as connection:
            return await action.handler(connection, payload)

    async def _login(self, action: Action, request: Request) -> Reply:
        payload = validate(action.payload, authentication.without_token(request.data))
        self._admission.login(request.data.get("name"))
        return Reply(data=as_json(await action.handler(self.database, payload)))

    async def _authenticate(
        self, request: Request, again: bool, on_behalf_of: str | None
    ) -> Principal:
        credentials = authentication.credentials(request)
        if not again:
            self._admission.claimed(credentials)
        if credentials is None:
            raise authentication.nothing_sent()
        principal = await self._known(request, credentials)
        if not again:
            self._admission.proved(credentials, principal.user_id)
        if on_behalf_of is not None:
            async with self.database.reading() as connection:
                principal = await act_for(connection, principal, on_behalf_of)
        await self._observe(Step.AUTHENTICATED, request.id)
        return principal

    async def _known(self, request: Request, credentials: str) -> Principal:
        """Who sends it, as of now, or of a moment ago: see ``security.principal_cache``."""

        async def look_up() -> Principal:
            async with self.database.reading() as connection:
                return await authentication.authenticate(connection, request, self._keys)

        try:
            return await self._principals.get(credentials, look_up)
        except Unauthorized:
            self._admission.failed(credentials)
            raise

    async def _write(
        self, request: Request, claim: Claim, effect: Handled, can_wait: bool
    ) -> Reply:
        """One request at a time goes on with this claim, and with this row.

        Duplicates wait for the first, and changes of one row for each other, without a connection.
        """
        row = getattr(effect.payload, "id", None)
        keys = claim.names if row is None else [*claim.names, (effect.action.writes, row)]
        try:
            async with self._locks.hold(keys, self.database.lock_timeout) as others_had:
                if any(key in claim.names for key in others_had):
                    # It is there now. In a shared transaction it would only undo the others' work.
                    claim = replace(claim, is_repeated=True)
                return await self.once(claim, effect, announcing(self._observe, request.id))
        except Busy as busy:
            if can_wait and isinstance(busy, TooManyWaiting):
                raise
            is_claim = busy.key in claim.names
            raise (InProgress() if is_claim else Unavailable(ROW_BUSY)) from busy

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        return await self._writes.once(claim, effect, announce)


def _action(request: Request) -> Action:
    actions = VERSIONS.get(request.version)
    if actions is None:
        raise UnsupportedVersion(
            f"There is no version {request.version!r}. Choose one of: {', '.join(VERSIONS)}.",
            {"versions": list(VERSIONS)},
        )
    action = actions.get(request.action)
    if action is None:
        raise UnknownAction(
            f"{request.version} has no action {request.action!r}; it has: {', '.join(actions)}.",
            {"actions": list(actions)},
        )
    return action
