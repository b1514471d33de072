"""Every fault fires, does what it says, and leaves a truth that tells it."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientTimeout, WSMsgType

from etl.errors import UsageError
from etl.model.times import NS_PER_S
from etl.simulator.faults import FEED_FAULTS, KINDS, order
from etl.simulator.frame_faults import FRAME_FAULTS, Fault
from etl.simulator.scenario import Scenario, Step, every_fault
from etl.simulator.serve import Options, make_feed
from etl.simulator.truth import CONTROL, INVALID, SENT, STREAM, WITHHELD, TruthLine, digest_of
from tests.support.serving import (
    LOGINS,
    WITHIN_S,
    Client,
    drain,
    parsed_all,
    receive,
    receive_bytes,
    simulator,
    told_of,
)

TICK_NS = 12_500_000
TRADES = "/binance/stream?streams=btcusdt@trade"


def trade_ids(frames: list[bytes]) -> list[int]:
    return [json.loads(frame)["data"]["t"] for frame in frames if is_whole(frame)]


def is_whole(frame: bytes) -> bool:
    try:
        json.loads(frame)
    except ValueError:
        return False
    return True


def streamed(client: Client, fate: str) -> list[TruthLine]:
    return [line for line in client.truth("binance") if line.endpoint == STREAM and line.fate == fate]


async def under(client: Client, kind: str, **order: Any) -> list[bytes]:
    """Trades of Binance from before a fault to well after it."""
    socket = await client.http.ws_connect(f"ws://{client.address}{TRADES}")
    frames = await receive_bytes(socket, 20)
    await client.fault("binance", kind, **order)
    frames += await receive_bytes(socket, 60)
    await client.stop()
    frames += await drain(socket)
    return frames


def test_dropped_frames_are_withheld_and_nothing_else_is(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            ids = trade_ids(await under(client, "drop", count=3))
            missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
            assert len(missing) == 3
            told = [int(e.record_key) for line in streamed(client, WITHHELD) for e in line.events]
            assert told == missing
            assert (await client.get("/control/status"))["binance"]["faults_fired"] == {"drop": 3}

    asyncio.run(run())


def test_a_duplicate_comes_twice_with_the_same_bytes(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            frames = await under(client, "duplicate", count=2)
            ids = trade_ids(frames)
            assert len(ids) - len(set(ids)) == 2
            assert len(frames) - len(set(frames)) == 2

    asyncio.run(run())


def test_a_frame_fault_waits_for_a_frame_of_its_channel(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            await client.fault("binance", "drop", count=2, channel="depth")
            await client.fault("binance", "drop", count=1, channel="trade")
            await receive_bytes(socket, 200)
            await client.stop()
            kinds = [event.kind for line in streamed(client, WITHHELD) for event in line.events]
            assert sorted(kinds) == ["book", "book", "trade"]

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["reorder", "delay"])
def test_late_frames_are_overtaken_and_none_is_missing(tmp_path: Path, kind: str) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            ids = trade_ids(await under(client, kind, count=4, delay_s=0.03))
            assert ids != sorted(ids)
            assert sorted(ids) == list(range(min(ids), max(ids) + 1))

    asyncio.run(run())


@pytest.mark.parametrize("kind", ["garble", "cut"])
def test_a_broken_frame_stands_in_the_truth_beside_what_it_was(tmp_path: Path, kind: str) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            frames = await under(client, kind, count=2)
            broken = [frame for frame in frames if not is_whole(frame)]
            assert len(broken) == 2
            lost = [int(e.record_key) for line in streamed(client, WITHHELD) for e in line.events]
            ids = trade_ids(frames)
            assert sorted(ids + lost) == list(range(min(ids), max(ids) + 1))
            told = [line for line in streamed(client, SENT) if line.events[0].kind == INVALID]
            assert [line.digest for line in told] == [digest_of(frame) for frame in broken]
            assert {len(line.events) for line in told} == {1}

    asyncio.run(run())


@pytest.mark.parametrize("exchange", ["binance", "polygon", "alpaca"])
def test_an_unknown_type_is_sent_and_told_as_invalid(tmp_path: Path, exchange: str) -> None:
    async def run() -> None:
        async with simulator(tmp_path, exchange) as client:
            socket = await client.log_in(exchange)
            await receive_bytes(socket, 5)
            await client.fault(exchange, "unknown_type", count=2)
            frames = await receive_bytes(socket, 60)
            told = told_of(client.truth(exchange), frames)
            assert sum(event.kind == INVALID for event in told) == 2
            assert [kind for kind, _, _ in parsed_all(exchange, frames)] == [event.kind for event in told]

    asyncio.run(run())


def test_a_wrong_sequence_leaves_out_ids_that_no_history_has(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            ids = trade_ids(await under(client, "wrong_sequence", count=5))
            missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
            assert len(missing) == 5
            path = f"/binance/api/v3/historicalTrades?symbol=BTCUSDT&fromId={missing[0]}&limit=1"
            assert (await client.get(path))[0]["id"] == missing[-1] + 1
            assert streamed(client, WITHHELD) == []

    asyncio.run(run())


def test_a_sequence_reset_counts_anew_without_meeting_an_old_identity(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            ids = trade_ids(await under(client, "sequence_reset"))
            assert min(ids) < 100_000_000 < max(ids)
            assert len(set(ids)) == len(ids)

    asyncio.run(run())


def test_a_skewed_clock_shows_in_the_event_times_and_passes(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            frames = await under(client, "clock_skew", delay_s=5.0, duration_s=0.05)
            times = [json.loads(frame)["data"]["T"] for frame in frames]
            assert max(times) - times[0] > 4_900
            assert times[-1] - times[0] < 4_000
            assert len(set(trade_ids(frames))) == len(frames)

    asyncio.run(run())


@pytest.mark.parametrize("session", ["synthetic", "shipped"])
def test_a_flood_brings_so_many_times_the_events_until_it_is_over(tmp_path: Path, session: str) -> None:
    options = Options(exchanges=("binance",), state_path=tmp_path, rate=80.0, session=session)
    feed = make_feed(options, "binance")
    feed.session.subscribe("btcusdt@trade")
    events = []
    for second in range(6):
        if second == 3:
            order(feed, Fault("flood", count=5, duration_s=2.0), second * NS_PER_S)
        at_ns = range(second * NS_PER_S + TICK_NS, (second + 1) * NS_PER_S + TICK_NS, TICK_NS)
        events.append(sum(len(feed.session.due(now_ns)) for now_ns in at_ns))
        feed.tick((second + 1) * NS_PER_S)
    assert events[2:] == [80, 400, 400, 80]


def test_a_disconnect_is_abrupt_and_the_market_goes_on(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            await receive_bytes(socket, 20)
            await client.fault("binance", "disconnect")
            await drain(socket)
            assert socket.closed
            again = await client.log_in("binance")
            await receive_bytes(again, 20)

    asyncio.run(run())


def test_a_mute_socket_stays_open_and_what_it_keeps_is_withheld(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            ids = trade_ids(await under(client, "mute", duration_s=0.1))
            missing = sorted(set(range(ids[0], ids[-1] + 1)) - set(ids))
            assert len(missing) > 10
            assert missing == list(range(missing[0], missing[-1] + 1))
            told = [int(e.record_key) for line in streamed(client, WITHHELD) for e in line.events]
            assert told == missing

    asyncio.run(run())


def test_binance_announces_the_24_hour_close(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            socket = await client.log_in("binance")
            await client.fault("binance", "shutdown", delay_s=0.1)
            frames = await drain(socket)
            (announced,) = [frame for frame in frames if b"serverShutdown" in frame]
            (line,) = [line for line in client.truth("binance") if line.digest == digest_of(announced)]
            assert (line.endpoint, [event.kind for event in line.events]) == (CONTROL, ["ignored"])
            assert frames.index(announced) < len(frames) - 1
            assert socket.closed

    asyncio.run(run())


@pytest.mark.parametrize(
    ("exchange", "last"), [("polygon", b"max_connections"), ("alpaca", b'"code":406'), ("binance", b"")]
)
def test_a_rival_connection_closes_ours(tmp_path: Path, exchange: str, last: bytes) -> None:
    async def run() -> None:
        async with simulator(tmp_path, exchange) as client:
            socket = await client.log_in(exchange)
            await receive_bytes(socket, 5)
            await client.fault(exchange, "too_many")
            assert last in b"".join((await drain(socket))[-1:])
            assert socket.closed

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "exchange", "answer"),
    [
        ("auth_failure", "polygon", b"auth_failed"),
        ("auth_failure", "alpaca", b'"code":402'),
        ("connection_limit", "polygon", b"max_connections"),
        ("connection_limit", "alpaca", b'"code":406'),
    ],
)
def test_the_next_login_is_refused_and_the_one_after_is_not(
    tmp_path: Path, kind: str, exchange: str, answer: bytes
) -> None:
    async def run() -> None:
        async with simulator(tmp_path, exchange) as client:
            await client.fault(exchange, kind)
            socket = await client.connect(exchange)
            await receive(socket)
            await socket.send_json(LOGINS[exchange])
            assert answer in (await receive_bytes(socket, 1))[0]
            assert (await socket.receive(timeout=WITHIN_S)).type is WSMsgType.CLOSE
            await receive_bytes(await client.log_in(exchange), 10)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("kind", "status", "retry_after"),
    [("rate_limit", 429, "2"), ("ban", 418, "2"), ("rest_error", 503, None)],
)
def test_requests_are_refused_for_a_while(
    tmp_path: Path, kind: str, status: int, retry_after: str | None
) -> None:
    async def run() -> None:
        path = "/binance/api/v3/depth?symbol=BTCUSDT"
        async with simulator(tmp_path, "binance") as client:
            await client.fault("binance", kind, duration_s=0.3, retry_after_s=2)
            async with client.http.get(f"http://{client.address}{path}") as answer:
                assert (answer.status, answer.headers.get("Retry-After")) == (status, retry_after)
            async with asyncio.timeout(WITHIN_S):
                while await client.status(path) != 200:  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
            assert [line.endpoint for line in client.truth("binance")] == ["/api/v3/depth?symbol=BTCUSDT"]

    asyncio.run(run())


def test_a_request_that_times_out_is_not_answered_until_it_is_over(tmp_path: Path) -> None:
    async def run() -> None:
        path = "/binance/api/v3/depth?symbol=BTCUSDT"
        async with simulator(tmp_path, "binance") as client:
            await client.fault("binance", "rest_timeout", duration_s=0.5)
            with pytest.raises(TimeoutError):
                await client.http.get(f"http://{client.address}{path}", timeout=ClientTimeout(total=0.1))
            assert await client.status(path) == 200

    asyncio.run(run())


def test_a_page_is_cut_inside_a_timestamp(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "polygon") as client:
            socket = await client.log_in("polygon")
            await receive_bytes(socket, 1_500)
            await client.stop()
            await client.fault("polygon", "page_cut", count=2, duration_s=30)
            start_ns = client.truth("polygon")[0].time_ns
            path: str | None = f"/v3/trades/AAPL?timestamp.gte={start_ns}&limit=1000"
            edges, last = 0, 0
            while path:
                page = await client.get(f"/polygon{path}")
                assert len(page["results"]) <= 2
                edges += page["results"][0]["sip_timestamp"] == last
                last = page["results"][-1]["sip_timestamp"]
                path = page["next_url"].removeprefix("https://api.polygon.io") if "next_url" in page else None
            assert edges > 0

    asyncio.run(run())


def test_every_fault_kind_has_a_test_here() -> None:
    source = Path(__file__).read_text()
    assert [kind for kind in KINDS if f'"{kind}"' not in source] == []
    assert len(KINDS) == len(FRAME_FAULTS) + len(FEED_FAULTS) == 22


def test_an_unknown_fault_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "binance") as client:
            for body in ({"kind": "earthquake"}, {"kind": "drop", "cuont": 3}, {"count": 3}):
                async with client.http.post(f"http://{client.address}/control/fault", json=body) as answer:
                    assert answer.status == 400
                    assert await answer.text()

    asyncio.run(run())


def test_a_scenario_orders_each_step_when_its_time_has_come() -> None:
    steps = [
        Step(kind="drop", at_s=1.0, every_s=2.0, until_s=5.0),
        Step(kind="mute", at_s=2.0, exchange="polygon"),
    ]
    scenario = Scenario(steps)
    second = 1_000_000_000
    seen = {
        tenth: [fault.kind for fault in scenario.due("binance", second, second + tenth * second // 10)]
        for tenth in (5, 10, 11, 25, 30, 50, 51, 70, 90)
    }
    assert {tenth: kinds for tenth, kinds in seen.items() if kinds} == {
        10: ["drop"],
        30: ["drop"],
        50: ["drop"],
    }
    assert [fault.kind for fault in scenario.due("polygon", second, 4 * second)] == ["drop", "mute"]
    assert scenario.due("alpaca", 0, 9 * second) == []


def test_the_schedule_of_every_fault_has_every_kind_and_all_disconnects_within_its_time() -> None:
    steps = every_fault(120.0, 47, ("binance", "polygon", "alpaca"))
    assert {step.kind for step in steps} == set(KINDS)
    assert sum(step.kind == "disconnect" for step in steps) == 47
    assert all(0 < step.at_s <= 108 for step in steps)
    lossy = [step for step in steps if step.kind == "drop"]
    assert {(step.exchange, step.channel) for step in lossy} == {("binance", "trade"), ("binance", "depth")}


def test_a_bad_scenario_is_refused_with_what_is_wrong(tmp_path: Path) -> None:
    file = tmp_path / "scenario.json"
    for text in (
        "[",
        '[{"kind": "drop"}]',
        '[{"kind": "earthquake", "at_s": 1}]',
        '[{"kind": "drop", "at": 1}]',
    ):
        file.write_text(text)
        with pytest.raises(UsageError, match=r"scenario\.json"):
            Scenario.read(file)
    file.write_text('[{"kind": "drop", "at_s": 1, "count": 4}]')
    assert Scenario.read(file).due("binance", 1, 2_000_000_000)[0].count == 4
