"""A demo that serves a recording subscribes to what is in it: nothing is awaited in vain."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

from etl.exchanges import load
from etl.ingest.subscriptions import subscriptions
from etl.settings import make
from etl.simulator import recording
from etl.simulator.venues import make_venue
from etl.up.plan import parts
from etl.up.recorded import contents, subscribed


def stream_words(tmp_path: Path, **values: Any) -> dict[str, list[str]]:
    """What each worker is started with, behind ``stream VENUE``."""
    settings = make(state_dir=str(tmp_path / "state"), **values)
    planned = subscribed(settings, parts(settings, with_airflow=False))
    return {p.name: list(p.command[5:]) for p in planned if p.name.startswith("stream-")}


def test_the_shipped_session_is_subscribed_to_as_it_is_and_a_synthetic_one_in_full(tmp_path: Path) -> None:
    words = stream_words(tmp_path, venues="binance,polygon")
    assert words == {
        "stream-binance": ["--symbols", "BTCUSDT", "--channels", "depth@100ms,bookTicker,trade"],
        "stream-polygon": [],
    }


def test_symbols_and_channels_are_those_of_the_recordings_own_stream(tmp_path: Path) -> None:
    lines = [
        {"kind": "ws", "frame": '{"stream":"ethusdt@trade","data":{"e":"trade","E":1700000000000,"s":"ETHUSDT","t":1,'
        '"p":"1.00000000","q":"2.00000000","T":1700000000000,"m":true,"M":true}}'},
        {"kind": "ws", "frame": '{"result":null,"id":1}'},
        {"kind": "ws", "frame": "{"},
        {"kind": "rest", "url": "/api/v3/depth?symbol=SOLUSDT", "frame": '{"lastUpdateId":1,"bids":[],"asks":[]}'},
    ]  # fmt: skip
    with gzip.open(tmp_path / "binance.x.jsonl.gz", "wt") as file:
        file.writelines(json.dumps({"receive_time_ns": 1, **line}) + "\n" for line in lines)
    words = stream_words(tmp_path, venues="binance,alpaca", recordings_dir=str(tmp_path))
    assert words == {"stream-binance": ["--symbols", "ETHUSDT", "--channels", "trade"], "stream-alpaca": []}


def test_a_live_venue_has_no_recording(tmp_path: Path) -> None:
    assert stream_words(tmp_path, venues="binance", live=True) == {"stream-binance": []}


def test_every_stream_that_is_subscribed_to_is_in_the_shipped_session() -> None:
    path = recording.shipped("binance")
    assert path is not None
    (subscription,) = subscriptions(load("binance"), *contents(path, "binance"), "0/1")
    venue, told = make_venue("binance"), make_venue("binance").told
    assert told is not None
    opened = (told.open(frame) for frame in recording.frames(path))
    recorded = {one[0] for one in opened if one is not None}
    wanted = {venue.stream(s, channel) for s in subscription.symbols for channel in subscription.channels}
    assert wanted == recorded
