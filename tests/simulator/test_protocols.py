"""Each venue speaks its own protocol, on real sockets."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from etl.simulator.truth import CONTROL, SENT, STREAM, WITHHELD, digest_of, place_of
from etl.simulator.words import time_text
from tests.support.serving import (
    LOGINS,
    WITHIN_S,
    drain,
    identity,
    parsed_all,
    receive,
    receive_bytes,
    simulator,
)

VENUES = ("binance", "polygon", "alpaca")


@pytest.mark.parametrize("exchange", VENUES)
def test_every_frame_sent_stands_in_the_truth_with_its_identity(tmp_path: Path, exchange: str) -> None:
    async def run() -> None:
        async with simulator(tmp_path, exchange) as client:
            socket = await client.log_in(exchange)
            frames = await receive_bytes(socket, 300)
            await client.stop()
            frames += await drain(socket)
            lines = [line for line in client.truth(exchange) if line.endpoint == STREAM]
            sent = [event for line in lines for event in line.events]
            by_digest = {digest_of(frame): frame for frame in frames}
            streamed = [by_digest[line.digest] for line in lines]
            acks = {line.digest for line in client.truth(exchange) if line.endpoint == CONTROL}
            assert [frame for frame in frames if digest_of(frame) not in acks] == streamed
            assert parsed_all(exchange, streamed) == [identity(event) for event in sent]
            assert {event.kind for event in sent} >= {"trade", "quote"}

    asyncio.run(run())


def test_nothing_is_sent_before_somebody_subscribes(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "polygon") as client:
            socket = await client.connect("polygon")
            assert await receive(socket) == [
                {"ev": "status", "status": "connected", "message": "Connected Successfully"}
            ]
            await asyncio.sleep(0.1)
            await socket.send_json({"action": "subscribe", "params": "T.AAPL"})
            assert (await receive(socket))[0]["message"] == "not authorized"
            assert {line.endpoint for line in client.truth("polygon")} == {CONTROL}

    asyncio.run(run())


def test_what_happens_while_nobody_is_connected_is_withheld_and_in_the_history(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            await receive_bytes(socket, 20)
            await socket.close()
            async with asyncio.timeout(WITHIN_S):
                while not any(line.fate == WITHHELD for line in client.truth("binance")):  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
            await client.stop()
            stream = [line for line in client.truth("binance") if line.endpoint == STREAM]
            trades = [e.record_key for line in stream for e in line.events if e.kind == "trade"]
            assert trades == [str(number) for number in range(int(trades[0]), int(trades[0]) + len(trades))]
            path = f"/binance/api/v3/historicalTrades?symbol=BTCUSDT&fromId={trades[0]}&limit=1000"
            assert [str(row["id"]) for row in await client.get(path)] == trades

    asyncio.run(run())


def test_binance_takes_subscriptions_as_messages_and_serves_raw_streams(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance", rate=200.0) as client:
            socket = await client.http.ws_connect(f"ws://{client.address}/binance/ws")
            await socket.send_json({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 7})
            assert await receive(socket) == {"result": None, "id": 7}
            event = await receive(socket)
            assert (event["e"], event["s"]) == ("trade", "BTCUSDT")
            await socket.send_json({"method": "UNSUBSCRIBE", "params": ["btcusdt@trade"], "id": 8})
            while "id" not in event:
                event = await receive(socket)
            assert await drain(socket) == []
            await socket.send_str("no JSON")
            assert (await receive(socket))["error"]["code"] == 3

    asyncio.run(run())


def test_a_binance_snapshot_joins_the_depth_updates_exactly(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance", rate=1_000.0) as client:
            socket = await client.log_in("binance")
            early = [await receive(socket) for _ in range(100)]
            first = await client.get("/binance/api/v3/depth?symbol=BTCUSDT&limit=1000")
            late = [await receive(socket) for _ in range(600)]
            await client.stop()
            rest = [json.loads(frame) for frame in await drain(socket)]
            last = await client.get("/binance/api/v3/depth?symbol=BTCUSDT&limit=1000")
            book = {side: dict(first[side]) for side in ("bids", "asks")}
            changes = [m["data"] for m in early + late + rest if m["data"].get("e") == "depthUpdate"]
            after = [change for change in changes if change["u"] > first["lastUpdateId"]]
            assert after[0]["U"] <= first["lastUpdateId"] + 1
            assert all(b["U"] == a["u"] + 1 for a, b in pairwise(changes))
            for change in after:
                for name, side in (("b", "bids"), ("a", "asks")):
                    for price, size in change[name]:
                        book[side][price] = size
                        if not float(size):
                            del book[side][price]
            unseen = last["lastUpdateId"] - changes[-1]["u"]
            assert unseen >= 0
            if not unseen:
                assert book == {side: dict(last[side]) for side in ("bids", "asks")}

    asyncio.run(run())


def test_polygon_closes_the_older_of_two_connections_with_one_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "polygon") as client:
            older = await client.log_in("polygon")
            newer = await client.log_in("polygon")
            frames = await drain(older)
            assert b"max_connections" in frames[-1]
            assert older.closed
            assert len(await receive_bytes(newer, 10)) == 10

    asyncio.run(run())


def test_each_of_two_clients_gets_what_it_asked_for_and_the_truth_has_both_in_their_own_bytes(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "polygon") as client:
            frames: dict[str, list[bytes]] = {}
            sockets = {"T": await client.connect("polygon"), "T,Q": await client.connect("polygon")}
            for number, (channels, socket) in enumerate(sockets.items()):
                await receive(socket)
                await socket.send_json({"action": "auth", "params": f"KEY{number}"})
                await receive(socket)
                names = ",".join(f"{channel}.AAPL" for channel in channels.split(","))
                await socket.send_json({"action": "subscribe", "params": names})
                for _ in channels.split(","):
                    await receive(socket)
            received = await asyncio.gather(*(receive_bytes(socket, 100) for socket in sockets.values()))
            await client.stop()
            for (channels, socket), early in zip(sockets.items(), received, strict=True):
                frames[channels] = early + await drain(socket)
            lines = {line.digest: line for line in client.truth("polygon") if line.fate == SENT}
            for sent in frames.values():
                told = [identity(event) for frame in sent for event in lines[digest_of(frame)].events]
                assert told == parsed_all("polygon", sent)
            kinds = {
                channels: {e["ev"] for f in sent for e in json.loads(f)} for channels, sent in frames.items()
            }
            assert kinds == {"T": {"T"}, "T,Q": {"T", "Q"}}

    asyncio.run(run())


def test_what_one_client_did_not_ask_for_and_no_other_heard_is_withheld(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "polygon") as client:
            first = await client.log_in("polygon")
            await receive_bytes(first, 50)
            await first.send_json({"action": "unsubscribe", "params": "A.AAPL"})
            second = await client.connect("polygon")
            await receive(second)
            await second.send_json({"action": "auth", "params": "OTHER"})
            await second.send_json({"action": "subscribe", "params": "T.AAPL"})
            await first.close()
            await receive_bytes(second, 100)
            await client.stop()
            lines = [line for line in client.truth("polygon") if line.endpoint == STREAM]
            of_fate = {
                fate: {event.kind for line in lines[-50:] if line.fate == fate for event in line.events}
                for fate in (SENT, WITHHELD)
            }
            assert of_fate == {SENT: {"trade"}, WITHHELD: {"quote"}}

    asyncio.run(run())


def test_alpaca_refuses_a_second_connection_with_406(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "alpaca") as client:
            first = await client.log_in("alpaca")
            second = await client.connect("alpaca")
            await receive(second)
            await second.send_json(LOGINS["alpaca"])
            assert await receive(second) == [{"T": "error", "code": 406, "msg": "connection limit exceeded"}]
            assert (await second.receive(timeout=WITHIN_S)).type is WSMsgType.CLOSE
            assert len(await receive_bytes(first, 10)) == 10

    asyncio.run(run())


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        ([{"action": "subscribe", "trades": ["AAPL"]}], 401),
        ([{"action": "auth", "key": "KEY", "secret": ""}], 402),
        ([LOGINS["alpaca"], LOGINS["alpaca"]], 403),
        ([{"action": "dance"}], 401),
        ([LOGINS["alpaca"], {"action": "dance"}], 400),
    ],
)
def test_alpaca_answers_mistakes_with_its_codes(
    tmp_path: Path, messages: list[dict[str, Any]], code: int
) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "alpaca") as client:
            socket = await client.connect("alpaca")
            await receive(socket)
            for message in messages:
                await socket.send_json(message)
                answer = await receive(socket)
            assert answer[0]["code"] == code

    asyncio.run(run())


def test_events_come_only_for_what_was_subscribed(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "polygon") as client:
            socket = await client.connect("polygon")
            await receive(socket)
            await socket.send_json(LOGINS["polygon"])
            await receive(socket)
            await socket.send_json({"action": "subscribe", "params": "T.MSFT,T.SPY"})
            seen = {(e["ev"], e.get("sym")) for _ in range(40) for e in await receive(socket)}
            assert seen == {("status", None), ("T", "MSFT"), ("T", "SPY")}

    asyncio.run(run())


@pytest.mark.parametrize("exchange", ["polygon", "alpaca"])
def test_history_pages_give_the_stream_again_without_hole_or_double(tmp_path: Path, exchange: str) -> None:
    async def run() -> None:
        async with simulator(tmp_path, exchange) as client:
            socket = await client.log_in(exchange)
            await receive_bytes(socket, 150)
            await client.stop()
            lines = client.truth(exchange)
            for kind in ("trades", "quotes"):
                sent = [
                    event
                    for line in lines
                    if line.endpoint == STREAM
                    for event in line.events
                    if event.kind == kind[:-1]
                ]
                pages = await _pages(client, exchange, kind, lines[0].time_ns)
                got = [event for page in pages for event in page]
                assert len(pages) > 3
                assert [e.record_key for e in got] == [e.record_key for e in sent]

    asyncio.run(run())


async def _pages(client: Any, exchange: str, kind: str, start_ns: int) -> list[list[Any]]:
    """All pages of 7 rows, by the venue's own way of paging, as identities."""
    start = {
        "polygon": f"/v3/{kind}/AAPL?timestamp.gte={start_ns}&limit=7",
        "alpaca": f"/v2/stocks/{kind}?symbols=AAPL&start={time_text(start_ns)}&limit=7",
    }[exchange]
    path: str | None = start
    pages = []
    while path:
        async with client.http.get(f"http://{client.address}/{exchange}{path}") as answer:
            body = await answer.read()
        lines = {line.digest: line for line in client.truth(exchange)}
        pages.append(list(lines[digest_of(body, place_of(path))].events))
        page = json.loads(body)
        if exchange == "polygon":
            path = page["next_url"].removeprefix("https://api.polygon.io") if "next_url" in page else None
        else:
            token = page["next_page_token"]
            path = f"{start}&page_token={token}" if token else None
    return pages


