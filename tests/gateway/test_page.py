"""The live page in a real browser, on a gateway with a real topic and store: who may look, what is drawn, its fit."""

from __future__ import annotations

import asyncio
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from msgspec import structs
from playwright.sync_api import Browser, Page, expect

from etl.gateway.page import FILES, HEADERS
from etl.gateway.server import running
from etl.model.records import Record
from etl.model.times import NS_PER_MINUTE
from etl.settings import Settings
from tests.plugins.conftest import browser  # noqa: F401  a fixture
from tests.support.gateway import address, bar, book, gap, publish, quote, token_of, trade, with_stored

pytestmark = [pytest.mark.integration, pytest.mark.slow]

WITHIN_MS = 20_000.0
BARS = 40


def moved(record: Record, time_ns: int, **values: object) -> Record:
    return structs.replace(
        record, event_time_ns=time_ns, key_time_ns=time_ns, receive_time_ns=time_ns, **values
    )


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory, kafka_url: str, clickhouse_url: str
) -> Iterator[Settings]:
    state = tmp_path_factory.mktemp("page")
    with with_stored(state, kafka_url, clickhouse_url, the_past(), topic_partitions=1) as made, served(made):
        yield made


def the_past() -> list[Record]:
    """Bars of the last minutes, up and down, and a gap among them."""
    first_ns = (time.time_ns() // NS_PER_MINUTE - BARS) * NS_PER_MINUTE
    made: list[Record] = []
    for number in range(BARS):
        at_ns, base = first_ns + number * NS_PER_MINUTE, 100 + 8 * ((number * 7) % 11) / 11
        prices = {
            "open": f"{base:.2f}",
            "high": f"{base + 3:.2f}",
            "low": f"{base - 2:.2f}",
            "close": f"{base + 1:.2f}",
        }
        key = {"record_key": f"1m/{at_ns}", "volume": f"{5 + number % 7}"}
        made.append(moved(bar(number), at_ns, **prices, **key))
    return [*made, moved(gap(0), first_ns + 20 * NS_PER_MINUTE, from_time_ns=first_ns + 20 * NS_PER_MINUTE)]


@contextmanager
def served(settings: Settings) -> Iterator[None]:
    """On a thread of its own: the browser's driver has the loop of this one."""
    started, stop = threading.Event(), threading.Event()

    async def run() -> None:
        async with running(settings):
            started.set()
            await asyncio.to_thread(stop.wait)

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    assert started.wait(30)
    yield
    stop.set()
    thread.join()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:  # noqa: F811
    opened = browser.new_page(viewport={"width": 1280, "height": 800})
    opened.set_default_timeout(WITHIN_MS)
    expect.set_options(timeout=WITHIN_MS)
    errors: list[str] = []
    opened.on("pageerror", lambda error: errors.append(str(error)))
    opened.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    yield opened
    opened.close()
    assert errors == []


def enter(page: Page, settings: Settings, token: str) -> None:
    page.goto(address(settings, "/"))
    page.get_by_label("Token", exact=True).fill(token)
    page.keyboard.press("Enter")


def test_a_token_is_asked_for_and_a_wrong_one_is_refused(page: Page, settings: Settings) -> None:
    enter(page, settings, "etl_wrong")
    expect(page.get_by_role("alert")).to_have_text("This token is not good.")
    expect(page.locator("#watched")).to_be_hidden()
    assert page.evaluate("sessionStorage.length") == 0


def test_an_instrument_is_watched_by_keyboard_alone(page: Page, settings: Settings) -> None:
    enter(page, settings, token_of(settings))
    expect(page.locator("#offered")).to_contain_text("binance BTC-USDT")
    page.keyboard.press("/")
    page.keyboard.type("binance BTC-USDT")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#gaps")).to_have_text("1")
    now_ns = time.time_ns()
    publish(
        settings,
        [moved(quote(1), now_ns), *(moved(trade(n), now_ns + n, last_price="104.25") for n in range(3))],
    )
    expect(page.locator("#last")).to_have_text("104.25")
    expect(page.locator("#bid")).to_have_text("99.5 × 1")
    expect(page.locator("#spread")).to_have_text("1.0")
    expect(page.locator("#trades tr")).to_have_count(3)
    expect(page.locator("#depth")).to_be_hidden()
    page.get_by_label("Mids of").fill("kraken")
    page.keyboard.press("Enter")
    expect(page.locator("#state")).to_have_text("Live")
    expect(page.locator("#mids")).to_have_text("kraken –")
    other = structs.replace(quote(2), exchange="kraken", bid="98.5", ask="100.5")
    publish(settings, [moved(other, now_ns), moved(book(3), now_ns)])
    expect(page.locator("#mids")).to_have_text("kraken 99.5")
    expect(page.locator("#levels tr")).to_have_text(["25", "13", "0.54"])
    assert page.evaluate("decodeURIComponent(location.hash)") == "#binance BTC-USDT kraken"
    assert page.locator("#chart canvas").count() > 2
    publish(settings, [moved(gap(5), now_ns, record_key="another", from_time_ns=now_ns)])
    expect(page.locator("#gaps")).to_have_text("2")
    page.reload()
    expect(page.locator("#name")).to_have_text("binance BTC-USDT")  # the address has it, the tab the token
    expect(page.locator("#state")).to_have_text("Live")
    page.get_by_role("button", name="Forget the token").click()
    expect(page.locator("#login")).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone_in_light_and_dark(page: Page, settings: Settings, scheme: str) -> None:
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    enter(page, settings, token_of(settings))
    page.get_by_role("button", name="binance BTC-USDT").click()
    expect(page.locator("#state")).to_have_text("Live")
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert ground == {"light": "rgb(255, 255, 255)", "dark": "rgb(16, 20, 24)"}[scheme]


def test_the_files_load_nothing_from_elsewhere(settings: Settings) -> None:
    for name in FILES:
        with urllib.request.urlopen(address(settings, f"/page/{name}")) as answer:
            assert answer.headers["Content-Security-Policy"] == HEADERS["Content-Security-Policy"]
            assert b"//cdn" not in answer.read()
    with pytest.raises(urllib.error.HTTPError, match=r"HTTP Error 40[14]"):
        urllib.request.urlopen(address(settings, "/page/..%2Fserver.py"))
