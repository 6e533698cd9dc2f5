"""The broker on Docker counts as often as the private one."""

from labkit.services.node import CONFIGURATION, COUNT_EVERY
from tests.support import ROOT


def test_the_broker_on_docker_counts_as_often() -> None:
    docker = (ROOT / "docker" / "statistics.conf").read_text().splitlines()
    ours = CONFIGURATION.replace("{count_every}", str(COUNT_EVERY)).splitlines()
    policies = [line for line in ours if "sample_retention_policies" in line]
    assert [line for line in docker if not line.startswith("#")] == policies
