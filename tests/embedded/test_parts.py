"""What all embedded servers promise alike."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from etl import settings as settings_module
from etl.embedded import kafka, timescale
from etl.embedded.clickhouse_start import clickhouse_part
from etl.embedded.kafka import kafka_part
from etl.embedded.mailbox import mailbox_part
from etl.embedded.part import Part
from etl.embedded.ports import free_ports, require_free
from etl.embedded.timescale import timescale_part
from etl.errors import PartError
from etl.settings import Settings, make
from tests.support.servers import RunningPart, settings_on_free_ports

PARTS = pytest.mark.parametrize(
    "make", [kafka_part, clickhouse_part, timescale_part, mailbox_part], ids=lambda make: make.__name__
)


def run_part(part: Part, settings: Settings) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        part.command,
        env={**os.environ, **settings_module.as_environment(settings)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@PARTS
def test_a_taken_port_is_one_clear_line(make: Callable[[Settings], Part], tmp_path: Path) -> None:
    settings = settings_on_free_ports(tmp_path)
    part = make(settings)
    for name, port in part.ports.items():
        with socket.create_server((settings.bind_host, port)):
            ended = run_part(part, settings)
        assert ended.returncode == 1
        assert ended.stderr.startswith(f"etl: {part.name}: cannot listen on 127.0.0.1:{port} ")
        assert ended.stderr.endswith(f"or set ETL_{name.upper()}\n")
        assert ended.stderr.count("\n") == 1


@pytest.mark.integration
@PARTS
def test_sigterm_ends_it_at_once_and_leaves_no_process(
    make: Callable[[Settings], Part], crashable: Callable[..., RunningPart]
) -> None:
    server = crashable(make)
    group = server.pid
    started = time.monotonic()
    assert server.stop() in (0, 128 + signal.SIGTERM)  # Java answers with 143
    assert time.monotonic() - started < server.part.stop_within_s
    with pytest.raises(ProcessLookupError):
        os.killpg(group, 0)
    for port in server.part.ports.values():
        require_free("test", server.settings.bind_host, port, "port")


@pytest.mark.integration
def test_a_server_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    settings = settings_on_free_ports(tmp_path)
    part = mailbox_part(settings)
    starter = (
        "import os, subprocess, sys, time\n"
        "child = subprocess.Popen(sys.argv[1:], start_new_session=True)\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", starter, *part.command],
        env={**os.environ, **settings_module.as_environment(settings)},
        stdout=subprocess.PIPE,
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(lambda: answers(part))
        parent.kill()
    wait_for(lambda: not runs(child))


def test_missing_jars_and_packages_say_what_to_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kafka, "JARS_DIR", tmp_path)
    with pytest.raises(PartError, match=r"kafka: no jars in .*; run: make setup"):
        kafka.prepare(make(state_dir=str(tmp_path)))
    monkeypatch.setattr(timescale, "FRONT_DIR", tmp_path)
    with pytest.raises(PartError, match=r"timescale: no node_modules in .*; run: make setup"):
        timescale.node_command(tmp_path / "data", Settings())


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    for port in ports:
        require_free("test", "127.0.0.1", port, "some_port")


def answers(part: Part) -> bool:
    try:
        return part.ready()
    except OSError:
        return False


def runs(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False


def wait_for(condition: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)
