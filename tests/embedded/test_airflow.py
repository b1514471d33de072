from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import pytest

from etl.embedded.airflow import AirflowClient, airflow_parts, credentials, login, url
from etl.embedded.plan import child_environment
from etl.embedded.ports import free_ports
from etl.embedded.supervisor import Supervisor
from etl.errors import EtlError
from etl.settings import Settings

SECRET_WORDS = ("fernet_key", "secret_key", "jwt_secret", "password", "sql_alchemy_conn")


def test_credentials_are_made_once_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    made = credentials(settings)
    assert sorted(made.passwords) == ["admin", "operator", "viewer"]
    assert len(set(made.passwords.values())) == 3
    assert credentials(settings) == made
    assert stat.S_IMODE((tmp_path / "airflow" / "credentials.json").stat().st_mode) == 0o600
    assert made.passwords["admin"] not in repr(made)


def test_no_secret_is_on_a_command_line(tmp_path: Path) -> None:
    settings = Settings(state_dir=str(tmp_path))
    made = credentials(settings)
    words = [word for part in airflow_parts(settings) for word in part.command]
    for secret in (made.fernet_key, made.jwt_secret, made.api_secret_key, *made.passwords.values()):
        assert not any(secret in word for word in words)


def test_airflow_elsewhere_is_reached_with_the_login_of_its_url(tmp_path: Path) -> None:
    elsewhere = Settings(state_dir=str(tmp_path), airflow_url="https://ops:s%40fe@airflow.example:8443/af/")
    assert url(elsewhere) == "https://airflow.example:8443/af"
    assert login(elsewhere) == ("ops", "s@fe")
    embedded = Settings(state_dir=str(tmp_path), airflow_port=18080)
    assert url(embedded) == "http://127.0.0.1:18080"
    assert login(embedded) == ("admin", credentials(embedded).passwords["admin"])


def test_the_configuration_file_holds_no_secret() -> None:
    lines = (Path(__file__).parents[2] / "airflow.cfg").read_text().splitlines()
    keys = [line.partition("=")[0].strip() for line in lines if "=" in line and not line.startswith("#")]
    assert [key for key in keys if key in SECRET_WORDS] == []


@pytest.mark.integration
def test_airflow_comes_up_lists_its_dags_and_knows_its_three_users(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    settings = Settings(state_dir=str(tmp_path), airflow_port=port)
    dags = {file.stem for file in (Path(__file__).parents[2] / "dags").glob("[a-z]*.py")}

    async def scenario() -> None:
        async with Supervisor(airflow_parts(settings), child_environment(settings), tmp_path) as running:
            await running.all_ready()
            await ask()

    async def ask() -> None:
        passwords = credentials(settings).passwords
        for user in passwords:
            AirflowClient(url(settings), user, passwords[user])
        with pytest.raises(EtlError, match="401"):
            AirflowClient(url(settings), "admin", passwords["viewer"])
        operator = AirflowClient(url(settings), "operator", passwords["operator"])
        await operator.wait_for_dags(dags)
        assert operator.import_errors() == []

    asyncio.run(scenario())
