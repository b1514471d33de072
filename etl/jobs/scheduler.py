"""The jobs on a machine without Airflow: each when it is due, in a process of its own, which gives its memory back.

    due ─▶ its pool is free ─▶ a try ─ exit code 0 ─▶ success
                                ▲  └── another, or too long ─▶ wait, twice as long each time ─┐
                                └───────────────────────────────────────────────────────────┘  failed after its retries

As under Airflow: one run of a job at a time and one job of a pool, a wrong setting is not tried again, a run that is
not done by its deadline is told of by mail, and the monitor mails those that failed. Times that passed while a run was
still at work, or while nothing ran, come to one run. What became of each job's last run is kept (``job_runs``).
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

from etl import settings as settings_module
from etl.adapter.back_off import back_off_s
from etl.embedded.child import EXIT_POLL_S, exit_code, exit_text
from etl.errors import EtlError, UsageError
from etl.jobs.cron import due_after, due_by
from etl.jobs.steps import STEPS
from etl.jobs.table import JOBS, Job
from etl.model.times import NS_PER_S, text_of
from etl.monitoring.job_runs import JobRun, State, read_runs, write_runs
from etl.settings import Settings

END_WITHIN_S = 8.0
"""Less than what the supervisor gives the scheduler for its own end."""
SLEEP_S_MAX = 30.0
"""A clock that was set, or a machine that slept, is noticed after so long."""

_log = logging.getLogger(__name__)

Command = Callable[[str, int, int], Sequence[str]]
"""The words of a job's process, for an interval [start, end) in Unix ns."""


def run_command(name: str, start_ns: int, end_ns: int) -> Sequence[str]:
    words = "schedule", "run", name, "--start-ns", str(start_ns), "--end-ns", str(end_ns), "--with-parent"
    return sys.executable, "-m", "etl", *words


OWN = {name: JOBS[name] for name in STEPS}


class Scheduler:
    """``command`` and ``jobs`` are the platform's own unless a test gives others."""

    def __init__(
        self, settings: Settings, jobs: Mapping[str, Job] = OWN, command: Command = run_command
    ) -> None:
        self._settings = settings
        self._jobs = {name: job for name, job in jobs.items() if job.is_scheduled(settings)}
        self._command = command
        self._pools: dict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self._runs = read_runs(settings)

    async def run(self) -> None:
        """Until cancelled; what is at work then is ended, and runs again at the next start."""
        async with asyncio.TaskGroup() as group:
            for name, job in self._jobs.items():
                group.create_task(self._keep(name, job))

    async def _keep(self, name: str, job: Job) -> None:
        last = self._runs.get(name)
        done_ns = last.due_ns if last else due_by(job.cron, time.time_ns())
        if last and last.state is State.RUNNING:
            done_ns -= 1  # it was cut short
        while True:
            due_ns = max(due_after(job.cron, done_ns), due_by(job.cron, time.time_ns()))
            await _until(due_ns)
            async with self._pools[job.pool or name]:
                await self._run(name, job, due_ns)
            done_ns = due_ns

    async def _run(self, name: str, job: Job, due_ns: int) -> None:
        start_ns = due_by(job.cron, due_ns - 1)
        late = asyncio.create_task(self._tell_when_late(name, job, due_ns))
        try:
            for number in range(job.retries + 1):
                self._note(name, due_ns, State.RUNNING, number + 1)
                code = await self._try(job, self._command(name, start_ns, due_ns))
                if code == 0:
                    self._note(name, due_ns, State.SUCCESS, number + 1)
                    return
                _log.warning("%s of %s: try %d: %s", name, text_of(due_ns), number + 1, exit_text(code))
                if code == UsageError.exit_code or number == job.retries:
                    break
                await asyncio.sleep(back_off_s(number, job.retry_wait_s, job.retry_wait_max_s))
            self._note(name, due_ns, State.FAILED, number + 1)
        finally:
            late.cancel()

    async def _try(self, job: Job, words: Sequence[str]) -> int:
        """The exit code; one that takes longer than it may is ended."""
        process = subprocess.Popen(words, process_group=0)  # noqa: ASYNC220 - it returns at once
        try:
            return await asyncio.wait_for(exit_code(process), job.time_out_s)
        except TimeoutError:
            return -signal.SIGTERM
        finally:
            await asyncio.shield(_end(process))

    async def _tell_when_late(self, name: str, job: Job, due_ns: int) -> None:
        if not job.deadline:
            return
        limit_s = settings_module.value_of(self._settings, job.deadline)
        await _until(due_ns + int(limit_s * NS_PER_S))
        from etl.monitoring.mail import Mail, send

        subject = f"[late] {name}: not done after {limit_s:g} s"
        text = f"The run of {text_of(due_ns)} is not done.\n\n{job.late}"
        try:
            await asyncio.to_thread(send, Mail(subject, text), self._settings)
        except EtlError as error:
            _log.warning("%s: %s", subject, error)

    def _note(self, name: str, due_ns: int, state: State, tries: int) -> None:
        self._runs[name] = JobRun(due_ns, state, time.time_ns(), tries)
        try:
            write_runs(self._settings, self._runs)
        except OSError as error:  # of all jobs the monitor must run on a disk that is full
            _log.warning("what became of %s is not kept: %s", name, error)


async def _until(time_ns: int) -> None:
    while (left_s := (time_ns - time.time_ns()) / NS_PER_S) > 0:  # noqa: ASYNC110 - a time is no event
        await asyncio.sleep(min(left_s, SLEEP_S_MAX))


async def _end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM to it and all that it started, then SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is not None:
            return
        os.killpg(process.pid, number)
        deadline_s = time.monotonic() + END_WITHIN_S
        while process.poll() is None and time.monotonic() < deadline_s:  # noqa: ASYNC110
            await asyncio.sleep(EXIT_POLL_S)
