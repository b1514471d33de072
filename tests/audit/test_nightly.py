"""The audit against the real stores: what is planted is found, exactly that, and told as the rules say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest

from etl.audit import findings
from etl.audit.checks import OFFENCES_MAX, run_check
from etl.audit.findings import Suppression
from etl.audit.nightly import audit, mail_of
from etl.audit.offence import Offence
from etl.model.records import GapState
from etl.sequencing.gap import of_stand_in
from etl.settings import Settings
from etl.stores.timescale import session
from tests.support.audit_stores import DAY, bar, clean_day, gap, store_in_clickhouse, trade

pytestmark = pytest.mark.integration


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return clean_day(settings_with)


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
    with session(settings) as connection:
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


def test_a_hole_in_the_ids_is_silent_only_where_gaps_that_stand_declare_all_of_it(settings: Settings) -> None:
    def missing() -> list[str]:
        return [offence.key for offence in run_check(settings, DAY, "clickhouse", "trade_ids_missing")]

    store_in_clickhouse(settings, [trade(105), trade(110)], "holes")
    assert missing() == ["binance BTC-USDT 100-104", "binance BTC-USDT 106-109"]
    declared = [gap("a", 100, 102), gap("b", 103, 104), gap("c", 106, 108)]
    store_in_clickhouse(settings, declared, "declared")
    assert missing() == ["binance BTC-USDT 106-109"]
    store_in_clickhouse(settings, [gap("a", 100, 102, GapState.REPAIRED)], "repaired")
    assert missing() == ["binance BTC-USDT 100-104", "binance BTC-USDT 106-109"]


def test_an_id_that_the_venue_gave_to_a_placeholder_is_not_missing(settings: Settings) -> None:
    store_in_clickhouse(settings, [trade(102), of_stand_in(trade(100), "placeholder")], "placeholder")
    found = run_check(settings, DAY, "clickhouse", "trade_ids_missing")
    assert [offence.key for offence in found] == ["binance BTC-USDT 100-101"]
    store_in_clickhouse(settings, [of_stand_in(trade(101), "placeholder")], "the other")
    assert run_check(settings, DAY, "clickhouse", "trade_ids_missing") == []


def test_of_very_many_offences_a_thousand_and_the_number_of_the_rest_are_kept(settings: Settings) -> None:
    bad = [trade(200 + number, price="-1") for number in range(OFFENCES_MAX + 7)]
    store_in_clickhouse(settings, [*bad], "many")
    offences = run_check(settings, DAY, "clickhouse", "trades_out_of_bounds")
    assert len(offences) == OFFENCES_MAX + 1
    assert (offences[-1].key, offences[-1].detail) == ("and more", f"7 further offences on {DAY}")


def test_two_offences_of_one_key_are_one_finding(settings: Settings) -> None:
    offence = Offence("check", "clickhouse", "trades", "key", "first")
    again = Offence("check", "clickhouse", "trades", "key", "second")
    with session(settings) as connection:
        findings.record(connection, [offence, again], DAY, ("clickhouse",))
        [kept] = [f for f in findings.findings(connection) if f.check_name == "check"]
    assert kept.detail == "second"
