"""Prometheus and Alertmanager of Debian as `make setup` unpacks them; tests that need them are skipped without."""

from __future__ import annotations

import json
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
PROGRAMS = ROOT / ".cache" / "prometheus" / "usr" / "bin"
POLL_S = 0.1
TOLD_WITHIN_S = 60.0

NEEDS_PROMETHEUS = pytest.mark.skipif(
    not (PROGRAMS / "prometheus").exists(), reason="no Prometheus: make setup says why"
)


def tool(program: str, *words: str | Path) -> str:
    """What it printed; fails with it."""
    done = subprocess.run([PROGRAMS / program, *words], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def started(program: str, *words: str, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as out:
        return subprocess.Popen([PROGRAMS / program, *words], stdout=out, stderr=out)


def ask(port: int, expression: str, time_s: float | None = None) -> list[dict[str, Any]]:
    """The series that an expression gives, at ``time_s`` or now."""
    asked = {"query": expression} | ({} if time_s is None else {"time": str(time_s)})
    url = f"http://127.0.0.1:{port}/api/v1/query?{urllib.parse.urlencode(asked)}"
    with urllib.request.urlopen(url, timeout=10) as answer:
        result = json.load(answer)["data"]
    assert result["resultType"] == "vector", expression
    series: list[dict[str, Any]] = result["result"]
    return series


def until(holds: Callable[[], Any], within_s: float = TOLD_WITHIN_S) -> Any:
    """What ``holds`` gives as soon as it is something; a server that does not listen yet gives nothing."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        try:
            if found := holds():
                return found
        except OSError:
            pass
        time.sleep(POLL_S)
    pytest.fail(f"not within {within_s:.0f} s")
