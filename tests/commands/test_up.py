from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from etl import settings as settings_module
from etl.embedded import sessions
from etl.embedded.status import Status, read_status
from etl.errors import PartError
from etl.settings import make
from tests.support.servers import settings_on_free_ports

LIGHT = ("--profile", "light", "--stores", "lake")
UP_WITHIN_S = 90.0
DOWN_WITHIN_S = 40.0


def environment(state_dir: Path, **changed: str) -> dict[str, str]:
    """Our environment with every port free and all state under ``state_dir``."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ETL_")}
    chosen = settings_module.as_environment(settings_on_free_ports(state_dir))
    return {**inherited, **chosen, **changed}


def etl(variables: dict[str, str], *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "etl", *words],
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--report", "r.json"], "--report needs --duration"),
        (["--transport", "pigeon"], "--transport pigeon: kafka or redis"),
        (["--venues", "nasdaq"], "nasdaq: no such venue; known are"),
        (["--venues", "polygon", "--live"], "set POLYGON_API_KEY or MASSIVE_API_KEY"),
        (
            ["--live", "--venues", "binance", "--duration", "1", "--report", "r.json"],
            "--report needs the sim",
        ),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_code_2(tmp_path: Path, words: list[str], message: str) -> None:
    variables = environment(tmp_path, POLYGON_API_KEY="", MASSIVE_API_KEY="")
    running = etl(variables, "up", *words)
    output, _ = running.communicate(timeout=60)
    assert running.returncode == 2
    assert message in output
    assert output.count("\n") == 1


def test_metrics_cannot_be_switched_off_under_etl_up(tmp_path: Path) -> None:
    running = etl(environment(tmp_path, ETL_METRICS_PORT="0"), "up")
    output, _ = running.communicate(timeout=60)
    assert (running.returncode, output.count("\n")) == (2, 1)
    assert "ETL_METRICS_PORT=0" in output


def test_status_without_a_running_platform_says_how_to_start_one(tmp_path: Path) -> None:
    running = etl(environment(tmp_path), "status")
    output, _ = running.communicate(timeout=60)
    assert (running.returncode, output) == (1, f"etl: nothing runs on {tmp_path}; start it: etl up\n")


def up_and_streaming(state_dir: Path, running: subprocess.Popen[str]) -> Status:
    deadline = time.monotonic() + UP_WITHIN_S
    while time.monotonic() < deadline and running.poll() is None:
        try:
            status = read_status(state_dir)
        except PartError:
            time.sleep(0.2)
            continue
        if all(part.state in ("running", "done") for part in status.parts):
            return status
        time.sleep(0.2)
    logs = {log.name: log.read_text()[-500:] for log in (state_dir / "logs").glob("*.log")}
    code = running.poll()
    pytest.fail(f"not up: {code} {ended(running)[-2_000:]} {logs}")


def ended(running: subprocess.Popen[str]) -> str:
    """What it said: none is left to run beside the tests that follow. A guardian ends the parts of one that is
    killed."""
    running.terminate()
    try:
        return running.communicate(timeout=DOWN_WITHIN_S)[0]
    except subprocess.TimeoutExpired:
        running.kill()
        return running.communicate()[0]


@pytest.mark.integration
@pytest.mark.parametrize(
    ("number", "parts"),
    # the desk of tests/e2e ends the whole platform by SIGINT
    [(signal.SIGINT, LIGHT), (signal.SIGTERM, LIGHT), (signal.SIGKILL, ())],
)
def test_whatever_ends_etl_up_leaves_no_process(
    tmp_path: Path, number: signal.Signals, parts: tuple[str, ...]
) -> None:
    running = etl(environment(tmp_path), "up", "--no-airflow", "--venues", "binance", *parts)
    status = up_and_streaming(tmp_path, running)
    records = [sessions.session_of(part.name, part.pid) for part in status.parts if part.pid]
    assert len(records) >= (5 if parts else 8)
    running.send_signal(number)
    output, _ = running.communicate(timeout=DOWN_WITHIN_S)
    assert running.returncode == (-number if number == signal.SIGKILL else 0), output
    deadline = time.monotonic() + DOWN_WITHIN_S
    while any(sessions.members(record) for record in records):
        assert time.monotonic() < deadline, [record.part for record in records if sessions.members(record)]
        time.sleep(0.1)


@pytest.mark.integration
def test_killed_parts_come_back_and_the_run_still_reconciles_to_zero(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    words = ["--no-airflow", "--duration", "15", "--rate", "600", "--state", str(tmp_path / "state")]
    running = etl(environment(tmp_path), "up", *words, "--report", str(report))
    up_and_streaming(tmp_path / "state", running)
    for name in ("sink-clickhouse", "stream-binance", "clickhouse"):
        os.kill(pid_of(tmp_path / "state", name), signal.SIGKILL)
    output, _ = running.communicate(timeout=240)
    assert running.returncode == 0, output
    found = json.loads(report.read_text())
    assert found["ok"] is True
    assert sorted(found["venues"]) == ["alpaca", "binance", "polygon"]
    for venue in found["venues"].values():
        assert (venue["lost"], venue["duplicated"], venue["missed_undeclared"]) == (0, 0, 0)
        assert venue["clickhouse"] == venue["lake"] == venue["normalized"] > 0
    assert found["venues"]["polygon"]["missed"] == 0


@pytest.mark.integration
def test_the_lightest_deployment_reconciles_to_zero_though_its_broker_and_its_scheduler_died(
    tmp_path: Path,
) -> None:
    report, state = tmp_path / "report.json", tmp_path / "state"
    words = [*LIGHT, "--no-airflow", "--venues", "binance", "--rate", "300"]
    running = etl(
        environment(tmp_path), "up", *words, "--duration", "5", "--state", str(state), "--report", str(report)
    )
    status = up_and_streaming(state, running)
    assert {part.name for part in status.parts} == {
        *("valkey", "mailbox", "topics", "simulate-binance", "stream-binance", "schedule"),
    }
    for name in ("valkey", "schedule"):
        os.kill(pid_of(state, name), signal.SIGKILL)
    output, _ = running.communicate(timeout=120)
    assert running.returncode == 0, output
    found = json.loads(report.read_text())
    venue = found["venues"]["binance"]
    assert (found["ok"], found["stores"]) == (True, ["lake"])
    assert venue["lake"] == venue["normalized"] > 500


def pid_of(state_dir: Path, name: str) -> int:
    (pid,) = (part.pid for part in read_status(state_dir).parts if part.name == name)
    return pid


def test_settings_of_the_command_line_reach_the_children() -> None:
    settings = make(venues="binance", simulator_loop=True, simulator_rate=10.5)
    assert settings_module.load(settings_module.as_environment(settings)) == settings


def test_what_a_command_makes_is_the_user_s_own(tmp_path: Path) -> None:
    state = tmp_path / "state"
    subprocess.run(
        [sys.executable, "-c", "import sys, pathlib; sys.argv = ['etl', '--version']; from etl.cli import main\n"
         f"try: main()\nfinally: pathlib.Path({str(state)!r}).mkdir(); pathlib.Path({str(state / 'f')!r}).touch()"],
        check=True, capture_output=True,
    )  # fmt: skip
    assert (state.stat().st_mode & 0o777, (state / "f").stat().st_mode & 0o777) == (0o700, 0o600)
