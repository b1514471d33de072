"""Who may ask what of the Pipeline Monitor, on a running API server, for every route that the application has."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from etl.audit.data_docs import POLICY, write_data_docs
from etl.audit.expectations import data_docs_path
from etl.embedded.airflow import AirflowClient, credentials, url
from etl.errors import EtlError
from etl.settings import Settings

PLUGIN = Path(__file__).parents[2] / "plugins" / "pipeline_monitor.py"
PATH_VALUES = {"name": "live", "path": "index.html", "dag_id": "load_timescale"}
ANONYMOUS = ""
NOBODY = "nobody"
"""Logged in, with a role that has no rights."""
NOBODY_PASSWORD = "-has-no-rights"
"""Begins as generated ones may, and as an option of a command line does."""


@contextlib.contextmanager
def loaded_plugin(airflow_home: Path) -> Iterator[Any]:
    """The plugin's module, as Airflow loads it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(airflow_home))
        spec = importlib.util.spec_from_file_location("pipeline_monitor", PLUGIN)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module


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


def check_routes(plugin: Any, settings: Settings) -> None:
    """``NOBODY`` has an account too. Writes Data Docs at the end."""
    base, passwords = url(settings), credentials(settings).passwords
    tokens = {user: token_of(base, user, password) for user, password in passwords.items()}
    tokens[NOBODY] = token_of(base, NOBODY, NOBODY_PASSWORD)
    found: dict[str, dict[str, int]] = {}
    for route in plugin.application().routes:
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
