"""docker/prometheus and docker/alertmanager: alerts fire as they say, have runbooks, ask what is served."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.prometheus import DOCKER, NEEDS_PROMETHEUS, ROOT, tool

PROMETHEUS = DOCKER / "prometheus"
RUNBOOKS = ROOT / "docs" / "runbooks"
GROUPS = yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]
ALERTS: dict[str, dict[str, Any]] = {rule["alert"]: rule for group in GROUPS for rule in group["rules"]}
SECTIONS = ["## Look at", "## Do"]


@NEEDS_PROMETHEUS
def test_each_alert_is_quiet_and_then_fires_with_its_words() -> None:
    assert "SUCCESS" in tool("promtool", "test", "rules", PROMETHEUS / "alerts_test.yml")


def test_no_alert_is_without_such_a_test() -> None:
    tested = yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]
    asked = {
        (one["alertname"], bool(one["exp_alerts"])) for test in tested for one in test["alert_rule_test"]
    }
    assert asked == {(name, fires) for name in ALERTS for fires in (False, True)}


@NEEDS_PROMETHEUS
@pytest.mark.parametrize("config", sorted(PROMETHEUS.glob("*.yml")), ids=lambda path: path.stem)
def test_prometheus_takes_its_configuration(config: Path) -> None:
    if not config.stem.startswith("alerts"):
        tool("promtool", "check", "config", config)


@NEEDS_PROMETHEUS
def test_alertmanager_takes_its_configuration() -> None:
    tool("amtool", "check-config", DOCKER / "alertmanager" / "alertmanager.yml")


def test_what_alertmanager_tells_apart_are_alerts_and_severities_that_exist() -> None:
    text = (DOCKER / "alertmanager" / "alertmanager.yml").read_text()
    named = re.findall(r'alertname=~?"([\w|]+)"', text)
    assert {name for names in named for name in names.split("|")} <= set(ALERTS)
    assert {rule["labels"]["severity"] for rule in ALERTS.values()} == {"page", "note"}
    assert re.findall(r'severity="(\w+)"', text) == ["page"]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    pages = {page.stem: page.read_text() for page in RUNBOOKS.glob("*.md") if page.stem != "README"}
    assert set(pages) == set(ALERTS)
    index = (RUNBOOKS / "README.md").read_text()
    for group in GROUPS:
        for rule in group["rules"]:
            name, severity = rule["alert"], rule["labels"]["severity"]
            assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{name}.md"
            assert pages[name].startswith(
                f"# {name}\n\n*{group['name'].capitalize()}, severity `{severity}`.* "
            )
            assert re.findall(r"^## .*", pages[name], re.M) == SECTIONS, name
            assert f"| [{name}]({name}.md) | `{severity}` |" in index


def test_the_runbooks_lead_to_pages_and_commands_that_exist() -> None:
    for page in RUNBOOKS.glob("*.md"):
        text = page.read_text()
        for link in re.findall(r"\]\(([^)]+)\)", text):
            assert (RUNBOOKS / link).exists(), f"{page.name}: {link}"
        for command in re.findall(r"`etl ([a-z]+)", text):
            assert (ROOT / "etl" / "commands" / f"{command}.py").exists(), f"{page.name}: etl {command}"


def test_every_metric_that_an_alert_asks_for_is_served_by_the_code() -> None:
    asked = set(re.findall(r"\b(?:etl|process)_\w+", " ".join(rule["expr"] for rule in ALERTS.values())))
    assert len(asked) > 20
    source = "".join(
        path.read_text() for folder in ("etl", "plugins") for path in (ROOT / folder).rglob("*.py")
    )
    served = set(re.findall(r'"(etl_\w+)"', source)) | {"process_resident_memory_bytes"}
    assert {re.sub(r"_(?:total|bucket|count)$", "", name) for name in asked} <= served
