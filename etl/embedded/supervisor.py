"""The supervisor: starts parts in order of dependency, brings them back, and leaves nothing behind.

    waiting ─▶ starting ─▶ running ─▶ stopped          a part that runs once: starting ─▶ done
                  ▲  └──────┬──┘
                  └─ restarting (back-off)             not ready after START_ATTEMPTS_MAX: failed, all stops

Each part leads its own session (``sessions.py``) and is ended with everything in it. One task keeps one part;
cancelling the task ends the part. What runs is on record in ``run/``: the guardian process ends it if the
supervisor is killed, and the next start sweeps what even the guardian could not.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPException
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from etl.adapter.back_off import back_off_s
from etl.embedded import sessions
from etl.embedded.child import end_child, exit_code, exit_text
from etl.embedded.guardian import SWEEP_STOP_WITHIN_S
from etl.embedded.part import Part
from etl.embedded.part_log import bound_log, last_words
from etl.embedded.ports import require_free
from etl.embedded.state_lock import take_lock
from etl.embedded.status import (
    DONE,
    FAILED,
    RESTARTING,
    RUNNING,
    STARTING,
    STOPPED,
    PartState,
    Status,
    forget_status,
    run_directory,
    write_status,
)
from etl.errors import PartError
from etl.resources import IMPORT_ROOT

PROBE_FIRST_S, PROBE_MAX_S = 0.1, 1.0
"""Between two probes of a starting part: a slow one is asked more and more seldom."""
BACK_OFF_FIRST_S = 0.5
BACK_OFF_MAX_S = 10.0
STEADY_AFTER_S = 30.0
"""A part that ran this long starts again with the first back-off."""
START_ATTEMPTS_MAX = 3
"""Failed starts before a part that never was ready stops the whole."""
HOUSEKEEPING_EVERY_S = 2.0
MEMORY_EVERY_S = 10.0
"""The kernel adds up the page tables of every process: 0.1 s of a core each time, of the whole platform."""


class Supervisor:
    """``async with Supervisor(parts, environment, state_path) as supervisor``: takes the state directory, starts
    the parts, and ends them all on leaving.

    ``environment`` is the whole environment of every part, to which the part's own is added. Raises ``PartError``
    on entry if a port is taken or the state directory is in use.
    """

    def __init__(
        self,
        parts: Sequence[Part],
        environment: Mapping[str, str],
        state_path: Path,
        bind_host: str = "127.0.0.1",
    ) -> None:
        self._parts = {part.name: part for part in parts}
        self._environment = dict(environment)
        self._bind_host = bind_host
        self._run_directory = run_directory(state_path)
        self._log_directory = state_path / "logs"
        self._ready = {name: asyncio.Event() for name in self._parts}
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._housekeeper: asyncio.Task[None] | None = None
        self._failure: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._lock_file: int | None = None
        self._guardian: subprocess.Popen[bytes] | None = None
        self._started_ns = time.time_ns()
        self.states = {name: self._first_state(part) for name, part in self._parts.items()}

    async def __aenter__(self) -> Supervisor:
        for directory in (self._run_directory, self._log_directory):
            directory.mkdir(parents=True, exist_ok=True)
        self._lock_file = await take_lock(self._run_directory / "lock")
        try:
            await asyncio.to_thread(sessions.sweep, self._run_directory, SWEEP_STOP_WITHIN_S)
            for part in self._parts.values():
                for setting, port in part.ports.items():
                    require_free(part.name, self._bind_host, port, setting)
            self._guardian = _start_guardian(self._run_directory, self._lock_file)
        except BaseException:
            os.close(self._lock_file)
            raise
        self._housekeeper = asyncio.create_task(self._keep_house())
        self._housekeeper.add_done_callback(self._fail_with)
        for part in self._parts.values():
            self._tasks[part.name] = asyncio.create_task(self._keep(part))
            self._tasks[part.name].add_done_callback(self._fail_with)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        stopping = asyncio.create_task(self.stop())
        while not stopping.done():  # a cancelled caller still waits: an orphan is worse than a late answer
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.shield(stopping)
        stopping.result()

    async def all_ready(self) -> None:
        """Wait until every part is ready once. Raises ``PartError`` when one cannot start."""
        await self.ready(*self._parts)

    async def ready(self, *names: str) -> None:
        """Wait until these parts are ready once. Raises ``PartError`` when any part cannot start."""
        for name in names:
            reached = asyncio.create_task(self._ready[name].wait())
            await asyncio.wait([reached, self._failure], return_when=asyncio.FIRST_COMPLETED)
            reached.cancel()
            if self._failure.done():
                self._failure.result()

    async def failed(self) -> NoReturn:
        """Wait for ever, or until a part that never was ready cannot start: ``PartError``."""
        await asyncio.shield(self._failure)
        raise AssertionError("the failure is only ever an exception")

    async def stop(self) -> None:
        """End every part, dependents before what they depend on, each within its limit."""
        ended = {name: asyncio.Event() for name in self._parts}

        async def end(part: Part) -> None:
            dependents = [other.name for other in self._parts.values() if part.name in other.depends_on]
            await asyncio.gather(*(ended[name].wait() for name in dependents))
            if part.name in self._tasks:
                await self.stop_part(part.name)
            ended[part.name].set()

        await asyncio.gather(*(end(part) for part in self._parts.values()))
        if self._housekeeper is not None:
            self._housekeeper.cancel()
            await asyncio.wait([self._housekeeper])
        self._release()

    async def stop_part(self, name: str) -> None:
        """End one part for good, whatever depends on it."""
        task = self._tasks[name]
        if not task.cancelling():  # a second cancellation would interrupt the ending of its session
            task.cancel()
        await asyncio.wait([task])

    def _release(self) -> None:
        forget_status(self._run_directory)
        if self._guardian is not None and self._guardian.stdin is not None:
            self._guardian.stdin.close()
            self._guardian.wait()
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None
        if self._failure.done():
            self._failure.exception()

    async def _keep(self, part: Part) -> None:
        """Start ``part`` when what it depends on is ready, and again whenever it ends; until cancelled."""
        state = self.states[part.name]
        failures = 0
        try:
            await asyncio.gather(*(self._ready[name].wait() for name in part.depends_on))
            while True:
                self._enter(state, STARTING)
                began = time.monotonic()
                try:
                    state.last_exit = await self._run_until_end(part, state)
                except OSError as error:  # no memory to fork, no room for the log: as much an end as any
                    state.last_exit = str(error)
                if state.state == DONE:
                    return
                failures = 0 if time.monotonic() - began > STEADY_AFTER_S else failures + 1
                if failures >= START_ATTEMPTS_MAX and not self._ready[part.name].is_set():
                    self._give_up(part, state, failures)
                    return
                self._enter(state, RESTARTING)
                state.restarts += 1
                await asyncio.sleep(back_off_s(failures, BACK_OFF_FIRST_S, BACK_OFF_MAX_S, random.random()))  # noqa: S311
        finally:
            if state.state not in (DONE, FAILED):
                self._enter(state, STOPPED)

    async def _run_until_end(self, part: Part, state: PartState) -> str:
        """One life of the part; returns how it ended. Whatever happens, its session is empty afterwards."""
        process = self._spawn(part)
        session = sessions.session_of(part.name, process.pid)
        state.pid = process.pid
        try:
            sessions.record(self._run_directory, session)
            if part.runs_once:
                async with asyncio.timeout(part.ready_within_s):
                    if await exit_code(process) == 0:
                        self._enter(state, DONE)
                        self._ready[part.name].set()
            elif await self._becomes_ready(part, process):
                self._enter(state, RUNNING)
                self._ready[part.name].set()
                await exit_code(process)
            return exit_text(process.poll()) or f"not ready after {part.ready_within_s:g} s"
        except TimeoutError:
            return f"not done after {part.ready_within_s:g} s"
        finally:
            await end_child(process, session, part.stop_within_s)
            sessions.forget(self._run_directory, session)
            state.pid = 0

    def _spawn(self, part: Part) -> subprocess.Popen[bytes]:
        metrics = {"ETL_METRICS_PORT": str(part.metrics_port)} if part.metrics_port else {}
        environment = {**self._environment, **metrics, **part.environment}
        with open(self._log_path(part), "ab") as log:
            return subprocess.Popen(
                part.command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    async def _becomes_ready(self, part: Part, process: subprocess.Popen[bytes]) -> bool:
        deadline = time.monotonic() + part.ready_within_s
        wait_s = PROBE_FIRST_S
        while process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError, HTTPException):
                if await asyncio.to_thread(part.ready):
                    # another server on the same port would answer too: it counts only while ours lives
                    return process.poll() is None
            await asyncio.sleep(wait_s)
            wait_s = min(PROBE_MAX_S, 1.2 * wait_s)
        return False

    def _fail_with(self, task: asyncio.Task[None]) -> None:
        """What ends a task unforeseen ends the whole: a part that nobody keeps must not look like one that runs."""
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)

    def _give_up(self, part: Part, state: PartState, attempts: int) -> None:
        self._enter(state, FAILED)
        log = self._log_path(part)
        if not self._failure.done():
            self._failure.set_exception(
                PartError(
                    f"{part.name} does not start ({state.last_exit}, {attempts} attempts): "
                    f"{last_words(log)} (see {log})"
                )
            )

    async def _keep_house(self) -> None:
        """Bound the logs, measure memory, see to the guardian, and write the status."""
        measure_at = 0.0
        while True:
            await asyncio.sleep(HOUSEKEEPING_EVERY_S)
            if self._guardian and self._lock_file and self._guardian.poll() is not None:
                self._guardian.communicate()  # closes the pipe to it
                self._guardian = _start_guardian(self._run_directory, self._lock_file)
            for part in self._parts.values():
                with contextlib.suppress(OSError):  # no room for the copy: tried again
                    bound_log(self._log_path(part))
            if time.monotonic() >= measure_at:
                running = {state.name: state.pid for state in self.states.values() if state.pid}
                measured = await asyncio.to_thread(_memory_by_part, running)
                for state in self.states.values():
                    state.memory_bytes = measured.get(state.name, 0)
                measure_at = time.monotonic() + MEMORY_EVERY_S
            self._write_status()

    def _enter(self, state: PartState, name: str) -> None:
        state.state, state.since_ns = name, time.time_ns()
        self._write_status()

    def _write_status(self) -> None:
        status = Status(os.getpid(), self._started_ns, time.time_ns(), list(self.states.values()))
        with contextlib.suppress(OSError):  # on a full disk the parts go on, and the status grows old
            write_status(self._run_directory, status)

    def _first_state(self, part: Part) -> PartState:
        return PartState(part.name, str(self._log_path(part)), part.metrics_port, since_ns=self._started_ns)

    def _log_path(self, part: Part) -> Path:
        return self._log_directory / f"{part.name}.log"


def _start_guardian(directory: Path, lock_file: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "etl.embedded.guardian", str(directory)],
        cwd=IMPORT_ROOT,
        stdin=subprocess.PIPE,
        pass_fds=(lock_file,),
        start_new_session=True,
    )


def _memory_by_part(leaders: Mapping[str, int]) -> dict[str, int]:
    return {
        name: sessions.resident_bytes(sessions.session_of(name, leader)) for name, leader in leaders.items()
    }
