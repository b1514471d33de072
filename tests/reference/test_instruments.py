"""The instrument lists that refresh_instruments keeps, and who reads them."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from etl.adapter.contract import Credentials
from etl.adapter.versions import parser_at
from etl.errors import UsageError, VenueError
from etl.exchanges import load
from etl.ingest.backfill_jobs import make_job
from etl.model.records import Frame
from etl.reference import instrument_states, instruments
from etl.reference.instrument_steps import Steps, read
from etl.reference.instruments import known, refresh, with_known
from etl.settings import Settings, changed
from etl.sources.access import VenueAccess
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import SQL_DIR, migrate_clickhouse, statements
from tests.support.access import access_at
from tests.support.invented import OLD_UNTIL_NS, Invented, InventedOld
from tests.support.venue_server import venue_server

LISTED = (
    '{"timezone":"UTC","symbols":[{"symbol":"NEWUSDT","status":"TRADING","baseAsset":"NEW","quoteAsset":"USDT",'
    '"filters":[{"filterType":"PRICE_FILTER","tickSize":"0.0100"},{"filterType":"LOT_SIZE","stepSize":"1"}]}]}'
)
MORNING_NS = 1_795_252_862_476_000_001
NOON_NS = MORNING_NS + 4 * 3_600 * 10**9
TRADE = (
    b'{"stream":"newusdt@trade","data":{"e":"trade","E":1795252862476,"s":"NEWUSDT","t":1,"p":"1.0","q":"2.0",'
    b'"T":1795252862476,"m":true,"M":true}}'
)


def refreshed(settings: Settings, answer: str) -> int:
    binance = load("binance")
    with venue_server() as server:
        server.answers[binance.instruments_path] = (200, answer)
        return refresh(settings, access_at(f"http://127.0.0.1:{server.port}", binance, settings.state_path))


def test_a_listing_since_the_release_is_known_to_workers_and_backfills_after_a_refresh(
    settings: Settings,
) -> None:
    frame = Frame("binance", "c", 1, "ws://x/stream?streams=newusdt@trade", 1, TRADE)
    (before,) = load("binance")().parse(frame)
    assert (before.symbol, before.flags) == ("NEWUSDT", ("unknown_symbol",))  # type: ignore[union-attr]
    with pytest.raises(UsageError, match="no instrument NEWUSDT"):
        make_job(settings, "binance", ["NEWUSDT"], ["trade"], 0, 1)

    assert refreshed(settings, LISTED) == 1
    (after,) = with_known(settings, load("binance"))().parse(frame)
    assert (after.symbol, after.flags) == ("NEW-USDT", ())  # type: ignore[union-attr]
    assert make_job(settings, "binance", ["NEW-USDT"], ["trade"], 0, 1).symbols == ("NEWUSDT",)


def test_a_broken_answer_leaves_the_old_list_in_use(settings: Settings) -> None:
    refreshed(settings, LISTED)
    with pytest.raises(VenueError, match="instrument list"):
        refreshed(settings, "{}")
    assert known(settings, load("binance")).symbol("NEWUSDT") == "NEW-USDT"


def test_a_list_in_pages_is_fetched_to_its_end_and_kept_whole(settings: Settings) -> None:
    page = '{"symbols":[{"name":"%s","base":"%s","quote":"BBB"}],"next":%d}'
    with venue_server() as server:
        server.answers["/symbols/1"] = (200, page % ("XXXBBB", "XXX", 2))
        server.answers["/symbols/2"] = (200, page % ("YYYBBB", "YYY", 0))
        place, keys = f"http://127.0.0.1:{server.port}", Credentials("key", "secret")
        assert refresh(settings, access_at(place, Invented, settings.state_path, keys)) == 2
    assert known(settings, Invented).by_symbol() == {"XXX-BBB": "XXXBBB", "YYY-BBB": "YYYBBB"}


def test_a_parser_of_a_former_protocol_knows_the_newest_list_too(settings: Settings) -> None:
    exchange = with_known(settings, Invented)
    former = parser_at(exchange, OLD_UNTIL_NS - 1)
    assert issubclass(former, InventedOld)
    assert not issubclass(former, Invented)
    assert len(former().instruments) == 0, "as the list that is known, not the one the class brings"


def test_every_venue_of_the_settings_that_has_a_list_is_refreshed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def note(_: Settings, access: VenueAccess) -> int:
        asked.append(access.exchange.name)
        return len(asked)

    monkeypatch.setattr(instruments, "refresh", note)
    wanted = changed(settings, venues="polygon,binance,alpaca")
    listed = [name for name in wanted.venues.names if load(name).listing_requests()]
    assert "binance" in listed
    assert instruments.refresh_all(wanted) == {name: number for number, name in enumerate(listed, 1)}
    assert asked == listed


@pytest.mark.integration
def test_a_step_that_a_list_tells_anew_is_a_row_of_the_history_and_the_same_list_again_is_none(
    settings_with: Callable[..., Settings],
) -> None:
    settings = changed(settings_with(clickhouse=True), venues="binance,alpaca", stores="clickhouse")
    migrate_clickhouse(settings)
    refreshed(settings, LISTED)
    added = [instrument_states.refresh(settings, now_ns) for now_ns in (MORNING_NS, NOON_NS)]
    assert added == [{"clickhouse": 1}, {"clickhouse": 0}]
    refreshed(settings, LISTED.replace('"0.0100"', '"0.0010"'))
    assert instrument_states.refresh(settings, NOON_NS) == {"clickhouse": 1}
    assert read(settings, ["binance"]) == {
        ("binance", "NEW-USDT"): [
            Steps("binance", "NEW-USDT", MORNING_NS, "0.0100", "1"),
            Steps("binance", "NEW-USDT", NOON_NS, "0.0010", "1"),
        ]
    }


@pytest.mark.integration
def test_what_the_former_table_kept_of_steps_is_taken_over_once(
    settings_with: Callable[..., Settings],
) -> None:
    settings = changed(settings_with(clickhouse=True), venues="binance", stores="clickhouse")
    migrate_clickhouse(settings)
    refreshed(settings, LISTED)
    instrument_states.refresh(settings, NOON_NS)
    made, taken, dropped = statements(
        (SQL_DIR / "clickhouse" / "0030_one_instrument_history.sql").read_text()
    )
    with connect(settings) as client:
        for _ in range(2):  # cut off behind the drop, it begins anew
            client.execute(made)
            client.execute(
                "INSERT INTO instrument_history (exchange, symbol, valid_from, price_step, size_step) VALUES"
                f" ('binance', 'NEW-USDT', fromUnixTimestamp64Nano({MORNING_NS}), '0.1000', '1'),"
                f" ('binance', 'NEW-USDT', fromUnixTimestamp64Nano({NOON_NS + 1}), '0.0100', '1'),"
                f" ('binance', 'OLD-USDT', fromUnixTimestamp64Nano({MORNING_NS}), '5', '')"
            )
            client.execute(taken)
            client.execute(dropped)
    assert read(settings, ["binance"]) == {
        ("binance", "NEW-USDT"): [
            Steps("binance", "NEW-USDT", MORNING_NS, "0.1000", "1"),
            Steps("binance", "NEW-USDT", NOON_NS, "0.0100", "1"),
        ],
        ("binance", "OLD-USDT"): [Steps("binance", "OLD-USDT", MORNING_NS, "5")],
    }
    with connect(settings) as client:
        now = client.execute(
            "SELECT venue_symbol, price_step FROM instruments ORDER BY venue_symbol FORMAT CSV"
        )
    assert now.decode().split() == ['"NEWUSDT","0.0100"', '"OLD-USDT","5"']
