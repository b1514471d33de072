from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib.metadata import version
from pathlib import Path

import pytest

from etl.embedded import airflow
from etl.embedded.airflow import AirflowClient, airflow_parts, credentials, login, url
from etl.errors import EtlError
from etl.resources import IMPORT_ROOT
from etl.settings import make

SECRET_WORDS = ("fernet_key", "secret_key", "jwt_secret", "password", "sql_alchemy_conn")


def test_credentials_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path))
    made = credentials(settings)
    assert sorted(made.passwords) == ["admin", "operator", "viewer"]
    assert len(set(made.passwords.values())) == 3
    assert credentials(settings) == made
    assert stat.S_IMODE((tmp_path / "airflow" / "credentials.json").stat().st_mode) == 0o600
    assert made.passwords["admin"] not in repr(made)


def test_no_secret_is_on_a_command_line(tmp_path: Path) -> None:
    settings = make(state_dir=str(tmp_path))
    made = credentials(settings)
    words = [word for part in airflow_parts(settings) for word in part.command]
    for secret in (made.fernet_key, made.jwt_secret, made.api_secret_key, *made.passwords.values()):
        assert not any(secret in word for word in words)


def test_airflow_elsewhere_is_reached_with_the_login_of_its_url(tmp_path: Path) -> None:
    elsewhere = make(state_dir=str(tmp_path), airflow_url="https://ops:s%40fe@airflow.example:8443/af/")
    assert url(elsewhere) == "https://airflow.example:8443/af"
    assert login(elsewhere) == ("ops", "s@fe")
    embedded = make(state_dir=str(tmp_path), airflow_port=18080)
    assert url(embedded) == "http://127.0.0.1:18080"
    assert login(embedded) == ("admin", credentials(embedded).passwords["admin"])


def test_the_configuration_file_holds_no_secret() -> None:
    lines = (Path(__file__).parents[2] / "airflow.cfg").read_text().splitlines()
    keys = [line.partition("=")[0].strip() for line in lines if "=" in line and not line.startswith("#")]
    assert [key for key in keys if key in SECRET_WORDS] == []


def test_a_component_is_the_command_airflow_with_a_slower_garbage_collector(tmp_path: Path) -> None:
    code = (
        "import atexit, gc, sys; atexit.register(lambda: print(gc.get_threshold()));"
        " sys.argv = ['airflow', 'version']; from etl.embedded.airflow_component import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "PYTHONPATH": str(IMPORT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines() == [version("apache-airflow"), "(10000, 20, 100)"], done.stderr


class AnsweringServer(HTTPServer):
    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.runs: list[str] = []
        self.statuses: list[int] = []


class Answers(BaseHTTPRequestHandler):
    """Gives the server's ``statuses`` one after the other; a run that was asked for is kept in ``runs``."""

    server: AnsweringServer

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "dag_run_id" in body:
            self.server.runs.append(body["dag_run_id"])
        status = self.server.statuses.pop(0) if self.server.statuses and "dag_run_id" in body else 200
        self.send_response(status)
        self.end_headers()
        self.wfile.write(b'{"access_token": "t"}')

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Iterator[AnsweringServer]:
    monkeypatch.setattr(airflow, "RETRY_STEP_S", 0.001)
    with AnsweringServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.mark.parametrize("statuses", [[], [503], [500, 409]])
def test_a_busy_airflow_is_asked_again_for_the_same_run(
    answers: AnsweringServer, statuses: list[int]
) -> None:
    answers.statuses = list(statuses)
    client = AirflowClient(f"http://127.0.0.1:{answers.server_port}", "admin", "x")
    run_id = client.trigger("load_timescale")
    assert set(answers.runs) == {run_id}


@pytest.mark.parametrize("statuses", [[409], [404], [500] * 5])
def test_a_refused_run_is_an_error(answers: AnsweringServer, statuses: list[int]) -> None:
    answers.statuses = list(statuses)
    client = AirflowClient(f"http://127.0.0.1:{answers.server_port}", "admin", "x")
    with pytest.raises(EtlError, match=str(statuses[0])):
        client.trigger("load_timescale")
