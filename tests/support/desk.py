"""A platform as an operator has it: `etl up` in a process of its own, its venue, its mailbox, and Airflow's pages."""

from __future__ import annotations

import email
import email.policy
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Locator, Page, Response, expect

from etl import settings as settings_module
from etl.embedded import sessions
from etl.embedded.airflow import AirflowClient, credentials, url
from etl.embedded.status import PartState, read_status
from etl.errors import PartError
from etl.ingest.backfill_marks import MARK, Marks
from etl.monitoring import processes
from etl.settings import Settings
from etl.stores.query import query

UP_WITHIN_S = 300.0
DOWN_WITHIN_S = 90.0
DAG = "backfill_market_data"
SYMBOL, VENUE_SYMBOL = "BTC-USDT", "BTCUSDT"
MINUTE_MS = 60_000
PAGE_ROWS = 1_000
PAGE_TASKS = 100
LOADED_WITHIN_S = 180.0
RUN_WITHIN_S = 240.0
PRESSES_MAX = 3
NOTHING = "about:blank"
"""A page of Airflow's asks and draws all the time, a fifth of a core, while nobody looks."""
_T = TypeVar("_T")


def until(what: str, look: Callable[[], _T], within_s: float, poll_s: float = 0.5) -> _T:
    """The first true value that ``look`` gives."""
    deadline = time.monotonic() + within_s
    while not (found := look()):
        assert time.monotonic() < deadline, f"{what}: not within {within_s:g} s"
        time.sleep(poll_s)
    return found


def ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000


