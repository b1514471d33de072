"""The page itself in a real browser, with canned sections: what is drawn, what is sent, and how it fits."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page

PAGE = Path(__file__).parents[2] / "plugins" / "pipeline_monitor"
BASE = "/pipeline-monitor/"
NOW_S = time.time()
TODAY = time.strftime("%Y-%m-%d", time.gmtime())
SECTIONS: dict[str, Any] = {
    "live": {
        "silent": [],
        "parts": [
            {"part": "stream-binance", "state": "running", "since_s": 1, "memory_bytes": 0, "restarts": 0}
        ],
        "venues": {
            "binance": {
                "events": {"trade": 5},
                "frames": 5,
                "quarantined": {"crossed_book": 7},
                "ignored": {},
                "faults": {},
                "unknown_fields": {"trade.zz": 4},
                "gaps": {"sequence": 2, "start": 31},
                "reconnects": 1,
                "connections": {"one": 1},
                "last_receive_s": {"trade": 1, "depth": 1, "depth@100ms": NOW_S},
                "limits_s": {"trade": 60.0, "depth@100ms": 3_600.0},
                "latency_buckets": {"0.004": 98, "0.016": 99, "+Inf": 100},
            }
        },
        "sinks": {"clickhouse": {"rows": 5, "rejected": 0, "store_up": True, "write_buckets": {}}},
        "storage": {"folders": {"lake": 5 << 30, "kafka": 1 << 20}, "free_bytes": 60e9, "disk_bytes": 100e9},
        "gateway": {"clients": 3, "buffered_bytes": 0, "delivered_records_total": 70, "cut_off_total": 1},
    },
    "quality": [
        {
            "exchange": "binance",
            "day": TODAY,
            "score": 98.765,
            "coverage": 0.99,
            "gaps_per_million": 1.5,
            "share_repaired": 1.0,
            "quarantined": 4,
            "latency_p99_ms": None,
        }
    ],
    "backlog": [{"group": "g", "topic": "t", "partition": 1, "messages": 1234}],
    "history": [
        {"exchange": "binance", "kind": "trade", "t": int(time.time() // 10 * 10) - 60, "events": 50}
    ],
    "quarantine": [{"exchange": "binance", "code": "<b>bold</b>", "severity": "hard", "events": 3}],
    "gaps": {
        "counts": [{"exchange": "binance", "gap_kind": "sequence", "gap_state": "open", "gaps": 1}],
        "open": [
            {
                "exchange": "binance",
                "symbol": "BTC-USDT",
                "channel": "trade",
                "gap_kind": "sequence",
                "record_key": "gap/9",
                "from_sequence": 3,
                "to_sequence": 9,
                "from_s": 1,
                "to_s": 2,
                "seen_s": 3,
                "reason": "long " * 40,
            }
        ],
    },
    "coverage": [{"exchange": "binance", "symbol": "BTC-USDT", "day": TODAY, "hours": 13, "trades": 9000}],
    "backfills": [
        {
            "name": "run_1",
            "exchange": "binance",
            "symbols": ["BTCUSDT"],
            "kinds": ["trade"],
            "start_s": 0,
            "end_s": 86_400,
            "done": 12,
            "chunks": 25,
            "changed_s": NOW_S,
        }
    ],
    "incidents": [],
}


class Airflow:
    """What the page asks of Airflow, canned; ``triggered`` keeps what it posts."""

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.may_trigger = True
        self.triggered: list[tuple[str, dict[str, Any]]] = []

    def answer(self, path: str) -> tuple[int, Any]:
        name = path.rpartition("/")[2]
        if path.startswith(BASE + "sections/"):
            if name in self.down:
                return 200, {"state": "down", "taken_ns": 0, "data": None, "reason": "ClickHouse: refused"}
            return 200, {
                "state": "ok",
                "taken_ns": time.time_ns(),
                "data": SECTIONS[name],
                "reason": "",
            }
        if path.startswith(BASE + "may-trigger/"):
            return (204 if self.may_trigger else 403), None
        if path.startswith("/api/v2/dags/~"):
            return 200, {"dag_runs": [{"dag_id": "load_timescale", "state": "success", "duration": 2.0}]}
        if path.startswith("/api/v2/dags?"):
            return 200, {"dags": [{"dag_id": "load_timescale", "is_paused": False}]}
        return 404, None


@pytest.fixture
def airflow() -> Airflow:
    return Airflow()


@pytest.fixture
def address(airflow: Airflow) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = PAGE / (self.path.rpartition("/")[2] or "index.html")
            if self.path == BASE or self.path.startswith(BASE + "files/"):
                kind = {".js": "text/javascript", ".css": "text/css"}.get(file.suffix, "text/html")
                self.reply(200, file.read_bytes(), kind)
            else:
                status, body = airflow.answer(self.path)
                self.reply(status, b"" if body is None else json.dumps(body).encode(), "application/json")

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            airflow.triggered.append((self.path, body["conf"]))
            self.reply(200, b'{"dag_run_id": "manual 1"}', "application/json")

        def reply(self, status: int, body: bytes, kind: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}{BASE}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def page(browser: Browser, address: str) -> Iterator[Page]:
    errors: list[str] = []
    opened = browser.new_page(viewport={"width": 1280, "height": 900})
    opened.set_default_timeout(60_000)
    opened.on("pageerror", lambda error: errors.append(str(error)))
    yield opened
    opened.close()
    assert errors == []


pytestmark = [pytest.mark.integration, pytest.mark.slow]


def text(page: Page, place: str) -> str:
    page.locator(f"#{place} table, #{place} .empty:not(.loading), #{place} canvas").first.wait_for()
    return page.locator(f"#{place}").inner_text()


def test_every_section_is_drawn_and_text_stays_text(page: Page, address: str) -> None:
    page.goto(address)
    assert "streaming" in text(page, "venues")
    assert page.locator("#freshness .badge").evaluate_all("all => all.map(one => one.className)") == [
        "badge warn",
        "badge plain",
        "badge good",
    ]
    assert "crossed_book" in text(page, "errors")
    assert "trade.zz" in text(page, "errors")
    assert "1,234" in text(page, "backlog")
    assert "<b>bold</b>" in text(page, "quarantine")
    assert "ids 3 to 9" in text(page, "gaps")
    assert "BTC-USDT" in text(page, "coverage")
    assert "success" in text(page, "jobs")
    assert "12 of 25" in text(page, "backfills")
    assert "No incidents." in text(page, "incidents")
    assert "binance" in text(page, "history")
    assert "98.8" in text(page, "quality")
    storage = text(page, "storage")
    assert "5.0 GiB" in storage
    assert "55.9 GiB of 93.1 GiB free" in storage
    assert "70" in text(page, "gateway")
    # what every start declares is no news
    cells = page.locator("#venues tbody tr td").all_inner_texts()
    headings = page.locator("#venues thead th").all_inner_texts()
    assert dict(zip(headings, cells, strict=True)) | {"Gaps": "2", "At start": "31"} == dict(
        zip(headings, cells, strict=True)
    )
    assert page.locator(".loading").count() == 0


def test_the_first_line_says_that_all_is_well_or_what_is_wrong_since_when_and_what_to_do(
    page: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    page.goto(address)
    page.get_by_text("1 of 1 venues are streaming, every part runs.").wait_for()
    incident = {
        "title": "okx: no data for 90 s",
        "severity": "critical",
        "how_far": "",
        "to_do": "Look at the <log>.",
        "link": "",
        "since_s": NOW_S - 90,
        "recovered_s": 0,
    }
    over = {**incident, "title": "kraken: it was", "recovered_s": NOW_S}
    restarting = {"part": "kafka", "state": "restarting", "since_s": NOW_S, "memory_bytes": 0, "restarts": 2}
    live = {**SECTIONS["live"], "parts": [*SECTIONS["live"]["parts"], restarting]}
    monkeypatch.setitem(SECTIONS, "incidents", [incident, over])
    monkeypatch.setitem(SECTIONS, "live", live)
    page.goto(address)
    page.get_by_text("Look at the <log>.").first.wait_for()
    lines = page.locator("#health li").all_inner_texts()
    assert [line.partition(" since ")[0] for line in lines] == [
        "wrong okx: no data for 90 s",
        "wrong kafka is restarting",
    ]
    assert lines[0].endswith("— Look at the <log>.")


def test_a_venue_of_several_opens_to_its_symbols_by_keyboard(
    page: Page, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [
        {"exchange": exchange, "symbol": symbol, "day": TODAY, "hours": hours, "trades": 9}
        for exchange, symbol, hours in (
            ("binance", "BTC-USDT", 24),
            ("binance", "ETH-USDT", 12),
            ("okx", "BTC-USDT", 6),
        )
    ]
    closed, short = (time.strftime("%Y-%m-%d", time.gmtime(time.time() - 86_400 * ago)) for ago in (2, 1))
    rows += [
        {
            "exchange": "polygon",
            "symbol": "AAPL",
            "day": day,
            "hours": hours,
            "trades": 9,
            "open_hours": open_hours,
        }
        for day, hours, open_hours in ((closed, 0, 0), (short, 4, 4), (TODAY, 13, 7))
    ]
    monkeypatch.setitem(SECTIONS, "coverage", rows)
    page.goto(address)
    venue = page.locator("#coverage .toggle").first
    venue.wait_for()
    assert page.locator("#coverage .square").count() == 0
    assert page.locator("#coverage .whole").all_inner_texts()[13] == "18"
    venue.focus()
    page.keyboard.press("Enter")
    page.locator("#coverage .square").first.wait_for()
    assert page.locator("#coverage tbody td:first-child").all_inner_texts() == [
        "▾ binance (2)",
        "binance BTC-USDT",
        "binance ETH-USDT",
        "▸ okx (1)",
        "▸ polygon (1)",
    ]
    shades = (
        page.locator("#coverage tr")
        .last.locator(".whole")
        .evaluate_all("all => all.slice(-3).map(one => [one.className, one.title.split(':')[1].trim()])")
    )
    of_all = "on average over 1 symbols"
    assert shades == [
        ["whole h0", f"closed {of_all}"],
        ["whole h4", f"4.0 of 4 hours {of_all}"],
        ["whole h4", f"13.0 of 7 hours {of_all}"],
    ]
    assert page.evaluate("document.activeElement.dataset.key") == "venue binance"


def test_a_store_that_is_down_is_a_state_of_its_sections_and_said_first(
    page: Page, address: str, airflow: Airflow
) -> None:
    airflow.down = {"gaps", "history"}
    page.goto(address)
    page.locator("#gaps .reason").wait_for()
    assert page.locator("#gaps .reason").inner_text() == "Not available: ClickHouse: refused"
    assert "streaming" in text(page, "venues")
    assert page.locator("#venues .reason").count() == 0
    page.locator("#health").get_by_text("Not available: Events per second, Open gaps").wait_for()


def test_a_square_of_the_heat_map_backfills_its_day_by_keyboard(
    page: Page, address: str, airflow: Airflow
) -> None:
    page.goto(address)
    square = page.locator("#coverage .square:not([disabled])").last
    square.wait_for()
    square.focus()
    page.keyboard.press("Enter")
    page.locator("#trigger[open]").wait_for()
    page.locator("#trigger input[name=venue]").focus()
    page.keyboard.press("Enter")
    page.get_by_text("watch it in Airflow").wait_for()
    tomorrow = time.strftime("%Y-%m-%d", time.gmtime(time.time() + 86_400))
    conf = {"venue": "binance", "symbols": ["BTC-USDT"], "kinds": ["trade"], "start": TODAY, "end": tomorrow}
    assert airflow.triggered == [("/api/v2/dags/backfill_market_data/dagRuns", {**conf, "dry_run": False})]


def test_a_gap_is_repaired_by_its_key(page: Page, address: str, airflow: Airflow) -> None:
    page.goto(address)
    page.locator("#gaps button").first.click()
    page.locator("#trigger-run").click()
    page.get_by_text("watch it in Airflow").wait_for()
    conf = {"exchange": "binance", "symbol": "BTC-USDT", "key": "gap/9"}
    assert airflow.triggered == [("/api/v2/dags/repair_gaps/dagRuns", conf)]


def test_who_may_not_trigger_is_offered_nothing(page: Page, address: str, airflow: Airflow) -> None:
    airflow.may_trigger = False
    page.goto(address)
    text(page, "gaps")
    page.get_by_text("Your role may look, not trigger.").wait_for()
    assert page.locator("#gaps button").count() == 0
    assert page.locator("#coverage .square:not([disabled])").count() == 0


@pytest.mark.parametrize("width", [390, 1280])
def test_the_page_is_as_wide_as_the_screen(page: Page, address: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 844})
    page.goto(address)
    for place in ("venues", "gaps", "coverage", "history"):
        text(page, place)
    assert page.evaluate("document.documentElement.scrollWidth") == width