def test_bars_of_history_are_those_of_the_stream(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance", "polygon") as client:
            binance, polygon = await client.log_in("binance"), await client.log_in("polygon")
            lines: list[Any] = []
            async with asyncio.timeout(WITHIN_S):
                while sum("bar" in {e.kind for e in line.events} for line in lines) < 4:
                    await asyncio.sleep(0.05)
                    lines = client.truth("polygon") + client.truth("binance")
            await client.stop()
            klines = [json.loads(f)["data"] for f in await drain(binance) if b"kline_1s" in f]
            closed = [k["k"] for k in klines if k["k"]["x"]]
            start_ms = lines[0].time_ns // 1_000_000 - 1_000
            path = f"/binance/api/v3/klines?symbol=BTCUSDT&interval=1s&startTime={start_ms}"
            rows = await client.get(path)
            shown = [[k["t"], k["o"], k["h"], k["l"], k["c"], k["v"]] for k in closed]
            assert [row[:6] for row in rows] == shown
            bars = [e for f in await drain(polygon) for e in json.loads(f) if e["ev"] == "A"]
            path = f"/polygon/v2/aggs/ticker/AAPL/range/1/second/{start_ms}/9999999999999"
            assert [row["v"] for row in (await client.get(path))["results"]] == [bar["v"] for bar in bars]

    asyncio.run(run())


def test_requests_are_in_the_truth_before_they_are_answered(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            await receive_bytes(socket, 5)
            answer = await client.get("/binance/api/v3/depth?symbol=BTCUSDT&limit=10")
            (line,) = [line for line in client.truth("binance") if line.endpoint.startswith("/api/v3/depth?")]
            assert (line.fate, line.events[0].record_key) == (SENT, f"depth/s/{answer['lastUpdateId']}")
            assert await client.status("/binance/api/v3/depth") == 400
            assert await client.status("/binance/api/v3/klines?symbol=BTCUSDT&startTime=x") == 400
            assert await client.status("/nowhere/api/v3/depth") == 404

    asyncio.run(run())


def test_binance_refuses_the_handshake_where_others_refuse_the_login(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            await client.fault("binance", "auth_failure")
            with pytest.raises(WSServerHandshakeError, match="403"):
                await client.connect("binance")
            await client.connect("binance")

    asyncio.run(run())


def test_the_control_interface_stops_and_starts_what_is_sent(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "alpaca") as client:
            socket = await client.log_in("alpaca")
            await receive_bytes(socket, 5)
            await client.stop()
            await drain(socket)
            before = (await client.get("/control/status"))["alpaca"]
            assert before["state"] == "stopped"
            assert await drain(socket) == []
            await client.http.post(f"http://{client.address}/control/start")
            await receive_bytes(socket, 5)
            after = (await client.get("/control/status"))["alpaca"]
            assert after["frames_sent"] > before["frames_sent"]
            assert after["connections"] == 1

    asyncio.run(run())
