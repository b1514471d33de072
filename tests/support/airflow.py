"""One command of Airflow, on a home of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from etl import settings as settings_module
from etl.embedded import airflow_template
from etl.settings import Settings
from tests.dags.test_policy import airflow_environment

COMMAND_WITHIN_S = 240
"""On a machine that runs other tests beside it, such a command takes up to a minute and a half."""


def new_metadata(home: Path, settings: Settings) -> None:
    """As ``etl up`` makes them: a copy of what ``make setup`` made, where it has."""
    template = airflow_template.template()
    if template.exists():
        airflow_template.copy(home / "airflow.db", {}, template)
    else:
        assert airflow(home, settings, "db", "migrate").returncode == 0


def airflow(
    home: Path, settings: Settings, *words: str, module: str = "airflow"
) -> subprocess.CompletedProcess[str]:
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("ETL_")},
        **airflow_environment(home),
        **settings_module.as_environment(settings),
    }
    return subprocess.run(
        [sys.executable, "-m", module, *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=COMMAND_WITHIN_S,
        check=False,
    )
