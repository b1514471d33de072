"""The pictures of docs/monitor.md, taken of a platform that runs: ``python docs/images/take.py STATE``.

etl up --state STATE --venues binance,kraken,okx,coinbase,polygon,alpaca
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Literal

from playwright.sync_api import Browser, Page, expect, sync_playwright

from etl.embedded.airflow import credentials, url
from etl.settings import Settings, changed, load

CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
FOLDER = Path(__file__).parent
WIDE, NARROW = (1_280, 1_500), (390, 1_400)
PAGE_WITHIN_S = 240.0
DRAWN_S = 20.0
"""By then the charts have two readings to draw a rate of."""


def take(settings: Settings) -> None:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        _monitor(browser, settings, "monitor-wide", WIDE)
        _monitor(browser, settings, "monitor-dark", WIDE, scheme="dark")
        _monitor(browser, settings, "monitor-narrow", NARROW)
        browser.close()


def _monitor(
    browser: Browser,
    settings: Settings,
    name: str,
    size: tuple[int, int],
    scheme: Literal["light", "dark"] = "light",
) -> None:
    page = browser.new_page(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page.set_default_timeout(PAGE_WITHIN_S * 1_000)
    page.add_init_script(f"localStorage.setItem('theme', '{scheme}')")
    _log_in(page, settings)
    page.goto(f"{url(settings)}/plugin/pipeline_monitor")
    frame = page.frame_locator("iframe")
    frame.locator("section").first.wait_for()
    expect(frame.locator(".loading")).to_have_count(0, timeout=PAGE_WITHIN_S * 1_000)
    page.wait_for_timeout(DRAWN_S * 1_000)
    page.screenshot(path=FOLDER / f"{name}.png")
    page.close()


def _log_in(page: Page, settings: Settings) -> None:
    page.goto(url(settings) + "/auth/login/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", credentials(settings).passwords["operator"])
    page.press("input[name=password]", "Enter")
    page.wait_for_url(lambda address: "login" not in address)


if __name__ == "__main__":
    take(changed(load(), state_dir=sys.argv[1]))
