"""The key is all that is compared: a second request with it is answered "ok", whatever it asked
for.

The reply is that of the first request, so a client believes to have made what was never made.
"""

from dataclasses import replace

from server.application.dispatcher import Dispatcher
from server.application.effect import Effect
from server.application.hooks import Announce
from server.application.idempotency import Claim
from server.contract.envelope import Reply


class PayloadIgnored(Dispatcher):
    """The right application, but every request leaves the same fingerprint under its key."""

    async def once(self, claim: Claim, effect: Effect, announce: Announce) -> Reply:
        return await super().once(replace(claim, fingerprint=""), effect, announce)
