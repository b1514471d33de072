"""A third party's client, unmodified, on ``etl replay serve``: cryptofeed. ``make peer`` installs it and runs this."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.bench.peers import environment
from etl.model.records import Frame, Source
from etl.settings import Settings
from etl.simulator.recording import WS, Line, lines, shipped
from etl.transports.transport import transport_of
from tests.simulator.test_replay_serve import BINANCE, publish, served
from tests.support.certificates import Authority

OKX = "wss://ws.okx.com:8443/ws/v5/public"
LINES = 2_000
WITHIN_S = 60.0
PYTHON = environment.interpreter("cryptofeed")
CLIENT = Path(environment.__file__).with_name("cryptofeed_replay.py")

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not PYTHON.exists(), reason="cryptofeed is not installed: make peer"),
]


def okx_frames() -> Iterator[str]:
    """What somebody received who had asked for two instruments, with the acknowledgement of then."""
    yield '{"event":"subscribe","arg":{"channel":"trades","instId":"ADA-USDT"},"connId":"a4d3ae55"}'
    for number in range(40):
        for symbol in ("ADA-USDT", "BTC-USDT"):
            yield (
                f'{{"arg":{{"channel":"trades","instId":"{symbol}"}},"data":[{{"instId":"{symbol}",'
                f'"tradeId":"{number}","px":"0.51{number:02}","sz":"{number}.5","side":"sell","ts":"1723161255342"}}]}}'
            )
        yield (
            '{"arg":{"channel":"tickers","instId":"ADA-USDT"},"data":[{"instId":"ADA-USDT",'
            f'"bidPx":"0.51{number:02}","askPx":"0.52{number:02}","ts":"1723161255342"}}]}}'
        )


def books_of(recorded: list[Line]) -> list[list[Any]]:
    """What a reader of the book is to hear: the snapshot, then each change that continues it, with the best of both."""
    (snapshot,) = [msgspec.json.decode(line.frame) for line in recorded if line.kind != WS]
    sides = [{Decimal(price): size for price, size in snapshot[side]} for side in ("bids", "asks")]
    heard = [_heard(snapshot["lastUpdateId"], sides)]
    for line in recorded:
        data = msgspec.json.decode(line.frame).get("data", {})
        if data.get("e") != "depthUpdate" or data["u"] <= snapshot["lastUpdateId"]:
            continue
        for side, levels in zip(sides, (data["b"], data["a"]), strict=True):
            side.update((Decimal(price), size) for price, size in levels)
            for price, size in levels:
                if not Decimal(size):
                    del side[Decimal(price)]
        heard.append(_heard(data["u"], sides))
    return heard


def _heard(last: int, sides: list[dict[Decimal, str]]) -> list[Any]:
    bid, ask = max(sides[0]), min(sides[1])
    return [last, str(bid), sides[0][bid], str(ask), sides[1][ask]]


def test_cryptofeed_reads_raw_frames_as_it_would_read_the_venues(
    settings_with: Callable[..., Settings], tmp_path: Path
) -> None:
    path = shipped("binance")
    assert path is not None
    recorded = list(islice(lines(path), LINES))
    frames = [
        Frame("binance", "one", number, BINANCE if line.kind == WS else line.url, line.receive_time_ns, line.payload)
        for number, line in enumerate(recorded, 1)
    ]  # fmt: skip
    began_ns = recorded[0].receive_time_ns
    others = [
        Frame("okx", "two", number, OKX, began_ns + number * 1_000_000, text.encode(), Source.STREAM)
        for number, text in enumerate(okx_frames(), 1)
    ]
    settings = settings_with(kafka=True, topic_partitions=2, metrics_port=0)
    transport_of(settings).ensure_topics()
    publish(settings, [*frames, *others])
    decoded = [msgspec.json.decode(line.frame).get("data", {}) for line in recorded if line.kind == WS]
    wanted = {
        ("ticker", "BINANCE"): [["BTC-USDT", one["b"], one["a"]] for one in decoded if "B" in one and "e" not in one],
        ("book", "BINANCE"): [["BTC-USDT", *one] for one in books_of(recorded)],
        ("trade", "OKX"): [["ADA-USDT", "sell", f"{n}.5", f"0.51{n:02}", f"{n}"] for n in range(40)],
        ("ticker", "OKX"): [["ADA-USDT", f"0.51{n:02}", f"0.52{n:02}"] for n in range(40)],
    }  # fmt: skip
    authority = Authority(tmp_path)
    identity = authority.identity()
    words = ("binance,okx", "--speed", "20", "--from", "2024-08-08", "--to", "2024-08-10",
             "--certificate", str(identity.certificate_file), "--key", str(identity.key_file))  # fmt: skip
    trusted = {"SSL_CERT_FILE": str(authority.ca_file), "REQUESTS_CA_BUNDLE": str(authority.ca_file)}
    with served(settings, *words) as host:
        told = heard(host, trusted, sum(map(len, wanted.values())))
    assert told == wanted


def heard(host: str, trusted: dict[str, str], count: int) -> dict[tuple[str, str], list[list[Any]]]:
    """``count`` lines of the client, by kind and venue."""
    command = ["timeout", str(WITHIN_S), str(PYTHON), str(CLIENT), host]
    found: dict[tuple[str, str], list[list[Any]]] = {}
    with subprocess.Popen(
        command, env={**os.environ, **trusted}, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdout is not None
        for text in islice(client.stdout, count):
            kind, venue, *facts = json.loads(text)
            found.setdefault((kind, venue), []).append(facts)
        client.terminate()
    return found