class Desk:
    """The platform of ``settings``, which streams Binance alone. ``with Desk(…) as desk``."""

    def __init__(self, settings: Settings, **variables: str) -> None:
        self.settings = settings
        self._variables = variables
        self._up: subprocess.Popen[bytes] | None = None
        self._clients: dict[str, AirflowClient] = {}

    def __enter__(self) -> Desk:
        inherited = {name: text for name, text in os.environ.items() if not name.startswith("ETL_")}
        self._up = subprocess.Popen(
            [sys.executable, "-m", "etl", "up", "--state", self.settings.state_dir],
            env={**inherited, **settings_module.as_environment(self.settings), **self._variables},
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            until("every part runs", self._is_up, UP_WITHIN_S)
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """Ended by Ctrl+C, as an operator does: nothing that ran is left."""
        parts = read_status(self.settings.state_path).parts
        running = [sessions.session_of(part.name, part.pid) for part in parts if part.pid]
        assert self._end() == 0
        assert [one.part for one in running if sessions.members(one)] == []

    def _end(self) -> int:
        assert self._up is not None
        self._up.send_signal(signal.SIGINT)
        return self._up.wait(DOWN_WITHIN_S)

    def _is_up(self) -> bool:
        assert self._up is not None
        assert self._up.poll() is None, "etl up ended"
        try:
            parts = read_status(self.settings.state_path).parts
        except PartError:
            return False
        return all(part.state in ("running", "done") for part in parts)

    def part(self, name: str) -> PartState:
        return next(part for part in read_status(self.settings.state_path).parts if part.name == name)

    # Airflow

    def airflow(self, user: str = "operator") -> AirflowClient:
        """Logged in once: a password's digest takes Airflow a tenth of a second of a core."""
        if user not in self._clients:
            password = credentials(self.settings).passwords[user]
            self._clients[user] = AirflowClient(url(self.settings), user, password)
        return self._clients[user]

    def load(self) -> None:
        """TimescaleDB and ClickHouse hold all that is published by now."""
        self.run("load_timescale")

    def run(self, dag_id: str) -> None:
        """A run of this DAG, begun and done."""
        client = self.airflow()
        run = client.trigger(dag_id)
        until(dag_id, lambda: client.run_state(dag_id, run) == "success", LOADED_WITHIN_S)

    def states(self, run_ids: Sequence[str]) -> set[str]:
        client = self.airflow()
        return {client.run_state(DAG, run_id) for run_id in run_ids}

    def fetches(self, run_ids: Sequence[str]) -> list[dict[str, Any]]:
        """The task instances of these backfill runs that fetch, as Airflow's API tells of them."""
        client, found = self.airflow(), []
        for run_id in run_ids:
            path, tasks, total = f"/api/v2/dags/{DAG}/dagRuns/{run_id}/taskInstances", list[Any](), 1
            while len(tasks) < total:  # each venue has its own, more than one answer holds
                page = client._call("GET", f"{path}?limit={PAGE_TASKS}&offset={len(tasks)}")
                tasks, total = tasks + page["task_instances"], page["total_entries"]
            found += [one for one in tasks if one["task_id"] == "binance.fetch"]
        return found

    def is_backfilling(self) -> bool:
        """Whether Airflow holds a backfill for unfinished: looked at every half minute; no second one before."""
        known = self.airflow()._call("GET", f"/api/v2/backfills?dag_id={DAG}")["backfills"]
        return any(one["completed_at"] is None for one in known)

    def counted(self, name: str, **labels: str) -> int:
        """A metric of the platform, summed over what has these labels."""
        samples, _ = processes.platform(self.settings)
        return processes.total(samples, name, **labels)

    def marks(self, run_id: str) -> list[Path]:
        """What a backfill run has finished, while it is at work."""
        return list(Marks(self.settings, run_id).folder.glob(f"*{MARK}"))

    # the venue

    def control(self, order: str, **fault: object) -> None:
        address = f"http://127.0.0.1:{self.settings.simulator.port}/control/{order}"
        urllib.request.urlopen(urllib.request.Request(address, json.dumps(fault).encode()), timeout=10).read()

    def _ask(self, path: str, **values: object) -> list[Any]:
        words = "&".join(f"{name}={value}" for name, value in values.items())
        base = f"http://127.0.0.1:{self.settings.simulator.port}/binance/api/v3"
        with urllib.request.urlopen(
            f"{base}/{path}?symbol={VENUE_SYMBOL}&{words}&limit={PAGE_ROWS}"
        ) as answer:
            return list(json.load(answer))

    def venue_trades(self, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
        """Key, time, price, size and taker's side of what the venue says was traded in [start, end)."""
        first = self._ask("aggTrades", startTime=ns(start) // 1_000_000)[0]["f"]
        found: list[tuple[Any, ...]] = []
        while True:
            rows = self._ask("historicalTrades", fromId=first)
            for row in rows:
                time_ns = row["time"] * 1_000_000
                if time_ns >= ns(end):
                    return found
                side = "sell" if row["isBuyerMaker"] else "buy"
                price, size = Decimal(row["price"]), Decimal(row["qty"])
                found.append((str(row["id"]), time_ns, price, size, side))
            first = rows[-1]["id"] + 1

    def venue_bars(self, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
        """Key, open, high, low, close, volume and trades of the venue's minutes in [start, end)."""
        found = []
        for start_ms in range(ns(start) // 1_000_000, ns(end) // 1_000_000, PAGE_ROWS * MINUTE_MS):
            end_ms = min(start_ms + PAGE_ROWS * MINUTE_MS, ns(end) // 1_000_000) - 1
            for row in self._ask("klines", interval="1m", startTime=start_ms, endTime=end_ms):
                found.append((f"1m/{row[0] * 1_000_000}", *map(Decimal, row[1:6]), row[8]))
        return found

    # the stores

    def stored_trades(self, store: str, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
        """What a store has in [start, end), every row of it, as ``venue_trades`` tells it."""
        rows = self._rows(store, "trades", "record_key, event_time_ns, last_price, volume, side", start, end)
        return [
            (key, time_ns, Decimal(price), Decimal(size), side) for key, time_ns, price, size, side in rows
        ]

    def stored_bars(self, store: str, start: datetime, end: datetime) -> list[tuple[Any, ...]]:
        columns = "record_key, open, high, low, close, volume, trade_count"
        rows = self._rows(store, "bars", columns, start, end)
        return [(key, *map(Decimal, values), count) for key, *values, count in rows]

    def _rows(self, store: str, table: str, columns: str, start: datetime, end: datetime) -> list[Any]:
        """In the order of time."""
        return query(
            self.settings,
            store,
            f"SELECT {columns} FROM {table} WHERE exchange = 'binance' AND symbol = '{SYMBOL}'"
            f" AND event_time_ns >= {ns(start)} AND event_time_ns < {ns(end)} ORDER BY event_time_ns, record_key",
        ).rows

    # mail

    def mails(self) -> list[dict[str, str]]:
        """The oldest first; ``text`` is what its parts say."""
        base = f"http://127.0.0.1:{self.settings.mail.mailbox_port}/messages"
        with urllib.request.urlopen(base, timeout=10) as answer:
            listed = json.load(answer)
        for mail in listed:
            with urllib.request.urlopen(f"{base}/{mail['id']}", timeout=10) as answer:
                parts = email.message_from_bytes(answer.read(), policy=email.policy.default).walk()
            mail["text"] = "\n".join(
                part.get_content() for part in parts if part.get_content_maintype() == "text"
            )
        return list(reversed(listed))


# Airflow's pages, as 3.3.2 draws them


def log_in(page: Page, desk: Desk) -> None:
    page.goto(url(desk.settings) + "/auth/login/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", credentials(desk.settings).passwords["operator"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda address: "login" not in address)


def trigger_dialog(page: Page, desk: Desk) -> Locator:
    """The open dialog of the DAG's Trigger button, its form drawn."""
    page.goto(f"{url(desk.settings)}/dags/{DAG}")
    page.get_by_role("button", name="Trigger").first.click()
    dialog = page.locator("[role=dialog][data-state=open]").filter(has_text="Single Run")
    dialog.locator("[name=element_symbols]").wait_for()
    return dialog


def run_by_form(page: Page, desk: Desk, run_id: str, start: str, end: str) -> None:
    """Fill the Trigger form for Bitcoin, run, and see the run's page when it is done: green."""
    dialog = trigger_dialog(page, desk)
    expect(dialog.locator("[name=element_venue]")).to_have_value("binance")
    dialog.locator("[name=element_symbols]").fill(VENUE_SYMBOL)
    dialog.locator("[name=element_start]").fill(start)
    dialog.locator("[name=element_end]").fill(end)
    dialog.get_by_role("button", name="Advanced Options").click()
    dialog.locator("[name=dagRunId]").fill(run_id)
    dialog.get_by_role("button", name="Trigger", exact=True).click()
    dialog.wait_for(state="hidden")
    page.goto(NOTHING)
    until("the run succeeds", lambda: desk.states([run_id]) == {"success"}, RUN_WITHIN_S)
    page.goto(f"{url(desk.settings)}/dags/{DAG}/runs/{run_id}")
    expect(page.get_by_test_id("state-badge").first).to_have_text("Success", timeout=RUN_WITHIN_S * 1_000)
    page.goto(NOTHING)


def run_by_dialog(page: Page, desk: Desk, first: date, last: date, reprocess: str) -> list[str]:
    """The native Backfill dialog for the days first to last, both included; the ids of its runs."""
    dialog = trigger_dialog(page, desk)
    dialog.get_by_text("Run this Dag for a range of dates").click()
    for number, day in enumerate((first, last)):
        dialog.get_by_test_id("datetime-input").nth(number).click()
        picker = page.locator("[data-scope=popover][data-part=content][data-state=open]")
        picker.get_by_placeholder("YYYY/MM/DD").fill(day.strftime("%Y/%m/%d"))
        picker.get_by_placeholder("HH:mm").fill("00:00")
        dialog.get_by_text("Date Range").click()
        picker.wait_for(state="hidden")
    dialog.get_by_text(reprocess, exact=True).click()
    dialog.locator("[name=max_active_runs]").fill("2")
    # without this the dialog leaves out what its form says (Airflow 3.3.2)
    dialog.get_by_text("Override parameters on existing runs").click()
    dialog.locator("[name=element_symbols]").fill(VENUE_SYMBOL)
    _press_run_backfill(page, dialog)
    dialog.wait_for(state="hidden")
    page.goto(NOTHING)
    ends = (first + timedelta(days=n + 1) for n in range((last - first).days + 1))
    return [f"backfill__{day.isoformat()}T00:00:00+00:00" for day in ends]


def _press_run_backfill(page: Page, dialog: Locator) -> None:
    """As an operator does: once more where Airflow's own database failed it, which SQLite does beside busy writers."""
    for _ in range(PRESSES_MAX):
        with page.expect_response(_creates_backfill) as answered:
            dialog.get_by_role("button", name="Run Backfill").click()
        if answered.value.status != HTTPStatus.INTERNAL_SERVER_ERROR:
            break
    # a refusal leaves the dialog open
    assert answered.value.ok, f"HTTP {answered.value.status}: {answered.value.text()}"


def _creates_backfill(answer: Response) -> bool:
    """A 503 is of an SQLite that another writer had locked: the page asks again by itself."""
    is_asked = answer.request.method == "POST" and urlsplit(answer.url).path == "/api/v2/backfills"
    return is_asked and answer.status != HTTPStatus.SERVICE_UNAVAILABLE
