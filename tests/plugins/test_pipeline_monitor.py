"""The application and the page of the Pipeline Monitor, read without a server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from fastapi.routing import APIRoute

from etl.monitoring.page import SECTIONS
from etl.resources import IMPORT_ROOT


def test_every_route_is_one_that_the_login_of_the_application_guards(plugin: Any) -> None:
    found = plugin.application().routes
    assert found
    for route in found:
        assert isinstance(route, APIRoute), f"{route} is not behind the application's dependencies"
        assert route.methods == {"GET"}
        guards = [getattr(dependency.call, "__qualname__", "") for dependency in route.dependant.dependencies]
        assert "requires_access_view.<locals>.inner" in guards, route.path


def test_a_process_that_serves_no_page_imports_nothing_of_the_api(plugin: Any, tmp_path: Path) -> None:
    """Scheduler, DAG processor and triggerer load the plugin too."""
    code = (
        f"import runpy, sys; found = runpy.run_path({plugin.__file__!r}, run_name='pipeline_monitor');"
        " print('=', 'airflow.api_fastapi.core_api.security' in sys.modules);"
        " (app,) = found['PipelineMonitor']().fastapi_apps; print('=', len(app['app'].routes));"
        " print('=', 'airflow.api_fastapi.core_api.security' in sys.modules)"
    )
    environment = {**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(IMPORT_ROOT)}
    said = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    told = [line for line in said.stdout.splitlines() if line.startswith("=")]  # Airflow warns of its own
    assert told == ["= False", "= 5", "= True"], said.stderr


def test_the_page_asks_for_no_file_that_the_plugin_does_not_serve(plugin: Any) -> None:
    page = (plugin.PAGE / "index.html").read_text()
    asked = re.findall(r'(?:src|href)="files/([^"]+)"', page)
    assert sorted(asked) == sorted(plugin.FILES)
    assert all((plugin.PAGE / name).is_file() for name in asked)
    assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
    script = (plugin.PAGE / "app.js").read_text()
    drawn = set(re.findall(r"^  (\w+): \{ everyS", script, re.MULTILINE))
    assert drawn - {"jobs"} == set(SECTIONS)
    places = set(re.findall(r'<section id="(\w+)"', page))
    assert places == {
        place for found in re.findall(r"places: \[([^\]]*)\]", script) for place in re.findall(r"\w+", found)
    }
