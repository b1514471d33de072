"""Grafana's dashboards are what the code makes, and each of their expressions shows something of a recorded run."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Iterator
from itertools import combinations
from typing import Any

import pytest

from etl.embedded.ports import free_ports
from etl.monitoring.dashboards import DASHBOARDS
from etl.monitoring.dashboards.grafana import WIDTH, text_of
from tests.support.prometheus import DOCKER, NEEDS_PROMETHEUS, ROOT, ask, started, tool, until

RECORDED = ROOT / "tests" / "fixtures" / "metrics" / "platform.om.gz"
"""163 seconds of `etl up` with four simulated venues, Airflow and the gateway, scraped by Prometheus every 15 s."""
PANELS: dict[str, list[dict[str, Any]]] = {
    name: json.loads(text_of(dashboard))["panels"] for name, dashboard in DASHBOARDS.items()
}


def test_the_committed_dashboards_are_what_the_code_makes() -> None:
    folder = DOCKER / "grafana" / "dashboards"
    assert {path.stem for path in folder.iterdir()} == set(DASHBOARDS)
    for name, dashboard in DASHBOARDS.items():
        assert (folder / f"{name}.json").read_text() == text_of(dashboard), (
            "python -m etl.monitoring.dashboards docker/grafana/dashboards"
        )


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_have_ids_of_their_own_and_lie_beside_each_other(name: str) -> None:
    panels = PANELS[name]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= WIDTH for place in places)
    for one, other in combinations(places, 2):
        assert (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )


def test_every_metric_that_is_shown_is_served_by_the_code() -> None:
    asked = set(re.findall(r"\betl_\w+", " ".join(expression for _, expression in expressions())))
    source = "".join(
        path.read_text() for folder in ("etl", "plugins") for path in (ROOT / folder).rglob("*.py")
    )
    served = set(re.findall(r'"(etl_\w+)"', source))
    assert {re.sub(r"_(?:total|bucket|count)$", "", name) for name in asked} <= served


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, float]]:
    """The port of a Prometheus that holds the recorded run, and when that ended."""
    folder = tmp_path_factory.mktemp("recorded")
    text = gzip.decompress(RECORDED.read_bytes()).decode()
    (folder / "run.om").write_text(text)
    tool("promtool", "tsdb", "create-blocks-from", "openmetrics", folder / "run.om", folder / "series")
    (folder / "none.yml").write_text("")
    (port,) = free_ports(1)
    server = started(
        "prometheus",
        f"--config.file={folder}/none.yml",
        f"--storage.tsdb.path={folder}/series",
        "--storage.tsdb.retention.time=100y",
        f"--web.listen-address=127.0.0.1:{port}",
        log=folder / "prometheus.log",
    )
    end_s = max(float(line.rsplit(" ", 1)[1]) for line in text.splitlines() if not line.startswith("#"))
    try:
        assert until(lambda: ask(port, "up", end_s))
        yield port, end_s
    finally:
        server.terminate()
        server.wait(30)


@NEEDS_PROMETHEUS
@pytest.mark.integration
def test_every_expression_shows_something_of_a_recorded_run(recorded: tuple[int, float]) -> None:
    port, end_s = recorded
    silent = [
        f"{place}: {expression}"
        for place, expression in expressions()
        if all(math.isnan(float(one["value"][1])) for one in ask(port, here(expression), end_s))
    ]
    assert silent == []


def expressions() -> list[tuple[str, str]]:
    """Each with its dashboard and panel."""
    return [
        (f"{name}: {panel['title']}", target["expr"])
        for name, panels in PANELS.items()
        for panel in panels
        for target in panel.get("targets", ())
    ]


def here(expression: str) -> str:
    """As Grafana asks it, for all venues."""
    return expression.replace("$__rate_interval", "1m").replace("$exchange", ".*")
