"""docker/helm: what can be known of the chart without Helm; ``make chart`` asks Helm and Kubernetes' schemas."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

import etl
from etl import settings as settings_module
from etl.exchanges import files
from etl.sinks.readers import group_of

ROOT = Path(__file__).parents[1]
HELM = ROOT / "docker" / "helm"
CHART = HELM / "etl"
VALUES: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text())
AIRFLOW: dict[str, Any] = yaml.safe_load((HELM / "airflow.values.yaml").read_text())
TEMPLATES = {path.name: path.read_text() for path in (CHART / "templates").iterdir()}
RENDERER = ROOT / ".cache" / "chart" / "bin" / "python"


def test_the_chart_is_of_the_version_of_the_package() -> None:
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert (chart["version"], chart["appVersion"]) == (etl.__version__, etl.__version__)
    assert AIRFLOW["defaultAirflowTag"] == AIRFLOW["images"]["airflow"]["tag"] == etl.__version__


def test_settings_take_the_environment_of_the_chart_and_of_airflow() -> None:
    assert (
        settings_module.load(VALUES["settings"]).topics.partitions == VALUES["sink"]["scaling"]["replicasMax"]
    )
    written = re.findall(r"name: (ETL_[A-Z_]+)\n", "".join(TEMPLATES.values()))
    names = {name for name in written if name != settings_module.SECRETS_VARIABLE}
    assert {name.removeprefix("ETL_").lower() for name in names} <= settings_module.NAMES.keys()
    variables = {item["name"]: item["value"] for item in AIRFLOW["env"] if item["name"].startswith("ETL_")}
    assert settings_module.load({**variables, settings_module.SECRETS_VARIABLE: ""}).stores == (
        "clickhouse",
        "lake",
    )


def test_workers_are_of_venues_that_exist() -> None:
    assert VALUES["workers"].keys() <= set(files())


def test_the_lag_of_the_sinks_own_group_and_topic_is_asked_for() -> None:
    settings = settings_module.load(VALUES["settings"] | {"ETL_CLICKHOUSE_URL": "http://x:8123/market"})
    keda = VALUES["sink"]["scaling"]["keda"]
    assert keda["topic"] == settings.topics.normalized
    assert keda["bootstrapServers"] == settings.kafka_bootstrap
    assert keda["consumerGroup"] == group_of(settings)


@pytest.mark.skipif(not RENDERER.exists(), reason="make chart installs Helm's engine and Kubernetes' schemas")
def test_every_form_of_the_chart_is_what_kubernetes_takes() -> None:
    ended = subprocess.run([RENDERER, HELM / "check.py"], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout
    assert ended.stdout.splitlines()[-1] == "the chart is sound"


def test_airflows_airflow_is_the_locked_one() -> None:
    locked = (ROOT / "requirements-airflow.txt").read_text()
    assert f"apache-airflow=={AIRFLOW['airflowVersion']} " in locked
