"""What the lab on Docker is watched with fits what the server says, and each other."""

import json
import re
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from server.metrics import Metrics
from server.settings import Settings
from tests.support import ROOT

WATCH = ROOT / "docker" / "watch"


def read(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


COMPOSE = read(ROOT / "docker-compose.watch.yml")["services"]
SERVICES = COMPOSE | read(ROOT / "docker-compose.yml")["services"]
DASHBOARD = json.loads((WATCH / "library.json").read_text())


def test_the_dashboard_asks_for_metrics_that_there_are() -> None:
    families = text_string_to_metric_families(generate_latest(Metrics().registry).decode())
    kinds = {f.name: f.type for f in families if not f.name.endswith("_created")}
    there = {f"{name}_total" for name, kind in kinds.items() if kind == "counter"}
    there |= {name for name, kind in kinds.items() if kind == "gauge"}
    for name, kind in kinds.items():
        if kind == "histogram":
            there |= {f"{name}_{part}" for part in ("bucket", "sum", "count")}
    asked = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    named = set(re.findall(r"library_\w+", " ".join(asked)))
    assert named <= there
    shown = {kind for kind in kinds if any(name.startswith(kind) for name in named)}
    assert shown == set(kinds)


def test_no_panel_lies_on_another() -> None:
    places = [panel["gridPos"] for panel in DASHBOARD["panels"]]
    covered = [
        (x, y)
        for at in places
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(covered) == len(set(covered))
    assert max(x for x, _ in covered) < 24


def test_prometheus_looks_where_the_servers_are() -> None:
    server = COMPOSE["server"]["environment"]
    for job in read(WATCH / "prometheus.yml")["scrape_configs"]:
        for found in job.get("dns_sd_configs", []):
            assert found["names"] == ["server"]
            assert found["port"] == server["METRICS_PORT"]
        for given in job.get("static_configs", []):
            for target in given["targets"]:
                name, _, number = target.partition(":")
                assert name in SERVICES
                assert (
                    name == "rabbitmq"
                    or int(number) == COMPOSE[name]["environment"]["METRICS_PORT"]
                )


def test_the_servers_understand_their_environment() -> None:
    for name in ("server", "rest"):
        given = {k: str(v) for k, v in COMPOSE[name]["environment"].items()}
        settings = Settings.from_env(
            {"AMQP_URL": "amqp://x", "DATABASE_URL": "postgresql://x"} | given
        )
        assert settings.otel_exporter_otlp_endpoint == "http://collector:4318"
        assert settings.metrics_port == 9100
        assert {key.lower() for key in given} <= set(Settings.model_fields)


def test_traces_find_their_way_from_the_servers_to_jaeger() -> None:
    collector = read(WATCH / "collector.yml")
    assert collector["receivers"]["otlp"]["protocols"]["http"]["endpoint"] == "0.0.0.0:4318"
    (pipeline,) = collector["service"]["pipelines"].values()
    for part, names in pipeline.items():
        assert set(names) <= set(collector[part])
    host, _, port = collector["exporters"]["otlp"]["endpoint"].partition(":")
    assert (host in SERVICES, port) == (True, "4317")


def test_grafana_knows_its_sources() -> None:
    (sources,) = (WATCH / "grafana" / "datasources").iterdir()
    uids = {each["uid"] for each in read(sources)["datasources"]}
    for panel in DASHBOARD["panels"]:
        assert panel["datasource"]["uid"] in uids
    for each in read(sources)["datasources"]:
        assert re.fullmatch(r"http://(\w+):\d+", each["url"])[1] in SERVICES  # type: ignore[index]
