"""``etl schedule start | run | list``: the jobs of the DAGs on a machine without Airflow."""

from __future__ import annotations

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, help=__doc__)


@app.command()
def start() -> None:
    """Run every job when it is due, until stopped; docs/deployment.md lists them."""
    import asyncio
    import contextlib
    import signal

    from etl import settings as settings_module
    from etl.jobs.lock import held
    from etl.jobs.scheduler import Scheduler

    async def scheduled() -> None:
        task = asyncio.ensure_future(Scheduler(settings).run())
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, task.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await task

    settings = settings_module.load()
    with held(settings):
        asyncio.run(scheduled())


@app.command()
def run(
    name: Annotated[str, typer.Argument(help="as `etl schedule list` prints it")],
    start_ns: Annotated[int, typer.Option(hidden=True)] = 0,
    end_ns: Annotated[int, typer.Option(hidden=True)] = 0,
    with_parent: Annotated[bool, typer.Option("--with-parent", hidden=True)] = False,
) -> None:
    """One run of one job, now, for the interval that ends with the last time it was due."""
    import time

    from etl import settings as settings_module
    from etl.embedded.part import end_with_parent
    from etl.errors import UsageError
    from etl.jobs.cron import due_by
    from etl.jobs.steps import STEPS, run_step
    from etl.jobs.table import JOBS
    from etl.model.times import text_of

    if with_parent:
        end_with_parent()
    settings = settings_module.load()
    if name not in STEPS:
        raise UsageError(f"{name}: there are {', '.join(STEPS)}")
    job = JOBS[name]
    if not job.is_scheduled(settings):
        raise UsageError(
            f"{name} needs the stores {', '.join(job.stores)}; kept are {', '.join(settings.stores)}"
        )
    end_ns = end_ns or due_by(job.cron, time.time_ns())
    start_ns = start_ns or due_by(job.cron, end_ns - 1)
    began_s = time.monotonic()
    done = run_step(name, settings, start_ns, end_ns)
    print(f"{name} of {text_of(end_ns)}: {time.monotonic() - began_s:.1f} s  {done}")


@app.command("list")
def list_jobs() -> None:
    """Every job that is scheduled with these settings: when, when next, and its last run."""
    import time

    from etl import settings as settings_module
    from etl.jobs.cron import due_after
    from etl.jobs.steps import STEPS
    from etl.jobs.table import JOBS
    from etl.model.times import text_of
    from etl.monitoring.job_runs import read_runs

    settings = settings_module.load()
    runs = read_runs(settings)
    for name in STEPS:
        job = JOBS[name]
        if job.is_scheduled(settings):
            last = runs.get(name)
            became = f"{text_of(last.due_ns)} {last.state}, try {last.tries}" if last else "never ran"
            next_ns = due_after(job.cron, time.time_ns())
            print(f"{name:<22} {job.cron:<14} next {text_of(next_ns)}  last {became}")
