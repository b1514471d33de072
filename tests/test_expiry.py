from __future__ import annotations

from collections.abc import Callable

import psycopg
import pytest

from etl.errors import UsageError
from etl.expiry import Expired, Rule, expire, rules
from etl.load import load_timescale
from etl.migrate import migrate_timescale
from etl.settings import Settings
from tests import stream


def test_nothing_expires_by_default() -> None:
    assert rules(Settings()) == []
    assert expire(Settings()) == []


def test_rules_name_store_table_and_days() -> None:
    settings = Settings(expire_days="timescale.quotes=90, clickhouse.books=400")
    assert rules(settings) == [Rule("timescale", "quotes", 90), Rule("clickhouse", "books", 400)]


@pytest.mark.parametrize(
    "text",
    ["quotes=90", "timescale.quotes", "timescale.nosuch=9", "timescale.gaps=9", "lake.trades=9",
     "timescale.quotes=1", "timescale.quotes=-3", "timescale.quotes=all"],
)  # fmt: skip
def test_a_rule_that_can_be_misread_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expire_days"):
        rules(Settings(expire_days=text))


@pytest.mark.integration
def test_only_chunks_that_are_wholly_older_go(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(kafka=True, timescale=True, expire_days="timescale.trades=30")
    migrate_timescale(settings)
    now_s = stream.START_NS / 1e9 + 40 * 86_400
    young_ns = stream.START_NS + 39 * stream.DAY
    stream.publish(settings, stream.trade(1, "expiry"), stream.trade(2, "expiry", time_ns=young_ns))
    load_timescale(settings)
    assert expire(settings, lambda: now_s) == [Expired("timescale", "trades", 1)]
    assert expire(settings, lambda: now_s) == [Expired("timescale", "trades", 0)]
    with psycopg.connect(settings.timescale_address) as connection:
        left = connection.execute("SELECT trade_id FROM trades WHERE exchange = 'expiry'").fetchall()
    assert left == [(str(3_735_683_259 + 2),)]
