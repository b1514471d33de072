"""The pictures of these documents, taken of a platform that runs: ``python docs/images/take.py STATE [NAME …]``.

    etl up --state STATE --venues binance,kraken,okx,coinbase,polygon,alpaca --rate 60
    ETL_STATE_DIR=STATE etl backfill binance --symbols BTCUSDT,ETHUSDT --kinds trade --from … --to …    # some days each
    etl load timescale                                                                                  # the coverage

A quarter of an hour later the charts are full. ``store_down`` halts the platform's ClickHouse while it is taken.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from playwright.sync_api import Browser, FrameLocator, Page, expect, sync_playwright

from etl.embedded.airflow import credentials, url
from etl.embedded.status import read_status
from etl.gateway.tokens import own_token
from etl.settings import Settings, changed, load

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FOLDER = Path(__file__).parent
WIDE, NARROW, LOW = (1_280, 1_500), (390, 1_400), (1_280, 900)
PAGE_WITHIN_S = 240.0
DRAWN_S = 20.0
"""By then the charts have two readings to draw a rate of."""
OPENED = "binance"
WATCHED = ("kraken", "BTC-USD")
"""On the gateway's page: an instrument with a book."""
Scheme = Literal["light", "dark"]


class Camera:
    """Takes pictures of what ``settings`` run."""

    def __init__(self, browser: Browser, settings: Settings) -> None:
        self._browser = browser
        self._settings = settings

    def wide(self) -> None:
        self._monitor("monitor-wide", WIDE)

    def dark(self) -> None:
        self._monitor("monitor-dark", WIDE, "dark")

    def narrow(self) -> None:
        self._monitor("monitor-narrow", NARROW)

    def narrow_dark(self) -> None:
        self._monitor("monitor-narrow-dark", NARROW, "dark")

    def store_down(self) -> None:
        with self._halted("clickhouse"):
            self._monitor("monitor-store-down", WIDE)

    def coverage(self) -> None:
        """The heat map alone, one venue opened to its symbols."""
        page, frame = self._opened(WIDE, "light")
        self._open_venue(frame)
        frame.locator("#coverage").screenshot(path=FOLDER / "monitor-coverage.png")
        page.close()

    def backfill(self) -> None:
        """The dialog that a square of the heat map opens."""
        page, frame = self._opened(LOW, "light")
        self._open_venue(frame)
        frame.locator("#coverage button.square").nth(8).click()
        frame.locator("#trigger").wait_for()
        page.screenshot(path=FOLDER / "monitor-backfill.png")
        page.close()

    def dags(self) -> None:
        page = self._page(LOW, "light")
        self._log_in(page)
        page.goto(f"{url(self._settings)}/dags")
        page.get_by_text("publish_quality").first.wait_for()
        page.wait_for_timeout(DRAWN_S * 1_000)
        page.screenshot(path=FOLDER / "airflow-dags.png")
        page.close()

    def gateway(self) -> None:
        self._gateway("gateway-dark", LOW, "dark")
        self._gateway("gateway-narrow", NARROW, "light")

    def _gateway(self, name: str, size: tuple[int, int], scheme: Scheme) -> None:
        page = self._page(size, scheme)
        token = own_token(self._settings, time.time_ns())
        page.add_init_script(f"sessionStorage.setItem('token', '{token}')")
        host = f"http://{self._settings.bind_host}:{self._settings.gateway.port}"
        page.goto(f"{host}/#{quote(' '.join(WATCHED))}")
        page.locator("#levels tr").first.wait_for()
        page.wait_for_timeout(DRAWN_S * 1_000)
        page.screenshot(path=FOLDER / f"{name}.png")
        page.close()

    def _monitor(self, name: str, size: tuple[int, int], scheme: Scheme = "light") -> None:
        page, _ = self._opened(size, scheme)
        page.screenshot(path=FOLDER / f"{name}.png")
        page.close()

    def _opened(self, size: tuple[int, int], scheme: Scheme) -> tuple[Page, FrameLocator]:
        page = self._page(size, scheme)
        self._log_in(page)
        page.goto(f"{url(self._settings)}/plugin/pipeline_monitor")
        frame = page.frame_locator("iframe")
        frame.locator("section").first.wait_for()
        expect(frame.locator(".loading")).to_have_count(0, timeout=PAGE_WITHIN_S * 1_000)
        page.wait_for_timeout(DRAWN_S * 1_000)
        return page, frame

    def _open_venue(self, frame: FrameLocator) -> None:
        frame.locator("#coverage button.toggle", has_text=OPENED).click()

    def _page(self, size: tuple[int, int], scheme: Scheme) -> Page:
        page = self._browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
        page.set_default_timeout(PAGE_WITHIN_S * 1_000)
        page.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
        return page

    def _log_in(self, page: Page) -> None:
        page.goto(url(self._settings) + "/auth/login/")
        page.fill("input[name=username]", "operator")
        page.fill("input[name=password]", credentials(self._settings).passwords["operator"])
        page.press("input[name=password]", "Enter")
        page.wait_for_url(lambda address: "login" not in address)

    @contextmanager
    def _halted(self, part: str) -> Iterator[None]:
        """The process lives, and answers nothing."""
        (pid,) = (one.pid for one in read_status(self._settings.state_path).parts if one.name == part)
        os.killpg(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(pid, signal.SIGCONT)


PICTURES = ("wide", "dark", "narrow", "narrow_dark", "coverage", "backfill", "dags", "gateway", "store_down")


def take(settings: Settings, names: tuple[str, ...]) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        camera = Camera(browser, settings)
        for name in names or PICTURES:
            getattr(camera, name)()
        browser.close()


if __name__ == "__main__":
    take(changed(load(), state_dir=sys.argv[1]), tuple(sys.argv[2:]))
