"""The scheduler runs real processes: what it starts, tries again, ends and tells of."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session

from etl.embedded.ports import free_ports
from etl.errors import PartError
from etl.jobs.cron import MINUTE_NS, due_by
from etl.jobs.lock import held
from etl.jobs.scheduler import OWN, Scheduler, run_command
from etl.jobs.table import JOBS, Job
from etl.monitoring.collect import collect
from etl.monitoring.job_runs import JobRun, State, read_runs, write_runs
from etl.settings import Settings, changed, make

WITHIN_S = 20.0


def a_job(cron: str = "* * * * *", retries: int = 2, time_out_s: float = 60.0, deadline: str = "") -> Job:
    return Job(
        cron=cron,
        retries=retries,
        retry_wait_s=0.05,
        retry_wait_max_s=0.1,
        time_out_s=time_out_s,
        deadline=deadline,
        late="Look at the log.",
    )


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Under which the job ``one`` was last due two minutes ago."""
    # what the monitor asks refuses at once
    made = make(
        state_dir=str(tmp_path), watch_airflow=False, transport_url="redis://127.0.0.1:1", stores="lake"
    )
    write_runs(made, {"one": JobRun(due_by("* * * * *", time.time_ns()) - 2 * MINUTE_NS, State.SUCCESS, 0)})
    return made


def scheduled(
    settings: Settings, job: Job, script: str, holds: Callable[[JobRun], bool]
) -> tuple[JobRun, list[tuple[str, int, int]]]:
    """The job ``one`` runs ``script`` (Python) until its kept run ``holds``; with which arguments it was begun."""
    asked: list[tuple[str, int, int]] = []

    def command(name: str, start_ns: int, end_ns: int) -> Sequence[str]:
        asked.append((name, start_ns, end_ns))
        return sys.executable, "-S", "-c", script

    async def run() -> JobRun:
        task = asyncio.create_task(Scheduler(settings, {"one": job}, command).run())
        deadline_s = time.monotonic() + WITHIN_S
        while not holds(found := read_runs(settings)["one"]):
            assert time.monotonic() < deadline_s, found
            assert not task.done(), task
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return found

    return asyncio.run(run()), asked


def ended(run: JobRun) -> bool:
    return run.state in (State.SUCCESS, State.FAILED) and run.tries > 0


def test_times_that_were_missed_come_to_one_run_of_the_last(settings: Settings) -> None:
    run, asked = scheduled(settings, a_job(), "pass", ended)
    assert (run.state, run.tries) == (State.SUCCESS, 1)
    assert run.due_ns == due_by("* * * * *", run.since_ns)
    assert asked[0] == ("one", run.due_ns - MINUTE_NS, run.due_ns)
    assert len(asked) == 1


def test_a_run_that_was_cut_short_runs_again(settings: Settings) -> None:
    due_ns = due_by("30 1 * * *", time.time_ns())
    write_runs(settings, {"one": JobRun(due_ns, State.RUNNING, 0, 1)})
    run, asked = scheduled(settings, a_job("30 1 * * *"), "pass", ended)
    assert (run.due_ns, run.state) == (due_ns, State.SUCCESS)
    assert asked == [("one", due_by("30 1 * * *", due_ns - 1), due_ns)]


def test_a_job_that_never_ran_waits_for_its_time(settings: Settings) -> None:
    write_runs(settings, {})
    scheduler = Scheduler(settings, {"one": a_job("30 1 * * *")}, lambda *_: pytest.fail("it began"))

    async def run() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(scheduler.run(), 0.2)

    asyncio.run(run())
    assert read_runs(settings) == {}


def test_what_fails_is_tried_again_and_then_the_monitor_hears_of_it(settings: Settings) -> None:
    run, asked = scheduled(settings, a_job(retries=2), "raise SystemExit(1)", ended)
    assert (run.state, run.tries, len(asked)) == (State.FAILED, 3, 3)
    (failed,) = collect(settings, time.time_ns()).failed_runs
    assert (failed.dag_id, failed.by_airflow) == ("one", False)


def test_a_later_try_may_be_good(settings: Settings, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    script = f"import os; os.path.exists({str(mark)!r}) or (open({str(mark)!r}, 'w'), os._exit(1))"
    run, _ = scheduled(settings, a_job(), script, ended)
    assert (run.state, run.tries) == (State.SUCCESS, 2)


def test_a_wrong_setting_is_not_tried_again(settings: Settings) -> None:
    run, asked = scheduled(settings, a_job(), "raise SystemExit(2)", ended)
    assert (run.state, run.tries, len(asked)) == (State.FAILED, 1, 1)


def test_a_try_that_takes_too_long_is_ended_with_its_children(settings: Settings, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    script = (
        "import subprocess, time; child = subprocess.Popen(['sleep', '60']);"
        f"open({str(pid)!r}, 'w').write(str(child.pid)); time.sleep(60)"
    )
    run, _ = scheduled(settings, a_job(retries=0, time_out_s=1.0), script, ended)
    assert run.state is State.FAILED
    stat = Path(f"/proc/{pid.read_text()}/stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


class Mails(Controller):
    def __init__(self) -> None:
        self.taken: list[bytes] = []
        super().__init__(self, "127.0.0.1", free_ports(1)[0])

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:
        assert isinstance(envelope.content, bytes)
        self.taken.append(envelope.content)
        return "250 taken"


def test_a_run_that_is_late_is_told_of_by_mail_once(settings: Settings) -> None:
    mails = Mails()
    mails.start()
    try:
        address = f"smtp://127.0.0.1:{mails.port}/?disable_ssl=true&disable_tls=true"
        with_mail = changed(settings, smtp_url=address, load_deadline_s=0.01)
        script = "import time; time.sleep(1.5)"
        scheduled(with_mail, a_job(deadline="load_deadline_s"), script, ended)
    finally:
        mails.stop()
    (mail,) = mails.taken
    assert b"Subject: [late] one: not done after 0.01 s" in mail
    assert b"Look at the log." in mail


def test_one_scheduler_at_a_time(settings: Settings) -> None:
    with held(settings), pytest.raises(PartError, match="already"), held(settings):
        pass
    with held(settings):
        pass


def test_every_job_of_the_table_is_scheduled_but_airflows_own_and_what_is_asked_for_by_hand() -> None:
    assert set(JOBS) - set(OWN) == {"clean_airflow", "replay_quarantine"}
    assert all(job.cron for job in OWN.values())


@pytest.mark.parametrize(
    ("stores", "left_out"),
    [
        ("clickhouse,timescale,lake", set()),
        ("clickhouse,lake", {"load_timescale", "audit_data"}),
        ("lake", {"load_timescale", "audit_data", "refresh_symbol_stats", "publish_quality"}),
        ("clickhouse", {"load_timescale", "audit_data", "export_parquet", "compact_lake"}),
    ],
)
def test_without_its_stores_a_job_is_not_scheduled(stores: str, left_out: set[str]) -> None:
    kept = make(stores=stores)
    assert {name for name, job in OWN.items() if not job.is_scheduled(kept)} == left_out


def test_a_jobs_process_is_the_command_that_one_can_type() -> None:
    assert run_command("load_timescale", 1, 2)[1:6] == ("-m", "etl", "schedule", "run", "load_timescale")
