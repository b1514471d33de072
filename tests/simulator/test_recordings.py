"""Any venue's recording is served with its own session, with or without a parser or a simulated venue for it."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import pytest

from etl.errors import UsageError
from etl.simulator import truth
from etl.simulator.recording import asked, find, frames, lines
from etl.simulator.truth import SENT, STREAM, UNTOLD, TruthLine, digest_of, place_of
from etl.simulator.venues import names
from tests.support.serving import WITHIN_S, Client, receive, receive_bytes, simulator

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
BOOK_URL = "https://api.venue.example/v5/market/books?instId=BTC-USDT&sz=400"
BOOK = '{"code":"0","data":[{"asks":[],"bids":[],"ts":"1"}]}'
FRAMES = (
    '{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"}}',
    '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"tradeId":"1","px":"1.50"}]}',
    '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"tradeId":"2","px":"1.50"}]}',
    '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"tradeId":"2","px":"1.50"}]}',
)
"""The last one came twice."""


def written(folder: Path, name: str, recorded: Sequence[dict[str, Any]]) -> Path:
    path = folder / f"{name}.session.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(
            json.dumps({"receive_time_ns": 10**18 + n, **one}) + "\n" for n, one in enumerate(recorded)
        )
    return path


def of_nowhere(folder: Path) -> Path:
    rest = {"kind": "rest", "url": BOOK_URL, "frame": BOOK}
    ws = [{"kind": "ws", "frame": frame} for frame in FRAMES]
    return written(folder, "nowhere", [*ws[:2], rest, *ws[2:]])


async def stopped(client: Client, exchange: str) -> list[TruthLine]:
    async with asyncio.timeout(WITHIN_S):
        while not (await client.get("/control/status"))[exchange]["finished"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return client.truth(exchange)


def test_a_venue_that_nobody_wrote_is_served_as_it_was_recorded(tmp_path: Path) -> None:
    of_nowhere(tmp_path)

    async def run() -> None:
        async with simulator(tmp_path, "nowhere", rate=200.0, session="", recordings=tmp_path) as client:
            socket = await client.http.ws_connect(f"ws://{client.address}/nowhere/ws/v5/public")
            await socket.send_json({"op": "subscribe", "args": [{"channel": "trades", "instId": "BTC-USDT"}]})
            got = await receive_bytes(socket, len(FRAMES))
            assert got == [frame.encode() for frame in FRAMES]
            line = (await stopped(client, "nowhere"))[-1]
            assert (line.fate, line.endpoint, line.events, line.position) == (SENT, STREAM, [UNTOLD], 5)
            assert [one.digest for one in client.truth("nowhere")] == [digest_of(frame) for frame in got]

    asyncio.run(run())


def test_requests_get_what_was_recorded_for_them_from_its_moment_on_and_nothing_else(tmp_path: Path) -> None:
    of_nowhere(tmp_path)
    path = "/v5/market/books?instId=BTC-USDT&sz=50"

    async def run() -> None:
        async with simulator(tmp_path, "nowhere", rate=200.0, session="", recordings=tmp_path) as client:
            early = asyncio.create_task(client.get(f"/nowhere{path}"))
            await asyncio.sleep(0.1)
            assert not early.done()
            await client.http.ws_connect(f"ws://{client.address}/nowhere/ws/v5/public")
            assert await early == json.loads(BOOK)
            assert await client.status("/nowhere/v5/market/books?instId=ETH-USDT&sz=50") == 404
            (line,) = [one for one in client.truth("nowhere") if one.endpoint == path]
            assert (line.events, line.digest) == ([UNTOLD], digest_of(BOOK.encode(), place_of(path)))

    asyncio.run(run())


def test_a_question_in_a_body_is_part_of_what_was_asked(tmp_path: Path) -> None:
    answers = {'{"type":"l2Book"}': "[1]", '{"type":"candleSnapshot"}': "[2]"}
    url = "https://api.hyperliquid.example/info#body="
    rest = [{"kind": "rest", "url": url + quote(body), "frame": frame} for body, frame in answers.items()]
    written(tmp_path, "hyperliquid", [*rest, {"kind": "ws", "frame": "{}"}])

    async def run() -> None:
        async with simulator(tmp_path, "hyperliquid", rate=200.0, session="", recordings=tmp_path) as client:
            socket = await client.http.ws_connect(f"ws://{client.address}/hyperliquid/ws")
            await socket.send_json({"method": "subscribe", "subscription": {"type": "trades", "coin": "BTC"}})
            await stopped(client, "hyperliquid")
            for body, frame in answers.items():
                async with client.http.post(f"http://{client.address}/hyperliquid/info", data=body) as answer:
                    assert (answer.status, await answer.text()) == (200, frame)
            told = [line.digest for line in client.truth("hyperliquid") if "body" in line.endpoint]
            address = f"http://{client.address}/hyperliquid/info#body="
            places = [place_of(address + quote(body), "hyperliquid") for body in answers]
            assert told == [digest_of(f.encode(), p) for f, p in zip(answers.values(), places, strict=True)]

    asyncio.run(run())


def test_a_recording_of_a_venue_with_a_handshake_goes_out_whole_behind_it(tmp_path: Path) -> None:
    recorded = [
        f'[{{"ev":"T","sym":"AAPL","i":"{n}"}},{{"ev":"T","sym":"AAPL","i":"{n}b"}}]' for n in range(40)
    ]
    written(tmp_path, "polygon", [{"kind": "ws", "frame": frame} for frame in recorded])

    async def run() -> None:
        async with simulator(tmp_path, "polygon", rate=0, session="", recordings=tmp_path) as client:
            socket = await client.log_in("polygon")
            acks = [await receive(socket) for _ in range(3)]
            assert [one[0]["message"] for one in acks] == [f"subscribed to: {name}.AAPL" for name in "TQA"]
            assert await receive_bytes(socket, len(recorded)) == [frame.encode() for frame in recorded]
            lines = [line for line in client.truth("polygon") if line.endpoint == STREAM]
            assert [line.events for line in lines] == [[UNTOLD]] * len(recorded)

    asyncio.run(run())


def test_a_recording_without_a_table_is_played_once_also_in_a_loop_and_goes_on_after_a_kill(
    tmp_path: Path,
) -> None:
    of_nowhere(tmp_path)

    async def life(count: int) -> None:
        options = {"rate": 50.0, "session": "", "recordings": tmp_path, "loop": True}
        async with simulator(tmp_path, "nowhere", **options) as client:
            socket = await client.http.ws_connect(f"ws://{client.address}/nowhere/ws")
            await receive_bytes(socket, count)
            if count == 3:
                await stopped(client, "nowhere")

    asyncio.run(life(1))
    played = [one.position for one in truth.read(truth.path_of(tmp_path, "nowhere")) if one.position]
    asyncio.run(life(len(FRAMES) - len(played)))
    positions = [one.position for one in truth.read(truth.path_of(tmp_path, "nowhere")) if one.position]
    assert positions == [1, 2, 4, 5]


def test_a_venue_without_a_file_and_without_a_recording_is_refused(tmp_path: Path) -> None:
    async def run() -> None:
        async with simulator(tmp_path, "nowhere", session="", recordings=tmp_path):
            pass

    with pytest.raises(UsageError, match="nowhere: the simulator has no such venue; it has alpaca, "):
        asyncio.run(run())


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("https://a.example/x?symbol=A&limit=5", "/x?limit=500&symbol=A", True),
        ("https://a.example/x?symbol=A", "/x?symbol=B", False),
        ("https://a.example/x?symbol=A", "/y?symbol=A", False),
        ("https://a.example/info#body=%7B%7D", "/info?#body={}", True),
        ("https://a.example/info#body=%7B%7D", "/info?#body=[]", False),
    ],
)
def test_an_answer_is_found_by_what_was_asked_not_by_how_much_of_it(one: str, other: str, same: bool) -> None:
    assert (asked(one) == asked(other)) == same


RECORDED = {path.name.split(".")[0] for path in RECORDINGS.glob("*.jsonl.gz") if "examples" not in path.name}


@pytest.mark.skipif(not RECORDED, reason="no recordings beside the repository")
@pytest.mark.parametrize(
    "exchange", sorted(name for name in RECORDED if name.partition("_")[0] not in names())
)
def test_every_recording_that_there_is_goes_out_frame_for_frame(tmp_path: Path, exchange: str) -> None:
    path = find(RECORDINGS, exchange)
    assert path is not None
    urls = [line.url for line in lines(path) if line.kind == "rest"]

    async def run() -> None:
        async with simulator(tmp_path, exchange, rate=0, session=str(path)) as client:
            socket = await client.http.ws_connect(f"ws://{client.address}/{exchange}/ws", max_msg_size=0)
            for frame in frames(path):
                assert (await socket.receive_str(timeout=WITHIN_S)).encode() == frame
            for url in urls:
                parts = urlsplit(url)
                assert await client.status(f"/{exchange}{parts.path}?{parts.query}") == 200

    asyncio.run(run())
