"""The audit against the real stores: what is planted is found, exactly that, and told as the rules say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from etl.audit import findings
from etl.audit.findings import Suppression
from etl.audit.nightly import audit, mail_of
from etl.audit.offence import Offence
from etl.export import export
from etl.load import load_timescale
from etl.migrate import migrate_clickhouse, migrate_timescale
from etl.records import Bar, BarState, Quote, Record, Side, SizeUnit, Source, Trade
from etl.settings import Settings
from etl.sinks.clickhouse import MARKET_DATA, batch_path
from etl.sinks.clickhouse_batch import delimited
from etl.sinks.clickhouse_http import ClickHouse, parse_address
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.wire.codec import encode

pytestmark = pytest.mark.integration

DAY = date(2026, 6, 1)
START_NS = 1_780_272_000_000_000_000
SECOND_NS = 1_000_000_000


def head(key: str, time_ns: int, channel: str, sequence: int | None = None) -> dict[str, Any]:
    return {
        "exchange": "binance",
        "symbol": "BTC-USDT",
        "venue_symbol": "BTCUSDT",
        "channel": channel,
        "event_time_ns": time_ns,
        "receive_time_ns": time_ns + 1,
        "source": Source.STREAM,
        "connection_id": "c",
        "frame_sequence": 1,
        "frame_index": 0,
        "record_key": key,
        "key_time_ns": time_ns,
        "parser_version": 1,
        "sequence": sequence,
    }


def trade(number: int, price: str = "60000", volume: str = "0.5", time_ns: int | None = None) -> Trade:
    time_ns = START_NS + number * SECOND_NS if time_ns is None else time_ns
    return Trade(
        **head(str(number), time_ns, "trade", number),
        last_price=price,
        volume=volume,
        side=Side.BUY,
        trade_id=str(number),
        size_unit=SizeUnit.BASE,
    )


def quote(number: int) -> Quote:
    return Quote(
        **head(f"q{number}", START_NS + number * SECOND_NS, "bookTicker", number),
        bid="59999",
        bid_size="1",
        ask="60001",
        ask_size="2",
        size_unit=SizeUnit.BASE,
    )


def bar(minute: int, trade_count: int, high: str = "60000") -> Bar:
    start_ns = START_NS + minute * 60 * SECOND_NS
    return Bar(
        **head(f"1m/{start_ns}", start_ns, "kline_1m"),
        interval="1m",
        open="60000",
        high=high,
        low="60000",
        close="60000",
        volume=f"{trade_count * 0.5}",
        bar_state=BarState.CLOSED,
        trade_count=trade_count,
        size_unit=SizeUnit.BASE,
    )


def store_in_clickhouse(settings: Settings, records: list[Record], token: str) -> None:
    client = ClickHouse(parse_address(settings.clickhouse_address))
    client.insert(batch_path(MARKET_DATA, token, len(records)), delimited([*map(encode, records)]))
    client.close()


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    """Three stores that hold the same clean day: 100 trades with contiguous ids, their bars, and quotes."""
    made = settings_with(kafka=True, clickhouse=True, timescale=True)
    migrate_clickhouse(made)
    migrate_timescale(made)
    ensure_topics(made)
    clean: list[Record] = [trade(number) for number in range(100)]
    clean += [bar(0, 60), bar(1, 40), *(quote(number) for number in range(20))]
    publisher = KafkaPublisher(made)
    for record in clean:
        publisher.publish(made.normalized_topic, b"binance:BTC-USDT", encode(record))
    publisher.flush(30)
    store_in_clickhouse(made, clean, "clean")
    load_timescale(made)
    export(made)
    return made


def test_planted_errors_are_found_exactly_then_suppressed_then_told_again(settings: Settings) -> None:
    assert audit(settings, DAY, with_expectations=False).offences == []

    store_in_clickhouse(settings, [trade(100, price="0"), trade(105), bar(2, 1, high="59999")], "planted")
    store_in_clickhouse(settings, [trade(7_000, time_ns=5)], "epoch")
    with psycopg.connect(settings.timescale_address, autocommit=True) as connection:
        connection.execute("DELETE FROM trades WHERE record_key = '50'")
        connection.execute("UPDATE quotes SET ask_size = -1 WHERE record_key = 'q3'")
    report = audit(settings, DAY)

    totals_trades = (
        "clickhouse 102 rows sum 51, timescale 99 rows sum 49.5, lake 100 rows sum 50; summed: volume"
    )
    totals_bars = "clickhouse 3 rows sum 50.5, timescale 2 rows sum 50, lake 2 rows sum 50; summed: volume"
    found = {(o.check, o.store, o.table, o.key): o.detail for o in report.offences}
    assert set(found) == {
        ("trades_out_of_bounds", "clickhouse", "trades", "binance BTC-USDT 100"),
        ("trades_out_of_bounds", "clickhouse", "trades", "binance BTC-USDT 7000"),
        ("trade_ids_missing", "clickhouse", "trades", "binance BTC-USDT 101-104"),
        ("bars_inconsistent", "clickhouse", "bars", f"binance BTC-USDT {bar(2, 1).record_key}"),
        ("candles_against_trades", "timescale", "ohlcv_1d", "binance BTC-USDT"),
        ("totals_differ", "all", "trades", "binance BTC-USDT"),
        ("totals_differ", "all", "bars", "binance BTC-USDT"),
        ("expect_column_values_to_be_between", "timescale", "quotes", "ask_size"),
    }
    assert found["totals_differ", "all", "trades", "binance BTC-USDT"] == totals_trades
    assert found["totals_differ", "all", "bars", "binance BTC-USDT"] == totals_bars
    assert found["expect_column_values_to_be_between", "timescale", "quotes", "ask_size"] == (
        "1 rows: binance BTC-USDT q3"
    )
    assert "8 open findings" in mail_of(report, settings).text

    assert_suppression_silences_one_and_expires(settings, [*report.offences])


def assert_suppression_silences_one_and_expires(settings: Settings, offences: list[Offence]) -> None:
    tonight = datetime.now(UTC)
    with findings.connect(settings) as connection:
        rule = Suppression(
            reason="known", expires=tonight + timedelta(days=2), check_name="trade_ids_missing"
        )
        findings.suppress(connection, rule)
        assert [f.check_name for f in findings.findings(connection, DAY, "suppressed")] == [
            "trade_ids_missing"
        ]

        tomorrow = tonight + timedelta(days=1)
        findings.record(connection, offences[1:], DAY, ("clickhouse", "timescale", "lake", "all"), tomorrow)
        known = findings.findings(connection, DAY)
        assert len(known) == len(offences)
        states = {f.check_name: f.state for f in known if (f.key, f.store) == (offences[0].key, "clickhouse")}
        assert states[offences[0].check] == "resolved"
        assert {f.nights for f in known if f.state == "open"} == {2}
        assert [f.state for f in known if f.check_name == "trade_ids_missing"] == ["suppressed"]

        later = tonight + timedelta(days=3)
        findings.record(connection, offences, DAY, ("clickhouse", "timescale", "lake", "all"), later)
        assert {f.state for f in findings.findings(connection, DAY)} == {"open"}
