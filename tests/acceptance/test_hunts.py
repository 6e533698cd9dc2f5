"""Bug hunts: who looks closely can tell a wrong server from the right one, with a proof."""

import pytest

from flaws.hunts import HUNTED, hunted
from flaws.servers import SERVERS
from labkit import Lab
from labkit.errors import BadArgument
from labkit.exercises.hunt import BugHunt
from tests.acceptance.library_load import CLIENTS, Reader

SEEDS = range(1, 13)


async def look_closely(hunt: BugHunt) -> None:
    for number in range(CLIENTS):
        await Reader(hunt.client, f"reader {number}").round(1)


@pytest.mark.parametrize("seed", SEEDS[:8])
async def test_what_a_close_look_proves_is_right_and_the_contrary_is_wrong(
    place: str, seed: int
) -> None:
    async with Lab.open(place, workers=0) as lab:
        hunt = await BugHunt(lab, seed).begin()
        assert (await hunt.acquit()).outcome == "not attempted"
        await hunt.client.request("ping", request_id="one")
        assert "too few" in repr(await hunt.acquit())
        assert "does not show" in repr(await hunt.accuse("I1", "one"))
        await look_closely(hunt)
        assert hunt._ledger is not None
        found = (await hunt._judged(hunt._ledger)).found
        if hunted(seed) == "none":
            assert not found
            assert (await hunt.acquit()).outcome == "right"
        else:
            assert found, hunted(seed)
            proof = next(violation for violation in found if violation.operation is not None)
            assert proof.operation is not None
            assert "proof against it" in repr(await hunt.acquit())
            other = "I6" if proof.invariant != "I6" else "I7"
            assert "it is not I" in repr(await hunt.accuse(other, proof.operation))
            assert "does not prove it" in repr(await hunt.accuse(proof.invariant, "one"))
            assert (await hunt.accuse(proof.invariant, proof.operation)).outcome == "right"


async def test_an_accusation_names_one_of_the_ten(place: str) -> None:
    hunt = BugHunt(Lab.open(place), 1)
    with pytest.raises(BadArgument, match="I10"):
        await hunt.accuse("I11", "one")
    assert len(hunt.invariants()) == 10


def test_the_hunts_have_a_dozen_flaws_and_their_seeds_differ() -> None:
    flaws = set(HUNTED) - {"none"}
    assert len(flaws) >= 12
    assert flaws <= SERVERS.keys()
    assert len({hunted(seed) for seed in SEEDS}) >= 6
    assert "none" in {hunted(seed) for seed in SEEDS}
