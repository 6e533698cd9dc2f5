"""Who else may change the library during a run: requests that the ledger has not seen."""

from dataclasses import dataclass, field

from labkit.ledger.operations import EffectKey


@dataclass(frozen=True)
class Others:
    """A change that no watched client asked for is a violation, unless one of these says so."""

    keys: list[str] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    everybody: bool = False
    sql: bool = False

    def may(self, claims: list[EffectKey]) -> bool:
        """Whether they may have committed a transaction with these claims."""
        if not claims:
            return self.sql
        return self.everybody or any(map(self._is_theirs, claims))

    def _is_theirs(self, claim: EffectKey) -> bool:
        names = self.ids if claim.is_by_id else self.keys
        return claim.key in names or claim.user in self.users
