"""Real servers for tests: the embedded ones on free ports in a temporary directory, or those that ETL_TEST_* name."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from etl import settings as settings_module
from etl.embedded.part import Part
from etl.settings import Settings

POLL_S = 0.05
KILL_WITHIN_S = 10.0


class RunningPart:
    """A part as a test runs it: in its own process group, on one state directory and one set of ports.

    ``kill()`` is ``kill -9``; ``start()`` afterwards finds the same data under the same address.
    """

    def __init__(self, part: Part, settings: Settings) -> None:
        self.part = part
        self.settings = settings
        self.log = settings.state_path / f"{part.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None, f"{self.part.name} is not running"
        return self._process.pid

    def start(self) -> None:
        """Start, and wait until it is ready; the log's end is in the error if it never is."""
        assert self._process is None, f"{self.part.name} runs already"
        self.settings.state_path.mkdir(parents=True, exist_ok=True)
        environment = {
            **{name: text for name, text in os.environ.items() if not name.startswith("ETL_")},
            **settings_module.as_environment(self.settings),
            **self.part.environment,
        }
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.part.command, env=environment, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + self.part.ready_within_s
        while not self._ready():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                raise RuntimeError(f"{self.part.name} did not start: {self.log.read_text()[-2000:]}")
            time.sleep(POLL_S)

    def stop(self) -> int:
        """SIGTERM; returns the exit code. What does not end in its own time is killed."""
        return self._end(signal.SIGTERM, self.part.stop_within_s)

    def kill(self) -> None:
        self._end(signal.SIGKILL, KILL_WITHIN_S)

    def restart(self) -> None:
        """``kill -9``, then start on the same data and ports."""
        self.kill()
        self.start()

    def _end(self, how: signal.Signals, within_s: float) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        try:
            os.killpg(process.pid, how)
            return process.wait(within_s)
        except ProcessLookupError:
            return process.wait()
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()

    def _ready(self) -> bool:
        try:
            return self.part.ready()
        except OSError:
            return False


def settings_on_free_ports(state_dir: Path, **values: object) -> Settings:
    """Settings whose every port is free at this moment."""
    import msgspec

    from etl.embedded.ports import free_ports

    names = [name for name in Settings.__struct_fields__ if name.endswith("_port")]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    return msgspec.convert({**ports, "state_dir": str(state_dir), **values}, Settings)
