"""``etl replay serve``: raw frames off a real topic, byte for byte, over the venues' own protocols."""

from __future__ import annotations

import asyncio
import json
import os
import re
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import pytest
from websockets.asyncio.client import connect

from etl import settings as settings_module
from etl.commands.replay import _tls
from etl.errors import UsageError
from etl.ingest.session_file import line_of
from etl.model.records import Frame, Source
from etl.settings import Settings
from etl.simulator.pace import Pace
from etl.simulator.recording import WS, Line, lines, shipped
from etl.transports.frames import raw_messages
from etl.transports.transport import transport_of
from tests.support.certificates import Authority

BINANCE, KRAKEN = "wss://stream.binance.com:9443/stream", "wss://ws.kraken.com/v2"
KRAKEN_TRADE = b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","n":%d}]}'
FLUSH_S = 30.0
MS = 1_000_000


def test_a_clock_begins_with_the_last_client_and_keeps_the_order_of_receipt() -> None:
    pace = Pace(("a", "b"), from_ns=1_000 * MS, speed=10)
    assert not pace.is_due("a", 1_000 * MS, 5 * MS)
    assert pace.is_due("b", 1_000 * MS, 7 * MS)
    assert pace.is_due("a", 1_000 * MS, 9 * MS)
    assert not pace.is_due("a", 1_010 * MS, 9 * MS)  # the other's is earlier
    assert not pace.is_due("b", 1_021 * MS, 9 * MS)  # not yet
    assert pace.is_due("a", 1_020 * MS, 9 * MS)
    assert (pace.has_moved(), pace.has_moved()) == (True, False)
    pace.end("b")
    assert pace.has_moved()
    assert pace.is_due("a", 1_030 * MS, 11 * MS)


def test_a_frame_that_is_no_text_keeps_its_bytes() -> None:
    frame = Frame("mexc", "c", 1, "wss://x/ws", 5, b"\x0a\xff\x00", Source.STREAM)
    line = Line(**line_of("mexc", frame))
    assert (line.kind, line.payload, line.receive_time_ns) == (WS, b"\x0a\xff\x00", 5)
    asked = Frame("binance", "c", 2, "http://h:8700/binance/api/v3/depth?symbol=A", 6, b"{}", Source.STREAM)
    assert Line(**line_of("binance", asked)).url == "http://h:8700/api/v3/depth?symbol=A"


@contextmanager
def served(settings: Settings, *words: str) -> Iterator[str]:
    """``host:port``."""
    inherited = {name: text for name, text in os.environ.items() if not name.startswith("ETL_")}
    variables = {**inherited, **settings_module.as_environment(settings), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "etl", "replay", "serve", *words]
    process = subprocess.Popen(command, env=variables, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        told = ""
        while not (found := re.search(r"wss?://([\d.:]+)/", told)):
            told = process.stdout.readline()
            assert told, "it ended"
        yield found[1]
    finally:
        process.terminate()
        process.wait(20)
        process.stdout.close()


def publish(settings: Settings, frames: Sequence[Frame]) -> None:
    publisher = transport_of(settings).publisher()
    for frame in frames:
        for value, headers in raw_messages(frame, 1 << 20):
            publisher.publish(settings.topics.raw, frame.connection_id.encode(), value, headers)
    publisher.flush(FLUSH_S)


@pytest.mark.integration
def test_a_plain_websocket_client_gets_what_was_received_and_only_what_it_subscribes_to(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    settings = settings_with(kafka=True, topic_partitions=2, metrics_port=0)
    transport_of(settings).ensure_topics()
    path = shipped("binance")
    assert path is not None
    recorded = list(islice(lines(path), 600))
    frames = [
        Frame("binance", "one", number, BINANCE if line.kind == WS else line.url, line.receive_time_ns, line.payload)
        for number, line in enumerate(recorded, 1)
    ]  # fmt: skip
    others = [
        Frame("kraken", "two", number, KRAKEN, frame.receive_time_ns + 1, KRAKEN_TRADE % number)
        for number, frame in enumerate(frames[::100], 1)
    ]
    publish(settings, [*frames, *others])
    trades = [line.frame for line in recorded if '"btcusdt@trade"' in line.frame]
    (depth,) = [line for line in lines(path) if line.kind != WS]

    authority = Authority(tmp_path)
    identity, trusted = authority.identity(), ssl.create_default_context(cafile=str(authority.ca_file))

    async def run(host: str) -> None:
        async with connect(f"wss://{host}/binance/stream", max_size=None, ssl=trusted) as socket:
            await socket.send(json.dumps({"method": "SUBSCRIBE", "params": ["btcusdt@trade"], "id": 1}))
            async with connect(f"wss://{host}/kraken/v2", ssl=trusted) as second:
                request = {"method": "subscribe", "params": {"channel": "trade", "symbol": ["BTC/USD"]}}
                await second.send(json.dumps(request))
                got: list[str] = []
                async with asyncio.timeout(30):
                    while len(got) < len(trades):
                        text = str(await socket.recv())
                        got += [text] if '"stream"' in text else []
                    heard: list[bytes] = []
                    while len(heard) < len(others):
                        text = str(await second.recv())
                        heard += [text.encode()] if '"n":' in text else []
        assert got == trades
        assert heard == [frame.payload for frame in others]

    words = ("binance,kraken", "--speed", "20", "--from", "2024-08-08", "--to", "2024-08-10",
             "--certificate", str(identity.certificate_file), "--key", str(identity.key_file))  # fmt: skip
    with served(settings, *words) as host:
        asyncio.run(run(host))
        if any(line.kind != WS for line in recorded):
            depth_url = f"https://{host}/binance/api/v3/depth?symbol=BTCUSDT&limit=1000"
            with urllib.request.urlopen(depth_url, context=trusted) as answer:
                assert answer.read() == depth.payload


def test_a_certificate_that_cannot_be_read_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"--certificate, --key: .*No such file"):
        _tls(str(tmp_path / "none.pem"), "")
    (tmp_path / "no.pem").write_text("no certificate")
    with pytest.raises(UsageError, match="--certificate, --key: "):
        _tls(str(tmp_path / "no.pem"), "")
    with pytest.raises(UsageError, match="--certificate, --key: "):
        _tls("", str(tmp_path / "no.pem"))


def test_what_was_not_received_cannot_be_served(settings_with: Callable[..., Settings]) -> None:
    command = [sys.executable, "-m", "etl", "replay", "serve", "binance,kraken", "--speed", "0"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (found.returncode, "0 for one venue alone" in found.stderr) == (2, True)
