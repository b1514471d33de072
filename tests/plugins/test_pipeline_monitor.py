"""Who may ask what of the Pipeline Monitor, on the real API server, for every route that the application has."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest
from fastapi.routing import APIRoute

from etl.audit.data_docs import POLICY, write_data_docs
from etl.audit.expectations import data_docs_path
from etl.embedded.airflow import AirflowClient, airflow_parts, credentials, url
from etl.embedded.supervisor import Supervisor
from etl.errors import EtlError
from etl.monitoring.page import SECTIONS
from etl.settings import Settings
from etl.up.plan import child_environment
from tests.support.servers import settings_on_free_ports

PATH_VALUES = {"name": "live", "path": "index.html", "dag_id": "load_timescale"}
ANONYMOUS = ""
NOBODY = "nobody"
"""Logged in, with a role that has no rights."""
NOBODY_PASSWORD = "-has-no-rights"
"""Begins as generated ones may, and as an option of a command line does."""


def status(base: str, path: str, token: str = ANONYMOUS, method: str = "GET", body: object = None) -> int:
    request = urllib.request.Request(base + path, method=method)
    if body is not None:
        request.data = json.dumps(body).encode()
        request.add_header("Content-Type", "application/json")
    if token:
        request.add_header("Authorization", f"Bearer {token}")
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def token_of(base: str, user: str, password: str) -> str:
    return AirflowClient(base, user, password)._token


def test_every_route_is_one_that_the_login_of_the_application_guards(plugin: Any) -> None:
    assert plugin.app.routes
    for route in plugin.app.routes:
        assert isinstance(route, APIRoute), f"{route} is not behind the application's dependencies"
        assert route.methods == {"GET"}
        guards = [getattr(dependency.call, "__qualname__", "") for dependency in route.dependant.dependencies]
        assert "requires_access_view.<locals>.inner" in guards, route.path


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


@pytest.mark.integration
@pytest.mark.slow
def test_every_route_refuses_strangers_and_viewers_and_lets_operators_in(plugin: Any, tmp_path: Path) -> None:
    settings = settings_on_free_ports(tmp_path)

    async def scenario() -> None:
        parts = [_with_nobody(part) for part in airflow_parts(settings) if part.name in SERVED_BY]
        async with Supervisor(parts, child_environment(settings), tmp_path) as running:
            await running.all_ready()
            await asyncio.to_thread(_check_routes, plugin, settings)

    asyncio.run(scenario())


SERVED_BY = ("airflow-bootstrap", "airflow-api-server")


def _with_nobody(part: Any) -> Any:
    environment = {**part.environment, "BOOTSTRAP_USER_NOBODY": f"Public:{NOBODY_PASSWORD}"}
    return msgspec.structs.replace(part, environment=environment)


def _check_routes(plugin: Any, settings: Settings) -> None:
    base, passwords = url(settings), credentials(settings).passwords
    tokens = {user: token_of(base, user, password) for user, password in passwords.items()}
    tokens[NOBODY] = token_of(base, NOBODY, NOBODY_PASSWORD)
    found: dict[str, dict[str, int]] = {}
    for route in plugin.app.routes:
        path = "/pipeline-monitor" + route.path.replace(":path", "").format_map(PATH_VALUES)
        found[route.path] = {
            user: status(base, path, token) for user, token in {ANONYMOUS: ANONYMOUS, **tokens}.items()
        }
    assert {path: codes[ANONYMOUS] for path, codes in found.items()} == dict.fromkeys(found, 401)
    assert {path: codes[NOBODY] for path, codes in found.items()} == dict.fromkeys(found, 403)
    assert {path: codes["viewer"] for path, codes in found.items()} == dict.fromkeys(found, 403)
    assert {path: codes["operator"] for path, codes in found.items()} == {
        "/": 200,
        "/files/{name}": 404,
        "/sections/{name}": 200,
        "/data-docs/{path:path}": 404,
        "/may-trigger/{dag_id}": 204,
    }
    assert {path: codes["admin"] for path, codes in found.items()} == {
        path: codes["operator"] for path, codes in found.items()
    }
    run: dict[str, Any] = {"logical_date": None, "conf": {}}
    assert status(base, "/api/v2/dags/repair_gaps/dagRuns", tokens["viewer"], "POST", run) == 403
    assert status(base, "/api/v2/dags/repair_gaps/dagRuns", ANONYMOUS, "POST", run) == 401
    assert status(base, "/pipeline-monitor/files/..%2Findex.html", tokens["admin"]) == 404
    assert status(base, "/pipeline-monitor/data-docs/..%2Fcredentials.json", tokens["admin"]) == 404
    write_data_docs(data_docs_path(settings), date(2026, 6, 1), {})
    asked = urllib.request.Request(
        f"{base}/pipeline-monitor/data-docs/index.html",
        headers={"Authorization": f"Bearer {tokens['admin']}"},
    )
    with urllib.request.urlopen(asked, timeout=30) as answer:
        assert answer.headers.get_all("Content-Security-Policy") == [
            f"sandbox; {POLICY}; frame-ancestors 'none'"
        ]
    with pytest.raises(EtlError, match="401"):
        AirflowClient(base, NOBODY, "wrong")
