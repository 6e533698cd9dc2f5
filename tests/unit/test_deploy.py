"""The manifests in ``deploy/`` fit the schemas of what they ask for, and the server's settings."""

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from labkit.services.node import CLUSTERED
from server.contract.limits import Limits
from server.contract.topology import REQUESTS
from server.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
MANIFESTS: dict[str, dict[str, Any]] = {
    f"{path.name}/{manifest['kind']}": manifest
    for path in sorted(DEPLOY.glob("*.yaml"))
    for manifest in yaml.safe_load_all(path.read_text("utf-8"))
}


def check(manifest: dict[str, Any]) -> None:
    schema = json.loads((DEPLOY / "schemas" / f"{manifest['kind']}.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(manifest)


def of_kind(kind: str) -> dict[str, Any]:
    return next(manifest for manifest in MANIFESTS.values() if manifest["kind"] == kind)


@pytest.mark.parametrize("name", MANIFESTS)
def test_each_manifest_fits_the_schema_of_its_kind(name: str) -> None:
    check(MANIFESTS[name])


@pytest.mark.parametrize("name", MANIFESTS)
def test_a_field_that_there_is_not_would_be_noticed(name: str) -> None:
    misspelt = copy.deepcopy(MANIFESTS[name])
    misspelt["spec"]["replicaz"] = 3
    with pytest.raises(ValidationError, match="replicaz"):
        check(misspelt)


def test_a_pod_has_longer_to_end_than_its_worker_to_drain() -> None:
    pod = of_kind("Deployment")["spec"]["template"]["spec"]
    given = {each["name"]: each["value"] for each in pod["containers"][0]["env"]}
    assert pod["terminationGracePeriodSeconds"] > float(given["DRAIN_TIMEOUT"])
    assert given.keys() <= {name.upper() for name in Settings.model_fields}
    assert Limits.model_validate({"clustered": given["CLUSTERED"]}).clustered


def test_workers_are_scaled_by_the_queue_that_they_consume() -> None:
    scaled = of_kind("ScaledObject")["spec"]
    assert [trigger["metadata"]["queueName"] for trigger in scaled["triggers"]] == [REQUESTS]
    assert scaled["scaleTargetRef"]["name"] == of_kind("Deployment")["metadata"]["name"]


def test_the_cluster_handles_a_partition_as_that_of_the_lab_does() -> None:
    (ours,) = re.findall(r"cluster_partition_handling = \w+", CLUSTERED)
    assert ours in of_kind("RabbitmqCluster")["spec"]["rabbitmq"]["additionalConfig"]
