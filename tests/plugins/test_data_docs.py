"""The Data Docs in a real browser, from the plugin's own application: legible, alone, harmless whatever they show."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI, Request, Response
from playwright.sync_api import Browser, BrowserContext, Page, expect

from etl.audit.data_docs import Expected, write_data_docs

COOKIE = "_token=session"
DOCS = "/pipeline-monitor/data-docs/"
ATTACK = (
    "fetch('/api/v2/dags/repair_gaps/dagRuns', {method: 'POST'}); document.title = 'ran ' + document.cookie"
)
HOSTILE = f'"\'><script>{ATTACK}</script><img src=x onerror="{ATTACK}"><form action=/api/v2/dags method=post>'
HOSTILE_PAGE = f"""<!doctype html><title>hostile</title><body onload="{ATTACK}">
<script>{ATTACK}</script><script src="https://outside.example/x.js"></script>
<link rel="stylesheet" href="https://outside.example/x.css"><img src="https://outside.example/x.png">
<img src="/api/v2/dags"><iframe src="/api/v2/dags"></iframe>
<form action="/api/v2/dags/repair_gaps/dagRuns" method="post"><button>Send</button></form>
<a href="javascript:{ATTACK}">Run</a><p>end</p>"""
DAYS = (date(2026, 6, 1), date(2026, 6, 2))


@pytest.fixture
def docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two days' pages, of which the second shows a hostile value wherever one can stand, and a page that is one."""
    monkeypatch.setenv("ETL_STATE_DIR", str(tmp_path))
    folder = tmp_path / "data_docs"
    good = Expected("volume", "column values to be between", {"min_value": 0}, met=True)
    write_data_docs(folder, DAYS[0], {"trades": [good]})
    bad = Expected(
        HOSTILE,
        HOSTILE,
        {HOSTILE: HOSTILE},
        met=False,
        problem=HOSTILE,
        rows=[{"symbol": HOSTILE, HOSTILE: -1}],
    )
    write_data_docs(folder, DAYS[1], {"trades": [good, bad], HOSTILE: [good]})
    (folder / "hostile.html").write_text(HOSTILE_PAGE)
    return folder


class Served:
    """The plugin's application beside what stands for Airflow's API; every request is kept, with its cookie."""

    def __init__(self, monitor: FastAPI) -> None:
        self.requests: list[tuple[str, str, bool]] = []
        app = FastAPI()

        @app.middleware("http")
        async def session(request: Request, go_on: Callable[[Request], Awaitable[Response]]) -> Response:
            logged_in = COOKIE in request.headers.get("Cookie", "")
            self.requests.append((request.method, request.url.path, logged_in))
            if request.url.path == "/login":
                return Response("in", headers={"Set-Cookie": f"{COOKIE}; Path=/; SameSite=Lax"})
            return await go_on(request) if logged_in else Response(status_code=401)

        app.mount("/pipeline-monitor", monitor)
        self._server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error", lifespan="off"))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> str:
        self._thread.start()
        deadline = time.monotonic() + 30
        while not self._server.started:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join()


@pytest.fixture
def served(plugin: Any) -> Served:
    """Without Airflow's own login, which test_pipeline_monitor.py tries on the real API server."""
    monitor = plugin.application()
    for route in monitor.routes:
        for dependency in route.dependant.dependencies:
            monitor.dependency_overrides[dependency.call] = lambda: None
    return Served(monitor)


@pytest.fixture
def page(browser: Browser, docs: Path, served: Served) -> Iterator[Page]:
    """Logged in, at the index; nothing outside this machine may have been asked for."""
    with served as base:
        context = browser.new_context(viewport={"width": 1100, "height": 700})
        outside = watch(context, base)
        opened = context.new_page()
        opened.goto(f"{base}/login")
        opened.goto(f"{base}{DOCS}index.html")
        served.requests.clear()
        yield opened
        context.close()
        assert outside == []


def watch(context: BrowserContext, base: str) -> list[str]:
    """The addresses asked for that are not below ``base``; none of them is let out."""
    outside: list[str] = []

    def refuse(route: Any) -> None:
        outside.append(route.request.url)
        route.abort()

    context.route(lambda url: not url.startswith(base), refuse)
    return outside


def test_the_index_shows_the_newest_day_whole_and_leads_to_the_others(page: Page) -> None:
    expect(page).to_have_title(f"Expectations of {DAYS[1]}")
    assert page.locator("h2").all_inner_texts() == [
        "trades: 2 expectations, 1 not met",
        f"{HOSTILE}: 1 expectations, all met",
    ]
    rows = page.locator("table").first.locator("tr").all_inner_texts()
    assert [row.split("\t")[0] for row in rows[1:]] == ["not met", "met"]
    assert f"symbol {HOSTILE}, {HOSTILE} -1" in rows[1]
    page.get_by_role("link", name=str(DAYS[0])).click()
    expect(page).to_have_title(f"Expectations of {DAYS[0]}")
    assert page.locator("h2").all_inner_texts() == ["trades: 1 expectations, all met"]
    assert page.locator("td.met").first.evaluate("cell => getComputedStyle(cell).color") == "rgb(20, 113, 61)"


def test_a_hostile_value_is_text_and_runs_nothing(page: Page, served: Served) -> None:
    page.reload()
    page.wait_for_timeout(200)
    expect(page).to_have_title(f"Expectations of {DAYS[1]}")
    assert page.locator("script, img, form, iframe, link").count() == 0
    assert served.requests == [("GET", f"{DOCS}index.html", True)]


def test_a_page_that_is_hostile_itself_runs_nothing_sends_nothing_and_reads_no_session(
    page: Page, served: Served
) -> None:
    page.goto(page.url.replace("index.html", "hostile.html"))
    page.get_by_role("button", name="Send").click()
    page.get_by_role("link", name="Run").click()
    page.wait_for_timeout(300)
    expect(page).to_have_title("hostile")
    assert served.requests == [("GET", f"{DOCS}hostile.html", True)]
    assert page.evaluate("window.origin") == "null"
    assert page.evaluate("() => { try { return document.cookie } catch (error) { return error.name } }") == (
        "SecurityError"
    )
