"""``derive`` on a real broker: live, in the past, and where a stream goes on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from etl.client import BookTop, Client, Mid, Refused, TradeBar
from etl.client.client import iso
from etl.model.records import Book, BookAction, Record, Trade
from etl.model.times import NS_PER_DAY
from etl.settings import Settings
from etl.transports import kafka_clients
from etl.wire.codec import encode
from etl.wire.cursor import cursor_text, parse_cursor
from etl.wire.keys import message_key
from tests.gateway.test_stream import SYMBOLS, trades
from tests.support.gateway import (
    address,
    book,
    gap,
    gateway,
    of_kind,
    publish,
    quote,
    ready,
    stream,
    token_of,
    trade,
)

pytestmark = pytest.mark.integration

BASE, THREE_S_ON = "2026-01-01T00:00:00", "2026-01-01T00:00:03"


@pytest.fixture
def settings(settings_with: Callable[..., Settings]) -> Settings:
    return ready(settings_with(kafka=True, topic_partitions=3))


def derived(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one for answer in told if answer["type"] == "derived" for one in answer["records"]]


def identities(bars: list[dict[str, Any]]) -> list[tuple[str, int, int, bool]]:
    return sorted(
        (bar["symbol"], bar["time_ns"] // 10**9 % 60, bar["trade_count"], bar["is_whole"]) for bar in bars
    )


def test_bars_of_the_past_are_whole_wherever_the_stream_goes_on(settings: Settings) -> None:
    whole = [(symbol, second, 200, second < 2) for symbol in sorted(SYMBOLS) for second in range(3)]

    async def run() -> None:
        publish(settings, [*trades(range(5_000)), gap(5_000)])
        asked = {"to": THREE_S_ON, "derive": {"bars": "1s"}, "exchange": "binance"}
        async with gateway(settings) as session:
            async with stream(session, settings, from_=BASE, **asked) as told:
                await told.until("end")
            assert told.records == []
            assert identities(derived(told.told)) == whole
            from_within = "2026-01-01T00:00:01.500"
            async with stream(session, settings, from_=from_within, **asked) as later:
                await later.until("end")
            assert identities(derived(later.told)) == [bar for bar in whole if bar[1] >= 1]
            cut_at = [n for n, answer in enumerate(told.told) if answer["type"] == "derived"]
            for cut in (cut_at[0], cut_at[-1]):
                had = told.told[: cut + 1]
                async with stream(session, settings, from_=had[-1]["cursor"], **asked) as rest:
                    await rest.until("end")
                both = identities(derived(had)) + identities(derived(rest.told))
                assert sorted(set(both)) == whole

    asyncio.run(run())


def test_bars_are_whole_where_a_stream_goes_on_that_had_more_of_one_partition_than_of_another(
    settings: Settings,
) -> None:
    """So it stands after a restart: what a process reads first is one partition's newest, then the next one's."""
    begin_ns = (time.time_ns() // 10**9 - 30) * 10**9
    symbols = ("AHEAD", "BEHIND", "QUIET")

    def fill() -> None:
        producer = kafka_clients.producer(settings)
        for partition, symbol in enumerate(symbols):
            for number in range(100 if symbol == "QUIET" else 1_000):
                time_ns = begin_ns + number * 10**7
                made = trade(
                    number, symbol, event_time_ns=time_ns, key_time_ns=time_ns, receive_time_ns=time_ns
                )
                key = message_key(made.exchange, symbol)
                producer.produce(
                    settings.topics.normalized, encode(made), key, partition, timestamp=time_ns // 10**6
                )
        producer.flush()

    async def run() -> None:
        fill()
        asked = {"derive": {"bars": "1s"}, "to": iso(begin_ns + 12 * 10**9)}
        async with gateway(settings) as session:
            async with stream(session, settings, from_=iso(begin_ns), **asked) as told:
                topic = parse_cursor((await told.until("subscribed"))["cursor"]).topic
            for offsets, firsts in (((880, 130, 100), (6, 0, 0)), ((130, 880, 20), (0, 6, 0))):
                cursor = cursor_text(topic, dict(enumerate(offsets)))
                async with stream(session, settings, from_=cursor, **asked) as rest:
                    await rest.until("end")
                found = {(bar["symbol"], bar["time_ns"]): bar for bar in derived(rest.told)}
                assert {(bar["trade_count"], bar["is_whole"]) for bar in found.values()} == {(100, True)}
                for symbol, first, count in zip(symbols, firsts, (10, 10, 1), strict=True):
                    times_s = [(time_ns - begin_ns) // 10**9 for one, time_ns in found if one == symbol]
                    assert set(range(first, count)) >= set(times_s) >= {*range(first + 2, count)}, symbol
                assert ("QUIET", begin_ns) in found

    asyncio.run(run())


def test_a_new_stream_knows_the_bar_and_the_book_that_stand(settings: Settings) -> None:
    today_ns = time.time_ns() // NS_PER_DAY * NS_PER_DAY

    def traded(number: int, after_ns: int) -> Record:
        time_ns = today_ns + after_ns
        return trade(number, event_time_ns=time_ns, key_time_ns=time_ns, receive_time_ns=time.time_ns())

    async def run() -> None:
        change = of_kind(Book, 2, book_action=BookAction.ABSOLUTE, bid_prices=("1",), bid_sizes=("0",))
        publish(settings, [traded(0, 5), book(1), change, quote(3)])
        asked = {"symbol": "BTC-USDT", "kind": ["quote"], "derive": {"bars": ["1d"], "book": 1, "mid": True}}
        async with gateway(settings) as session, stream(session, settings, **asked) as told:
            await told.until("live")
            found = {one["kind"]: one for one in derived(told.told)}
            top, mid = found["book_top"], found["mid"]
            assert (top["bid_prices"], top["bid_sizes"], top["ask_prices"]) == (["0.5"], ["4"], ["2"])
            assert (mid["mid"], mid["spread"]) == ("100.0", "1.0")
            publish(settings, [traded(4, 6), traded(5, NS_PER_DAY + 1), quote(6)])
            (bar,) = derived([await told.until("derived")])
            assert (bar["kind"], bar["trade_count"], bar["is_whole"]) == ("trade_bar", 2, True)
            assert (bar["open"], bar["close"], bar["turnover"]) == ("100.5", "104.5", "2.050")
            assert [one["kind"] for one in await told.has(1)] == ["quote"]
            await told.socket.send_json({"op": "subscribe", "derive": {"mid": True}})
            while (refused := await told.next())["type"] != "error":
                assert refused["type"] in ("derived", "records")
            assert refused["message"] == "derive: for the first subscription of a connection"

    asyncio.run(run())


def test_the_client_gives_what_is_derived_typed_and_beside_records(
    settings: Settings, tmp_path: Path
) -> None:
    async def run() -> None:
        publish(settings, [quote(0), book(1), *(trade(number) for number in range(2, 3_000))])
        async with gateway(settings):
            with Client(address(settings), token_of(settings), cache_folder=tmp_path) as client:
                made: Any = client.stream(
                    "binance", kind="trade", start=BASE, end=THREE_S_ON, bars="1s", book=1, mid=True
                )
                found = [record async for record in made]
                assert [one.trade_count for one in found if isinstance(one, TradeBar)] == [998, 1_000, 1_000]
                assert [one.bid_prices for one in found if isinstance(one, BookTop)] == [("1",)]
                assert [one.mid for one in found if isinstance(one, Mid)] == ["100.0"]
                assert [one for one in found if isinstance(one, Trade)] == [
                    trade(number) for number in range(2, 3_000)
                ]
                with pytest.raises(Refused, match="bars last 1s to 1d"):
                    await anext(aiter(client.stream(bars="1w")))

    asyncio.run(run())
