"""``/v1/stream`` on real brokers, by a client that knows nothing but websocket and JSON."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, WSServerHandshakeError
from confluent_kafka.admin import NewPartitions

from etl.gateway import server
from etl.gateway.tokens import Tokens
from etl.model.records import Book, BookAction, Correction, CorrectionKind, Record, Source
from etl.settings import Settings, changed
from etl.transports import kafka_clients
from etl.transports.transport import read_topic
from etl.wire.codec import decode
from etl.wire.cursor import advanced, parse_cursor
from etl.wire.market_data_pb2 import Delivery
from tests.support.gateway import (
    address,
    bar,
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
from tests.support.topics import delete_before

pytestmark = pytest.mark.integration

BASE = "2026-01-01T00:00:00"
SYMBOLS = ("BTC-USDT", "ETH-USDT", "ETH-BTC", "SOL-USDT", "XRP-USDT")
VENUES = ("binance", "kraken", "okx")


@pytest.fixture(params=["kafka", "redis"])
def settings(request: pytest.FixtureRequest, settings_with: Callable[..., Settings]) -> Settings:
    return ready(settings_with(**{request.param: True}, topic_partitions=3))


@pytest.fixture
def on_kafka(settings_with: Callable[..., Settings]) -> Settings:
    return ready(settings_with(kafka=True, topic_partitions=3))


def trades(numbers: Iterable[int]) -> list[Record]:
    """One symbol after the other."""
    return [trade(number, SYMBOLS[number % len(SYMBOLS)]) for number in numbers]


def of_venues(numbers: Iterable[int]) -> list[Record]:
    """One venue after the other too."""
    return [trade(number, SYMBOLS[number % len(SYMBOLS)], VENUES[number % len(VENUES)]) for number in numbers]


def text_of_now() -> str:
    return datetime.now(UTC).isoformat()


def keys(records: list[dict[str, Any]]) -> list[str]:
    return [record["record_key"] for record in records]


def by_symbol(records: list[dict[str, Any]]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for record in records:
        found.setdefault(record["symbol"], []).append(record["record_key"])
    return found


def test_partitions_that_are_new_are_told_from_their_beginning_to_who_lives_and_to_who_comes_back(
    on_kafka: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "PARTITIONS_LOOK_S", 0.2)
    topic = on_kafka.topics.normalized
    sent = [trade(number, f"COIN{number}-USDT") for number in range(40)]

    async def run() -> None:
        async with gateway(on_kafka) as session:
            async with stream(session, on_kafka, kind="trade") as live:
                before = (await live.next())["cursor"]
                grown = kafka_clients.admin(on_kafka).create_partitions([NewPartitions(topic, 5)])
                await asyncio.to_thread(grown[topic].result, 20)
                while {*parse_cursor((await health(session, on_kafka))["cursor"]).offsets} != {*range(5)}:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
                await asyncio.to_thread(publish, on_kafka, sent)
                heard = await live.has(len(sent))
            partitions = {record["at"].partition(":")[0] for record in heard}
            assert partitions > {"3"} or partitions > {"4"}, "the publisher uses a new partition"
            async with stream(session, on_kafka, kind="trade", **{"from": before}) as again:
                assert (await again.next())["type"] == "subscribed"
                back = await again.has(len(sent))
        for records in (heard, back):
            assert sorted(map(int, keys(records))) == [*range(40)]

    asyncio.run(run())


async def health(session: aiohttp.ClientSession, settings: Settings) -> dict[str, Any]:
    async with session.get(address(settings, "/health")) as answer:
        found: dict[str, Any] = await answer.json()
        return found


def test_a_client_is_told_what_it_asked_for_and_nothing_else(settings: Settings) -> None:
    async def run() -> None:
        async with (
            gateway(settings) as session,
            stream(session, settings, symbol="BTC-USDT", kind="trade") as one,
            stream(session, settings, exchange="binance", symbol=["ETH-*"], kind=["trade", "quote"]) as other,
            stream(session, settings) as everything,
        ):
            for told in (one, other, everything):
                assert (await told.next())["type"] == "subscribed"
            sent = [
                *trades(range(20)),
                quote(20, "ETH-BTC"),
                gap(21),
                quote(22),
                trade(23, "ETH-USDT", "kraken"),
            ]
            publish(settings, sent)
            assert keys(await one.has(5)) == ["0", "5", "10", "15", "21"]
            assert by_symbol(await other.has(9)) == {
                "ETH-USDT": ["1", "6", "11", "16"], "ETH-BTC": ["2", "7", "12", "17", "20"],
            }  # fmt: skip
            assert len(await everything.has(24)) == 24
            at = {record["at"] for record in everything.records}
            assert at == {
                f"{m.partition}:{m.offset}" for m in read_topic(settings, settings.topics.normalized, "tests")
            }
            last = one.records[-1]
            assert (last["kind"], last["gap_kind"], last["from_sequence"]) == ("gap", "sequence", 5)

    asyncio.run(run())


def test_a_cursor_goes_on_without_a_hole_or_a_double_from_the_ring_and_from_the_topic(
    settings: Settings,
) -> None:
    async def run(limits: Settings) -> None:
        async with gateway(limits) as session:
            async with stream(session, limits) as first:
                start = (await first.until("subscribed"))["cursor"]
                publish(limits, trades(range(60)))
                await first.has(20)
            within = advanced(start, first.records[0]["at"])
            publish(limits, trades(range(60, 100)))
            for cursor, had in ((start, 0), (first.cursor, len(first.records)), (within, 1)):
                async with stream(session, limits, from_=cursor) as again:
                    await again.until("live")
                    await again.has(100 - had)
                    told = [*first.records[:had], *again.records]
                    assert sorted(map(int, keys(told))) == list(range(100))
                    assert len({record["at"] for record in told}) == 100
                    for numbers in by_symbol(told).values():
                        assert numbers == sorted(numbers, key=int)
            async with stream(session, limits, from_=first.cursor, symbol="SOL-USDT") as last:
                await last.until("live")
                publish(limits, trades(range(100, 110)))
                expected = [n for n in range(3, 110, 5) if str(n) not in keys(first.records)]
                assert list(map(int, keys(await last.has(len(expected))))) == expected

    asyncio.run(run(settings))
    small = ready(other_topics(settings), gateway_ring_messages_max=30)
    asyncio.run(run(small))


def other_topics(settings: Settings) -> Settings:
    return changed(settings, normalized_topic=f"{settings.topics.normalized}-small")


def test_the_past_of_all_venues_is_told_in_the_order_of_receipt_and_goes_over_into_live(
    settings: Settings,
) -> None:
    async def run() -> None:
        publish(settings, of_venues(range(3_000)))
        began = text_of_now()
        async with gateway(settings) as session:
            async with stream(session, settings, from_=BASE) as told:
                await told.until("live")
                assert list(map(int, keys(told.records))) == list(range(3_000))
                assert [record["exchange"] for record in told.records[:4]] == [*VENUES, VENUES[0]]
                publish(settings, of_venues(range(3_000, 3_050)))
                assert sorted(map(int, keys(await told.has(3_050)))) == list(range(3_050))
            assert [answer["type"] for answer in told.told if answer["type"] != "records"] == [
                "subscribed",
                "live",
            ]
            second = "2026-01-01T00:00:01"
            async with stream(session, settings, from_=BASE, to=second, symbol="ETH*") as part:
                end = await part.until("end")
                assert list(map(int, keys(part.records))) == [n for n in range(1_000) if n % 5 in (1, 2)]
                assert (await part.socket.receive(10)).type in (WSMsgType.CLOSE, WSMsgType.CLOSING)
            async with stream(
                session, settings, from_=end["cursor"], to="2026-01-01T00:00:02", symbol="ETH*"
            ) as rest:
                await rest.until("end")
                assert list(map(int, keys(rest.records))) == [
                    n for n in range(1_000, 2_000) if n % 5 in (1, 2)
                ]
            async with stream(session, settings, from_=began) as nothing:
                await nothing.until("live")
                assert nothing.records == []

    asyncio.run(run())


def test_the_past_keeps_its_pace_times_speed(on_kafka: Settings) -> None:
    async def run() -> None:
        publish(on_kafka, trades(range(0, 2_000, 50)))
        async with (
            gateway(on_kafka) as session,
            stream(session, on_kafka, from_=BASE, speed=2.0) as told,
        ):
            loop = asyncio.get_running_loop()
            await told.has(1)
            began = loop.time()
            await told.has(40)
            assert 0.9 < loop.time() - began < 3.0
            await told.until("live")
            assert list(map(int, keys(told.records))) == list(range(0, 2_000, 50))

    asyncio.run(run())


def test_a_snapshot_is_what_stands_now(on_kafka: Settings) -> None:
    async def run() -> None:
        correction = of_kind(Correction, 9, correction=CorrectionKind.CANCEL, original_trade_id="3")
        repaired = trade(1, source=Source.REPAIR, record_key="old")
        sent = [trade(3), quote(4), trade(5), bar(6), bar(7, interval="5m"), bar(8), correction, repaired]
        publish(on_kafka, [*sent, trade(5, "ETH-USDT")])
        async with (
            gateway(on_kafka) as session,
            stream(session, on_kafka, symbol="BTC-USDT", snapshot=True) as told,
        ):
            assert (await told.next())["type"] == "subscribed"
            snapshot = await told.next()
            assert snapshot["type"] == "snapshot"
            found = [(one["kind"], one.get("interval", ""), one["record_key"]) for one in snapshot["records"]]
            assert found == [("quote", "", "4"), ("trade", "", "5"), ("bar", "5m", "7"), ("bar", "1m", "8")]
            publish(on_kafka, [trade(10)])
            assert keys(await told.has(1)) == ["10"]
            await told.socket.send_json({"op": "subscribe", "symbol": "ETH-USDT", "snapshot": True})
            assert (await told.next())["type"] == "subscribed"
            assert keys((await told.next())["records"]) == ["5"]
            await told.socket.send_json({"op": "unsubscribe", "symbol": "BTC-USDT"})
            assert (await told.next())["type"] == "unsubscribed"
            publish(on_kafka, [trade(11), trade(12, "ETH-USDT")])
            assert keys(await told.has(2)) == ["10", "12"]

    asyncio.run(run())


def test_protobuf_is_passed_through(on_kafka: Settings) -> None:
    async def run() -> None:
        sent = [trade(number) for number in range(400)]
        async with (
            gateway(on_kafka) as session,
            stream(session, on_kafka, symbol="BTC-USDT", format="protobuf") as told,
        ):
            await told.until("subscribed")
            publish(on_kafka, sent)
            found: list[Record] = []
            while len(found) < 400:
                message = await told.socket.receive(10)
                if message.type is WSMsgType.BINARY:
                    delivery = Delivery.FromString(message.data)
                    last = delivery.records[-1]
                    assert f"{last.partition}:{last.offset + 1}" in delivery.cursor
                    found += [decode(one.record.SerializeToString()) for one in delivery.records]
            assert found == sent

    asyncio.run(run())


def test_who_takes_too_little_is_told_and_cut_off_with_its_cursor_and_slows_nobody(
    on_kafka: Settings,
) -> None:
    limits = ready(on_kafka, gateway_client_buffer_bytes_max=4_000_000)
    text = "x" * 100_000

    def large(number: int) -> Record:
        return trade(number, record_key=f"{number}", conditions=(text,))

    async def run() -> None:
        async with (
            gateway(limits) as session,
            stream(session, limits) as slow,
            stream(session, limits) as quick,
        ):
            await slow.until("subscribed")
            await quick.until("subscribed")
            for number in range(0, 400, 10):  # 30 MB, more than the sockets between hold
                publish(limits, [large(each) for each in range(number, number + 10)])
                await quick.has(number + 10)
                if number % 50 == 0 and slow.told[-1]["type"] != "cut_off":
                    await slow.next()
            while slow.told[-1]["type"] != "cut_off":
                await slow.next()
            assert "lagging" in [answer["type"] for answer in slow.told]
            assert (await slow.socket.receive(10)).type is WSMsgType.CLOSE
            assert slow.socket.close_code == 4008
            assert 0 < len(slow.records) < 400
            async with stream(session, limits, from_=slow.told[-1]["cursor"]) as again:
                await again.until("live")
                assert list(map(int, keys(slow.records + again.records))) == list(range(400))

    asyncio.run(run())


def test_what_the_topic_no_longer_has_is_said(settings: Settings) -> None:
    async def run() -> None:
        publish(settings, [trade(number) for number in range(100)])
        (partition,) = {m.partition for m in read_topic(settings, settings.topics.normalized, "tests")}
        delete_before(settings, settings.topics.normalized, partition, 40)
        async with gateway(settings) as session:
            mark = (await (await session.get(address(settings, "/health"))).json())["cursor"].partition(".")[
                0
            ]
            begin = ".".join([mark, *[f"{n}:{30 if n == partition else 0}" for n in range(3)]])
            async with stream(session, settings, from_=begin) as told:
                assert (await told.until("lost")).items() >= {
                    "partition": partition, "from_offset": 30, "to_offset": 39,
                }.items()  # fmt: skip
                await told.until("live")
                assert list(map(int, keys(told.records))) == list(range(40, 100))
            for wrong, reason in (
                (f"{mark}.{partition}:101", "does not reach up to this cursor"),
                (f"00000000.{partition}:1", "a cursor of another topic"),
                ("yesterday", "not an ISO 8601 time"),
            ):
                async with stream(session, settings, from_=wrong) as refused:
                    error = await refused.next()
                    assert (error["type"], error["code"]) == ("error", "bad_request")
                    assert reason in error["message"]

    asyncio.run(run())


def test_a_token_bounds_what_a_stream_may_tell_and_ends_with_it(on_kafka: Settings) -> None:
    limits = ready(on_kafka, gateway_heartbeat_s=0.2)

    async def run() -> None:
        token = token_of(limits, exchanges=["binance"], kinds=["trade"], streams_max=1)
        own = {"Authorization": f"Bearer {token}"}
        async with gateway(limits), aiohttp.ClientSession(headers=own) as session:
            async with stream(session, limits) as told:
                await told.until("subscribed")
                publish(limits, [trade(1), quote(2), trade(3, exchange="kraken"), trade(4)])
                assert keys(await told.has(2)) == ["1", "4"]
                with pytest.raises(WSServerHandshakeError, match="429"):
                    async with stream(session, limits):
                        pass
                beat = json.loads((await told.socket.receive(5)).data)
                assert beat["type"] == "heartbeat"
                Tokens(limits).revoke(token.split("_")[1])
                error = await told.next()
                assert (error["type"], error["code"]) == ("error", "no_token")
            with pytest.raises(WSServerHandshakeError, match="401"):
                async with stream(session, limits):
                    pass

    asyncio.run(run())


def test_a_page_says_its_token_first_and_a_foreign_page_is_refused(on_kafka: Settings) -> None:
    limits = ready(on_kafka, gateway_origins=("https://desk.example.net",))

    async def run() -> None:
        async with gateway(limits), aiohttp.ClientSession() as page:
            url = address(limits, "/v1/stream")
            for origin in (address(limits), "https://desk.example.net"):
                async with page.ws_connect(url, headers={"Origin": origin}) as socket:
                    await socket.send_json({"op": "login", "token": token_of(limits)})
                    await socket.send_json({"op": "subscribe"})
                    assert json.loads((await socket.receive(10)).data)["type"] == "subscribed"
            async with page.ws_connect(url) as socket:
                await socket.send_json({"op": "subscribe"})
                assert json.loads((await socket.receive(10)).data)["code"] == "no_token"
            for headers in (
                {"Origin": "https://evil.example"},
                {"Host": "evil.example"},
                {"Sec-Fetch-Site": "cross-site"},
            ):
                with pytest.raises(WSServerHandshakeError, match="403"):
                    await page.ws_connect(url, headers=headers)

    asyncio.run(run())


def test_a_snapshot_has_the_book_joined_and_its_changes_go_on_from_there(on_kafka: Settings) -> None:
    def change(number: int, price: str, size: str) -> Record:
        return of_kind(Book, number, channel="depth@100ms", book_action=BookAction.ABSOLUTE, sequence=number,
                       first_sequence=number, bid_prices=(price,), bid_sizes=(size,))  # fmt: skip

    async def run() -> None:
        whole = of_kind(Book, 1, channel="depth@100ms", book_action=BookAction.SNAPSHOT, sequence=1,
                        bid_prices=("9", "8"), bid_sizes=("1", "2"), ask_prices=("11",), ask_sizes=("3",))  # fmt: skip
        publish(on_kafka, [whole, change(2, "9", "0"), trade(3), change(3, "8.5", "7"), quote(5)])
        async with (
            gateway(on_kafka) as session,
            stream(session, on_kafka, symbol="BTC-USDT", kind=["book", "trade"], snapshot=True) as told,
        ):
            snapshot = await told.until("snapshot")
            assert [one["kind"] for one in snapshot["records"]] == ["trade", "book"]
            joined = snapshot["records"][1]
            assert (joined["book_action"], joined["sequence"]) == ("snapshot", 3)
            assert (joined["bid_prices"], joined["bid_sizes"]) == (["8.5", "8"], ["7", "2"])
            assert (joined["ask_prices"], joined["ask_sizes"]) == (["11"], ["3"])
            await told.until("live")
            publish(on_kafka, [change(4, "8", "1")])
            (following,) = await told.has(1)
            assert (following["sequence"], following["first_sequence"]) == (4, 4)

    asyncio.run(run())
