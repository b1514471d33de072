"""Great Expectations over a real TimescaleDB: what they find, and the pages that tell it."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape

import msgspec
import pytest

from etl.audit.expectations import data_docs_path, run_expectations
from etl.audit.offence import Offence
from etl.settings import Settings
from etl.sinks.load import load_timescale
from etl.stores.migrate import migrate_timescale
from etl.stores.timescale import session
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.wire.codec import encode
from tests.support.audit_stores import DAY, trade

pytestmark = [pytest.mark.integration, pytest.mark.slow]
HOSTILE = "<script>alert(1)</script>"


def test_a_value_that_does_not_meet_its_expectation_is_found_and_stands_in_the_page_as_text(
    settings_with: Callable[..., Settings],
) -> None:
    settings = settings_with(kafka=True, timescale=True)
    migrate_timescale(settings)
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    for record in (trade(1), msgspec.structs.replace(trade(2), symbol=HOSTILE)):
        publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", encode(record))
    publisher.flush(30)
    load_timescale(settings)
    with session(settings) as connection:
        connection.execute("UPDATE trades SET last_price = -1 WHERE symbol = %s", [HOSTILE])

    check = "expect_column_values_to_be_between"
    assert list(run_expectations(settings, DAY)) == [
        Offence(check, "timescale", "trades", "last_price", f"1 rows: binance {HOSTILE} 2")
    ]
    index = (data_docs_path(settings) / "index.html").read_text()
    assert [re.sub("<.*?>", "", head) for head in re.findall(r"<h2>(.*?)</h2>", index)] == [
        "trades: 11 expectations, 1 not met",
        "quotes: 11 expectations, all met",
        "bars: 20 expectations, all met",
    ]
    assert re.findall(r'<td class="missed">not met</td><td>(.*?)</td>', index) == ["last_price"]
    assert [unescape(row) for row in re.findall(r"<li>(.*?)</li>", index)] == [
        f"exchange binance, symbol {HOSTILE}, record_key 2, last_price -1"
    ]
    assert "<script" not in index
    assert f'<a href="{DAY}.html">{DAY}</a>' in index
