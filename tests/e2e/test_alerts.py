"""A small platform, the real Prometheus and Alertmanager with our rules: a part hangs, and the mail arrives."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from etl.embedded.ports import free_ports
from etl.settings import Settings, load
from tests.commands.test_up import environment, etl, pid_of, up_and_streaming
from tests.support.prometheus import DOCKER, NEEDS_PROMETHEUS, ask, started, until

pytestmark = [pytest.mark.integration, NEEDS_PROMETHEUS]
WORDS = ("--profile", "light", "--stores", "lake", "--no-airflow", "--venues", "binance", "--rate", "50")


@contextlib.contextmanager
def platform(state: Path) -> Iterator[Settings]:
    variables = environment(state)
    running = etl(variables, "up", *WORDS, "--state", str(state))
    try:
        up_and_streaming(state, running)
        yield load({name: text for name, text in variables.items() if name.startswith("ETL_")})
    finally:
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=60)


@contextlib.contextmanager
def watched(settings: Settings, folder: Path) -> Iterator[int]:
    """Prometheus and Alertmanager with our files, quicker; gives Prometheus's port."""
    port, alertmanager_port = free_ports(2)
    rules = (DOCKER / "prometheus" / "alerts.yml").read_text()
    (folder / "alerts.yml").write_text(re.sub(r"for: \d+[mh]", "for: 1s", rules))
    config = (DOCKER / "prometheus" / "one_machine.yml").read_text()
    for ours, here in (
        ("127.0.0.1:9400", f"127.0.0.1:{settings.metrics.port}"),
        ("127.0.0.1:9093", f"127.0.0.1:{alertmanager_port}"),
        ("_interval: 15s", "_interval: 1s"),
        ("_interval: 5s", "_interval: 1s"),
    ):
        assert ours in config
        config = config.replace(ours, here)
    (folder / "prometheus.yml").write_text(config)
    route = (DOCKER / "alertmanager" / "alertmanager.yml").read_text()
    route = route.replace("mailbox:1025", f"127.0.0.1:{settings.mail.port}")
    (folder / "alertmanager.yml").write_text(re.sub(r"(group_\w+): \d+[sm]", r"\1: 1s", route))
    servers: list[subprocess.Popen[bytes]] = [
        started(
            "prometheus",
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/series",
            f"--web.listen-address=127.0.0.1:{port}",
            log=folder / "prometheus.log",
        ),
        started(
            "prometheus-alertmanager",
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alerts",
            f"--web.listen-address=127.0.0.1:{alertmanager_port}",
            "--cluster.listen-address=",
            log=folder / "alertmanager.log",
        ),
    ]
    try:
        yield port
    finally:
        for server in servers:
            server.terminate()
            server.wait(30)


def mail(settings: Settings, subject: str) -> str:
    """The newest mail with this subject, "" before it has come."""
    base = f"http://127.0.0.1:{settings.mail.mailbox_port}/messages"
    with urllib.request.urlopen(base, timeout=10) as answer:
        found = [one["id"] for one in json.load(answer) if one["subject"].strip() == subject]
    if not found:
        return ""
    with urllib.request.urlopen(f"{base}/{found[0]}", timeout=10) as answer:
        return str(answer.read().decode())


def test_a_worker_that_hangs_is_mailed_with_its_runbook_and_again_when_it_is_back(tmp_path: Path) -> None:
    state = tmp_path / "state"
    with platform(state) as settings, watched(settings, tmp_path) as port:
        assert until(lambda: ask(port, 'up{job="supervisor"} == 1'))
        assert until(lambda: ask(port, 'up{job="stream"} == 1'))
        assert until(lambda: ask(port, 'etl_part_up{part="stream-binance"} == 1'))
        assert until(lambda: ask(port, 'etl_store_kept{job="stream", store="clickhouse"} == 0'))
        assert mail(settings, "firing: NoWorker") == ""
        worker = pid_of(state, "stream-binance")
        os.kill(worker, signal.SIGSTOP)
        told = until(lambda: mail(settings, "firing: NoWorker"))
        assert "no worker answers: nothing is received" in told
        assert "What to do: docs/runbooks/NoWorker.md" in told
        os.kill(worker, signal.SIGCONT)
        assert until(lambda: mail(settings, "resolved: NoWorker"))
        # the lake is the only store, so that no sink is missed
        assert mail(settings, "firing: NoSink") == ""
        # explained by the absence of all workers
        assert "stream 127.0.0.1" not in mail(settings, "firing: ProcessDown")
