"""``docs/topics.md`` is a contract: what it shows is run."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from etl.model.records import Gap, GapKind, Source, Trade
from etl.settings import NAMES, Settings, value_of
from etl.transports.frame_headers import (
    HEADER_ENDPOINT,
    HEADER_EXCHANGE,
    HEADER_FRAME_BYTES,
    HEADER_FRAME_SEQUENCE,
    HEADER_RECEIVE_TIME_NS,
    HEADER_SOURCE,
    FrameHeaders,
)
from etl.transports.frames import HEADER_ENCODING
from etl.transports.kafka import KafkaPublisher, ensure_topics
from etl.wire import codec

TEXT = (Path(__file__).parent.parent / "docs" / "topics.md").read_text()
LINES_MAX = 20
WITHIN_S = 60.0


READER, EXAMPLE = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def example() -> str:
    return EXAMPLE


def test_every_topic_and_header_is_named() -> None:
    settings = Settings()
    topics = {name for name in NAMES if name.endswith("_topic")}
    assert [name for name in topics if f"`{value_of(settings, name)}`" not in TEXT] == []
    headers = (
        HEADER_EXCHANGE, HEADER_ENDPOINT, HEADER_RECEIVE_TIME_NS, HEADER_FRAME_SEQUENCE, HEADER_SOURCE,
        HEADER_ENCODING, HEADER_FRAME_BYTES,
    )  # fmt: skip
    assert [header for header in headers if f"| `{header}` |" not in TEXT] == []


def test_the_example_is_short() -> None:
    assert len([line for line in example().splitlines() if line.strip()]) <= LINES_MAX


class ClientMessage:
    """As Kafka's client gives it."""

    def __init__(self, payloads: Sequence[bytes], headers: dict[str, bytes]) -> None:
        self._value, self._headers = b"".join(payloads), list(headers.items())

    def value(self) -> bytes:
        return self._value

    def headers(self) -> list[tuple[str, bytes]]:
        return self._headers


def test_the_reader_of_the_raw_topic_takes_messages_apart_as_we_do() -> None:
    assert len([line for line in READER.splitlines() if line.strip()]) == 5
    names: dict[str, Any] = {}
    exec(READER, names)
    headers = FrameHeaders("binance", "ws://venue", Source.STREAM)
    for payloads in ([b"{}", b"", b"[1]"], [b"alone"], [b""]):
        of_several = len(payloads) > 1
        made = headers.of_several(7, 1, payloads) if of_several else headers.of(7, 1)
        assert list(names["frames"](ClientMessage(payloads, made))) == [*enumerate(payloads, 7)]


@pytest.mark.integration
def test_the_example_runs_as_it_stands(settings_with: Callable[..., Settings], tmp_path: Path) -> None:
    settings = settings_with(kafka=True)
    ensure_topics(settings)
    publisher = KafkaPublisher(settings)
    trade = Trade(
        "binance", "BTC-USDT", "BTCUSDT", "trade", 5, 6, Source.STREAM, "c", 1, 0, "7", 5, 1, 7,
        last_price="61837.63000000", volume="0.02",
    )  # fmt: skip
    gap = Gap(
        "binance", "BTC-USDT", "BTCUSDT", "trade", 5, 6, Source.STREAM, "c", 1, 0, "8-9", 5, 1,
        gap_kind=GapKind.SEQUENCE, from_sequence=8, to_sequence=9,
    )  # fmt: skip
    for record in (trade, gap):
        publisher.publish(settings.topics.normalized, b"binance:BTC-USDT", codec.encode(record))
    publisher.flush(WITHIN_S)
    program = example().replace("127.0.0.1:9092", settings.kafka_bootstrap)
    program = program.replace("market-data.normalized", settings.topics.normalized)
    out = tmp_path / "out"
    with out.open("wb") as output:
        process = subprocess.Popen([sys.executable, "-u", "-c", program], stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + WITHIN_S
        while (
            len(out.read_text().splitlines()) < 2 and process.poll() is None and time.monotonic() < deadline
        ):
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    assert out.read_text().splitlines() == [
        "BTC-USDT 5 61837.63000000 0.02",
        "BTC-USDT trade is missing 8 to 9",
    ]
