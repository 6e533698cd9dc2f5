"""Whose each change is: by the claims that the server makes in the same transaction.

A transaction says itself which requests it is for, since it claims each one's key, or its id, or
both. So a change is matched with its operation exactly, and not by equal values; only a change in a
transaction without a claim is, and that it has none is a violation. Requests that share a
transaction, and asked for the same, are distinguished by the rows that their replies name.
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from labkit.ledger.effects import Effect, effect_of
from labkit.ledger.evidence import Change, Evidence
from labkit.ledger.operations import EffectKey, Operation
from labkit.ledger.replies import said
from server.contract.envelope import BY_REQUEST_ID

Askers = Mapping[EffectKey, list[Operation]]


@dataclass(frozen=True)
class Stray:
    """A change that no operation asked for like this; ``claim`` is the one it was made under."""

    change: Change
    claim: EffectKey | None
    foreign: bool = False
    """Whether the run knows nothing of that claim."""


@dataclass(frozen=True)
class Owned:
    """Every change of a run, but for those of others who were declared."""

    applied: dict[EffectKey, list[Change]] = field(default_factory=lambda: defaultdict(list))
    """EffectKey → the changes that its operations asked for: one, if all is well."""
    strays: list[Stray] = field(default_factory=list)
    claims_of: dict[str, list[EffectKey]] = field(default_factory=dict)
    """Transaction → the run's claims in it: several, if it was shared."""


def by_claim(operations: Iterable[Operation]) -> dict[EffectKey, list[Operation]]:
    """The writes; those with the same key, or the same id, are together.

    So is what was asked for once with a key and once, under the same id, without.
    """
    writes = [operation for operation in operations if operation.claim is not None]
    with_key = {(o.user, o.id): o for o in writes if o.key is not None}
    grouped: defaultdict[EffectKey, list[Operation]] = defaultdict(list)
    for operation in writes:
        twin = with_key.get((operation.user, operation.id), operation)
        same = operation is twin or str(effect_of(twin)) == str(effect_of(operation))
        claim = twin.claim if operation.key is None and same else operation.claim
        if claim is not None:
            grouped[claim].append(operation)
    return dict(grouped)


class Names:
    """What the server may call an operation's claim: by key, by id, or by either without a user."""

    def __init__(self, askers: Askers) -> None:
        self._claims: dict[EffectKey, EffectKey] = {claim: claim for claim in askers}
        for claim, operations in askers.items():
            for operation in operations:
                by_id = EffectKey(operation.user, BY_REQUEST_ID, operation.id)
                self._claims.setdefault(by_id, claim)
        self._of_unknown = {(c.scope, c.key): own for c, own in self._claims.items() if not c.user}

    def own(self, claim: EffectKey) -> EffectKey | None:
        """The claim of the run that this is a name of."""
        return self._claims.get(claim) or self._of_unknown.get((claim.scope, claim.key))


def owned(evidence: Evidence, askers: Askers) -> Owned:
    """The changes, by owner."""
    names, found = Names(askers), Owned()
    named = _named(evidence, askers, names)
    effects = {claim: _effects(operations) for claim, operations in askers.items()}
    made: defaultdict[str, list[EffectKey]] = defaultdict(list)
    for transaction, claim in sorted(evidence.claimed, key=lambda pair: pair[1].is_by_id):
        made[transaction].append(claim)
    for transaction, claims in made.items():
        own = map(names.own, claims)
        found.claims_of[transaction] = list(dict.fromkeys(c for c in own if c is not None))
    unclaimed: list[Change] = []
    for change in evidence.changes:
        mine = found.claims_of.get(change.transaction, [])
        if mine:
            _give(change, mine, effects, named, found)
        elif evidence.others.may(made.get(change.transaction, [])):
            continue
        elif made.get(change.transaction):
            found.strays.append(Stray(change, made[change.transaction][0], foreign=True))
        else:
            unclaimed.append(change)
    _adopt(unclaimed, effects, found)
    return found


def _effects(operations: Iterable[Operation]) -> list[Effect]:
    """What was asked for under one claim: more than one thing, if a key was used again."""
    asked = (effect_of(operation) for operation in operations)
    return list({effect.name: effect for effect in asked if effect is not None}.values())


def _named(evidence: Evidence, askers: Askers, names: Names) -> defaultdict[EffectKey, set[object]]:
    """EffectKey → the rows that its replies name: the stored one, and those that callers had."""
    named: defaultdict[EffectKey, set[object]] = defaultdict(set)
    for claim, operations in askers.items():
        for operation in operations:
            named[claim] |= _ids(said(operation)[0])
    for claim, reply in evidence.stored:
        if (own := names.own(claim)) is not None and reply:
            named[own] |= _ids(json.loads(reply)[0])
    return named


def _ids(data: Any) -> set[object]:
    """That of the row which a reply is about, if it is about one."""
    return {data["id"]} if isinstance(data, dict) and isinstance(data.get("id"), int) else set()


def _give(
    change: Change,
    mine: list[EffectKey],
    effects: Mapping[EffectKey, list[Effect]],
    named: Mapping[EffectKey, set[object]],
    found: Owned,
) -> None:
    """To one that asked for this and has none: whose reply names the row, or else names none."""
    asked = [claim for claim in mine if any(effect.made(change) for effect in effects[claim])]
    if not asked:
        found.strays.append(Stray(change, mine[0] if len(mine) == 1 else None))
        return
    asked.sort(key=lambda claim: (change.row_id not in named[claim], bool(named[claim])))
    found.applied[_first_without(asked, found)].append(change)


def _first_without(claims: list[EffectKey], found: Owned) -> EffectKey:
    return next((claim for claim in claims if not found.applied.get(claim)), claims[0])


def _adopt(changes: list[Change], effects: Mapping[EffectKey, list[Effect]], found: Owned) -> None:
    """Changes without a claim count as those of the operations that asked for just this."""
    places: defaultdict[tuple[str, str, int | None], list[tuple[EffectKey, Effect]]]
    places = defaultdict(list)
    for claim, asked in effects.items() if changes else ():
        for effect in asked:
            places[effect.what, effect.table, effect.row_id].append((claim, effect))
    for change in changes:
        row_id = None if change.what == "create" else change.row_id
        fitting = places[change.what, change.table, row_id]
        claims = [claim for claim, effect in fitting if effect.made(change)]
        if claims:
            found.applied[_first_without(claims, found)].append(change)
        found.strays.append(Stray(change, None))
