"""The operator's day on the whole platform: backfills from Airflow's pages, kills in the middle, a venue that falls
silent. One `etl up` for all of it; the tests build on one another, in this order."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from playwright.sync_api import Page, sync_playwright

from etl.embedded.airflow import AirflowClient, credentials, url
from etl.errors import EtlError
from etl.monitoring import incidents
from tests.plugins.conftest import CHROMIUM, FLAGS
from tests.support.desk import DAG, Desk, log_in, run_by_dialog, run_by_form, until
from tests.support.monitor_routes import NOBODY, NOBODY_PASSWORD, check_routes, loaded_plugin
from tests.support.servers import settings_on_free_ports

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(1_200)]

STORES = ("clickhouse", "timescale")
DEADLINE_S = 20.0
"""Shorter than what the third day of a backfill waits for the first two, whose scheduler is killed."""
STALL_S = 18
"""The venue answers no request for so long, while something is killed."""
VARIABLES = {
    f"BOOTSTRAP_USER_{NOBODY.upper()}": f"Public:{NOBODY_PASSWORD}",
    # a killed task is found sooner than in production
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
}
KILLED_WITHIN_S = 300.0
"""Airflow yields to all else: beside other tests a task may take most of a minute to begin, and the third one works."""
CHUNKS = 25
"""Of one day: an hour of trades each, and its bars."""
RUNS_WITHIN_S = 400.0
MAIL_WITHIN_S = 120.0
MIDNIGHT = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAY = timedelta(days=1)
FIRST, LAST = MIDNIGHT - 5 * DAY, MIDNIGHT - 3 * DAY
AFTER = LAST + DAY


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    if not Path(CHROMIUM).exists():
        pytest.skip(f"no browser at {CHROMIUM}; as root: apt-get install chromium")
    settings = settings_on_free_ports(
        tmp_path_factory.mktemp("desk"),
        venues="binance",
        # the days are what is looked at: what streams beside them need not come often, nor at once
        simulator_rate=10.0,
        sink_linger_ms=500,
        backfill_deadline_s=DEADLINE_S,
        mail_to="desk@example.com",
    )
    with Desk(settings, **VARIABLES) as running:
        yield running


@pytest.fixture(scope="module")
def page(desk: Desk) -> Iterator[Page]:
    """A browser in which the operator is logged in."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        opened = browser.new_page(viewport={"width": 1280, "height": 1000}, reduced_motion="reduce")
        opened.set_default_timeout(180_000)
        log_in(opened, desk)
        yield opened
        browser.close()


def test_airflow_lists_its_dags_and_knows_its_three_users(desk: Desk) -> None:
    dags = {file.stem for file in (Path(__file__).parents[2] / "dags").glob("[a-z]*.py")}
    for user in ("admin", "viewer"):
        desk.airflow(user)
    with pytest.raises(EtlError, match="401"):
        AirflowClient(url(desk.settings), "admin", credentials(desk.settings).passwords["viewer"])
    operator = desk.airflow()
    asyncio.run(operator.wait_for_dags(dags))
    assert operator.import_errors() == []


def test_every_route_of_the_monitor_refuses_strangers_and_viewers_and_lets_operators_in(
    desk: Desk, tmp_path: Path
) -> None:
    with loaded_plugin(tmp_path) as plugin:
        check_routes(plugin, desk.settings)


def test_a_run_of_the_trigger_form_is_green_and_every_store_holds_what_the_venue_has(
    desk: Desk, page: Page
) -> None:
    start, end = FIRST - DAY, FIRST - DAY + timedelta(hours=2)
    run_by_form(page, desk, "by_form", start.isoformat(), end.isoformat())
    desk.load()
    for dag_id in ("export_parquet", "compact_lake"):
        desk.run(dag_id)
    for store in (*STORES, "lake"):
        assert desk.stored_trades(store, start, end) == desk.venue_trades(start, end)
        assert desk.stored_bars(store, start, end) == desk.venue_bars(start, end)
    assert desk.counted("etl_dag_runs_total", dag_id=DAG, state="success") >= 1
    assert desk.counted("etl_dag_run_seconds_count", dag_id="load_timescale") >= 1
    assert desk.counted("etl_dag_last_success_timestamp_seconds", dag_id=DAG) > MIDNIGHT.timestamp()


def test_a_backfill_of_three_days_is_whole_though_its_scheduler_and_a_task_were_killed(
    desk: Desk, page: Page
) -> None:
    runs = run_by_dialog(page, desk, FIRST.date(), LAST.date(), "Missing Runs")
    _task_in_the_middle(desk, runs, dict.fromkeys(runs, 0))
    done = {run: len(desk.marks(run)) for run in runs}
    scheduler = desk.part("airflow-scheduler").pid
    os.kill(scheduler, signal.SIGKILL)
    # not before: until then it is tasks of the old one that may be at work
    until("another", lambda: desk.part("airflow-scheduler").pid not in (0, scheduler), KILLED_WITHIN_S)
    os.kill(_task_in_the_middle(desk, runs, done), signal.SIGKILL)

    until("all runs succeed", lambda: desk.states(runs) == {"success"}, RUNS_WITHIN_S, poll_s=2)
    assert any(one["try_number"] > 1 for one in desk.fetches(runs))
    desk.load()
    _check_three_days(desk)


