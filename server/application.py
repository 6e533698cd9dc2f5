"""The one way in, for every transport: a request becomes a reply."""

from typing import Any

from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncConnection

from server import auth, callers
from server.contract import Reply, Request, validate
from server.database import Database
from server.errors import (
    ApiError,
    InProgress,
    RateLimited,
    Unavailable,
    UnknownAction,
    UnsupportedVersion,
)
from server.handlers import VERSIONS
from server.handlers.action import Action
from server.idempotency import Announce, Claim, Effect, once
from server.principal import Principal
from server.rate_limit import RateLimit
from server.steps import Observer, Step, nobody


class Application:
    """Authenticates, validates and applies requests. It owns nothing: the database is lent."""

    def __init__(
        self,
        database: Database,
        observe: Observer = nobody,
        limit: RateLimit | None = None,
    ) -> None:
        self.database = database
        self._observe = observe
        self._limit = limit or RateLimit()

    async def execute(
        self, request: Request, *, again: bool = False, on_behalf_of: str | None = None
    ) -> Reply:
        """The reply to the request; a refusal is a reply too.

        ``again`` says that it may have been worked on before: it was let in then, so no limit of
        rate keeps it out now. ``on_behalf_of`` names another user, for whom a librarian sends it.

        Raises ``Unavailable``, or ``InProgress`` while a first request with its key is running:
        the transport knows whether to wait or to tell. Any other exception is a bug.
        """
        if not again:
            try:
                self._limit.take(auth.credentials(request))
            except RateLimited as refusal:
                return Reply.refusal(refusal)
        try:
            return await self._execute(request, on_behalf_of)
        except (Unavailable, InProgress):
            raise
        except ApiError as refusal:
            return Reply.refusal(refusal)

    async def _execute(self, request: Request, on_behalf_of: str | None) -> Reply:
        action = _action(request)
        async with self.database.reading() as connection:
            principal = await self._authenticate(connection, action, request, on_behalf_of)
            payload = validate(action.payload, auth.without_token(request.data))
            if action.writes is None or principal is None:
                return Reply(data=_json(await action.handler(connection, payload)))
        principal.require_librarian()
        claim = Claim.of(request, payload, principal.user_id, action.writes)
        return await self._write(request, action, payload, claim)

    async def _authenticate(
        self,
        connection: AsyncConnection,
        action: Action,
        request: Request,
        on_behalf_of: str | None,
    ) -> Principal | None:
        """None for an action that is for everybody."""
        if action.public:
            return None
        principal = await auth.authenticate(connection, request)
        if on_behalf_of is not None:
            principal = await callers.act_for(connection, principal, on_behalf_of)
        await self._observe(Step.AUTHENTICATED, request.id)
        return principal

    async def _write(
        self, request: Request, action: Action, payload: BaseModel, claim: Claim
    ) -> Reply:
        async def effect(transaction: AsyncConnection) -> Any:
            return _json(await action.handler(transaction, payload))

        async def announce(step: Step) -> None:
            await self._observe(step, request.id)

        return await self.once(claim, effect, announce)

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        return await once(self.database, claim, effect, announce)


def _json(data: BaseModel) -> Any:
    return data.model_dump(mode="json")


def _action(request: Request) -> Action:
    actions = VERSIONS.get(request.version)
    if actions is None:
        raise UnsupportedVersion(
            f"There is no version {request.version!r}; there is: {', '.join(VERSIONS)}.",
            {"versions": list(VERSIONS)},
        )
    action = actions.get(request.action)
    if action is None:
        raise UnknownAction(
            f"{request.version} has no action {request.action!r}; it has: {', '.join(actions)}.",
            {"actions": list(actions)},
        )
    return action
