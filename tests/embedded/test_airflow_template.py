"""A new state folder's metadata are a copy of what `make setup` made, with passwords of its own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from werkzeug.security import check_password_hash

from etl.embedded import airflow, airflow_template
from etl.resources import IMPORT_ROOT
from etl.settings import make

PASSWORDS = {"admin": "one:two", "operator": "-three", "viewer": "four"}


@pytest.fixture
def template(tmp_path: Path) -> Path:
    """Not the whole of Airflow's tables: those that a copy touches."""
    path = tmp_path / "template.db"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("CREATE TABLE ab_user (username TEXT, password TEXT)")
        users = [(user, airflow_template.NO_PASSWORD) for user in PASSWORDS]
        connection.executemany("INSERT INTO ab_user VALUES (?, ?)", users)
    return path


def digests(database: Path) -> dict[str, str]:
    with closing(sqlite3.connect(database)) as connection:
        return dict(connection.execute("SELECT username, password FROM ab_user"))


def bootstrap(*words: object) -> subprocess.CompletedProcess[str]:
    """Any import of Airflow fails."""
    users = {
        f"BOOTSTRAP_USER_{user.upper()}": f"{airflow_template.ROLE_BY_USER[user]}:{password}"
        for user, password in PASSWORDS.items()
    }
    code = (
        "import runpy, sys; sys.modules['airflow'] = None; sys.argv = sys.argv[1:];"
        " runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    return subprocess.run(
        [sys.executable, "-c", code, str(airflow_template.BOOTSTRAP), *map(str, words)],
        env={**os.environ, **users, "PYTHONPATH": str(IMPORT_ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_new_folder_copies_the_template_without_starting_airflow(tmp_path: Path, template: Path) -> None:
    database, marker = tmp_path / "airflow.db", tmp_path / "bootstrapped"
    done = bootstrap(marker, "f1", database, template)
    assert done.returncode == 0, done.stderr
    found = digests(database)
    assert found.keys() == PASSWORDS.keys()
    assert all(check_password_hash(found[user], password) for user, password in PASSWORDS.items())
    assert not check_password_hash(found["admin"], PASSWORDS["viewer"])
    assert marker.read_text() == "f1"
    assert set(digests(template).values()) == {airflow_template.NO_PASSWORD}


def test_metadata_that_are_there_are_migrated_and_never_replaced(tmp_path: Path, template: Path) -> None:
    database = tmp_path / "airflow.db"
    database.write_bytes(b"runs of a year")
    done = bootstrap(tmp_path / "bootstrapped", "f1", database, template)
    assert done.returncode != 0
    assert "airflow" in done.stderr, "it goes the long way, which this test has closed"
    assert database.read_bytes() == b"runs of a year"


def test_a_template_without_a_user_leaves_nothing_behind(tmp_path: Path, template: Path) -> None:
    with pytest.raises(sqlite3.DataError, match="no user guest"):
        airflow_template.copy(tmp_path / "airflow.db", {"guest": "x"}, template)
    assert not (tmp_path / "airflow.db").exists()


def test_the_template_is_given_to_the_bootstrap_of_embedded_metadata_alone(
    tmp_path: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(airflow_template, "template", lambda: template)
    ours = airflow.airflow_parts(make(state_dir=str(tmp_path)))[0]
    assert ours.command[-2:] == (str(tmp_path / "airflow" / "airflow.db"), str(template))
    theirs = airflow.airflow_parts(
        make(state_dir=str(tmp_path), airflow_database_url="postgresql://db.example/airflow")
    )[0]
    assert str(template) not in theirs.command


def test_another_set_up_has_another_template(monkeypatch: pytest.MonkeyPatch) -> None:
    before = airflow_template.fingerprint()
    monkeypatch.setattr(airflow_template, "files", lambda: ["binance"])
    assert airflow_template.fingerprint() != before