def _task_in_the_middle(desk: Desk, runs: list[str], done: dict[str, int]) -> int:
    """Wait until a day is at work beyond the chunks that were ``done``, and let its next ones wait for the venue.
    Returns the task's process."""

    def days_at_work() -> list[str]:
        return [run for run in runs if done[run] < len(desk.marks(run)) < CHUNKS - 5]

    deadline = time.monotonic() + KILLED_WITHIN_S
    while time.monotonic() < deadline:
        until("a day is at work", days_at_work, KILLED_WITHIN_S, poll_s=0.01)
        desk.control("fault", kind="rest_timeout", duration_s=STALL_S)
        stalled_until = time.monotonic() + STALL_S
        while time.monotonic() < stalled_until:
            tasks = [one["pid"] for one in desk.fetches(days_at_work()) if one["state"] == "running"]
            for pid in tasks:
                if Path(f"/proc/{pid}").exists():
                    return int(pid)
            time.sleep(0.1)
    # marks can also come from a task that outlives its scheduler, which has forgotten it: then another follows
    pytest.fail(f"no task at work within {KILLED_WITHIN_S:g} s")


def _check_three_days(desk: Desk) -> None:
    trades, bars = desk.venue_trades(FIRST, AFTER), desk.venue_bars(FIRST, AFTER)
    assert (len(trades), len(bars)) == (3 * 8_640, 3 * 1_440)
    for store in STORES:
        assert desk.stored_trades(store, FIRST, AFTER) == trades
        assert desk.stored_bars(store, FIRST, AFTER) == bars


def test_a_backfill_that_is_late_is_mailed_by_its_deadline(desk: Desk) -> None:
    run = f"backfill__{AFTER.date()}T00:00:00+00:00"

    def of_the_run() -> list[dict[str, str]]:
        return [mail for mail in desk.mails() if f"<p>Run {run} was queued at " in mail["text"]]

    (mail,) = until("the mail", of_the_run, MAIL_WITHIN_S)
    assert mail["subject"] == f"[late] {DAG}: not done after 0:00:20"
    assert mail["to"] == "desk@example.com"
    assert "a run that is stopped and cleared goes on there" in mail["text"]
    assert f'href="http://127.0.0.1:{desk.settings.airflow.port}/dags/{DAG}/runs/{run}"' in mail["text"]


@pytest.fixture(scope="module")
def again(desk: Desk, page: Page) -> list[str]:
    """The first of the three days, begun once more."""
    until("nothing else is wrong", lambda: not incidents.read(desk.settings.state_path).open(), MAIL_WITHIN_S)
    until("the first backfill is over", lambda: not desk.is_backfilling(), MAIL_WITHIN_S)
    runs = run_by_dialog(page, desk, FIRST.date(), FIRST.date(), "All Runs")
    until("the runs begin anew", lambda: "success" not in desk.states(runs), MAIL_WITHIN_S)
    return runs


def test_a_venue_that_falls_silent_is_mailed_within_two_minutes_and_again_when_it_is_back(
    desk: Desk, again: list[str]
) -> None:
    before = len(_incident_mails(desk))
    desk.control("stop")
    until("the mail", lambda: len(_incident_mails(desk)) > before, MAIL_WITHIN_S, poll_s=2)
    desk.control("start")
    until("the recovery mail", lambda: len(_incident_mails(desk)) > before + 1, MAIL_WITHIN_S, poll_s=2)

    opened, recovered = _incident_mails(desk)[before:]
    assert opened["subject"].startswith("[critical] binance: no data for ")
    assert recovered["subject"].startswith("[recovered] binance: no data for ")
    for line in (
        "Since: 20",
        " s since the last event of any channel; 30 s are normal",
        "Venue: binance",
        "Channels: bookTicker, depth@100ms, trade",
        "Symbols: BTCUSDT, ETHUSDT, SOLUSDT",
        "Likely cause: ",
        "What to do: ",
        f"Details: http://127.0.0.1:{desk.settings.airflow.port}/plugin/pipeline_monitor",
        f"Airflow: http://127.0.0.1:{desk.settings.airflow.port}",
    ):
        assert line in opened["text"]
    assert "Over since: 20" in recovered["text"]


def _incident_mails(desk: Desk) -> list[dict[str, str]]:
    """All but those of the backfills' deadline."""
    return [mail for mail in desk.mails() if not mail["subject"].startswith("[late]")]


def test_the_same_backfill_again_brings_no_new_row(desk: Desk, again: list[str]) -> None:
    until("all runs succeed", lambda: desk.states(again) == {"success"}, RUNS_WITHIN_S, poll_s=2)
    desk.load()
    _check_three_days(desk)
