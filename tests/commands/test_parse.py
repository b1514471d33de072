from __future__ import annotations

import gzip
import io
import json
import random
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from etl.adapter.contract import Exchange, Ignored, Outcome, Rejected
from etl.commands.parse import lines, record_item, write
from etl.errors import EtlError
from etl.exchanges import load
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.model.records import Frame, QuarantineOutcome, Record, Severity, Trade
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from etl.settings import make
from etl.transports.memory import MemoryPublisher
from etl.validation.statistics import SymbolStatistics
from etl.wire import codec
from tests.support import fixtures

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
RECORDED = {
    "binance": RECORDINGS / "binance.btcusdt_20240808.jsonl.gz",
    "binance_usdm": RECORDINGS / "binance_usdm.btcusdt_20240808.jsonl.gz",
}
TRADE = (
    '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":%d,"p":"61837.63000000",'
    '"q":"0.02000000","T":1723161255342,"m":true,"M":true}}'
)

QUOTE = (
    '{"stream":"btcusdt@bookTicker","data":{"u":%d,"s":"BTCUSDT","b":"61837.63000000","B":"3.78826000",'
    '"a":"61837.64000000","A":"1.54698000"}}'
)
UNENCODABLE = 77
RECEIVED_NS = 1_790_000_000_500_000_000

needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="no recordings beside the repository")


def parsed(data: bytes, venue: str = "binance", records_only: bool = False) -> list[dict[str, Any]]:
    output = io.BytesIO()
    write(lines(load(venue), io.BufferedReader(io.BytesIO(data)), records_only), output)
    return [json.loads(line) for line in output.getvalue().splitlines()]


def recorded(frame: str, **rest: Any) -> str:
    return json.dumps({"kind": "ws", "frame": frame} | rest)


def test_a_trade_has_the_fields_of_the_contract_and_none_that_is_empty() -> None:
    assert parsed((TRADE % 3735683259).encode()) == [
        {
            "line": 1,
            "kind": "trade",
            "exchange": "binance",
            "symbol": "BTC-USDT",
            "venue_symbol": "BTCUSDT",
            "channel": "trade",
            "event_time_ns": 1723161255342000000,
            "source": "replay",
            "frame_sequence": 1,
            "frame_index": 0,
            "record_key": "3735683259",
            "key_time_ns": 1723161255342000000,
            "parser_version": 1,
            "sequence": 3735683259,
            "publish_time_ns": 1723161255343000000,
            "last_price": "61837.63000000",
            "volume": "0.02000000",
            "side": "sell",
            "trade_id": "3735683259",
            "size_unit": "base",
        }
    ]


def test_bare_frames_recordings_and_gzip_of_either_are_told_by_their_content() -> None:
    frame = TRADE % 1
    expected = parsed(frame.encode())
    assert parsed(gzip.compress(frame.encode())) == expected
    assert parsed(recorded(frame).encode()) == expected
    assert parsed(gzip.compress(recorded(frame).encode() + b"\r\n")) == expected
    timed = parsed(recorded(frame, receive_time_ns=1723161254087896568, connection=3).encode())
    assert timed == [expected[0] | {"receive_time_ns": 1723161254087896568, "connection_id": "3"}]


def test_every_line_gives_at_least_one_and_says_its_number() -> None:
    text = "\n".join([TRADE % 1, "", "garbage", '{"result":null,"id":1}', "[]", TRADE % 2]) + "\n\n"
    output = parsed(text.encode())
    assert [
        (item["line"], item.get("kind") or item.get("quarantine") or item["ignored"]) for item in output
    ] == [
        (1, "trade"),
        (2, "blank_line"),
        (3, "undecodable"),
        (4, "subscription_reply"),
        (5, "empty"),
        (6, "trade"),
        (7, "blank_line"),
    ]
    assert output[2]["frame"] == "garbage"


def test_records_only_leaves_the_rest_out() -> None:
    text = "\n".join([TRADE % 1, "garbage", "[]", TRADE % 5])
    assert [item["kind"] for item in parsed(text.encode(), records_only=True)] == ["trade", "trade", "gap"]


def test_a_gap_stands_before_the_record_that_decides_it_or_at_the_end() -> None:
    numbers = [1, *range(3, 14), 20]
    output = parsed("\n".join(TRADE % number for number in numbers).encode())
    gaps = [item for item in output if item["kind"] == "gap"]
    assert [(gap["line"], gap["gap_kind"], gap["channel"]) for gap in gaps] == [
        (10, "sequence", "trade"),
        (13, "sequence", "trade"),
    ]
    assert [(gap["from_sequence"], gap["to_sequence"]) for gap in gaps] == [(2, 2), (14, 19)]
    assert output[9]["kind"] == "gap"
    assert output[10]["line"] == 10


def test_a_record_that_breaks_a_hard_rule_is_quarantined_with_its_code_and_its_id_is_declared() -> None:
    frames = [TRADE % 1, (TRADE % 2).replace("61837.63000000", "0"), TRADE % 3]
    kinds = [item.get("kind") or item.get("quarantine") for item in parsed("\n".join(frames).encode())]
    assert kinds == ["trade", "gap", "price_not_positive", "trade"]


SNAPSHOT = '{"lastUpdateId":%d,"bids":[["61837.63000000","1.00000000"]],"asks":[]}'
DEPTH = (
    '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790000000000,"s":"BTCUSDT","U":%d,"u":%d,'
    '"b":[["61837.63000000","1.00000000"]],"a":[]}}'
)
SNAPSHOT_URL = "http://venue/api/v3/depth?symbol=BTCUSDT&limit=1000"
STATISTICS = SymbolStatistics("binance", "BTC-USDT", 61_800.0, 0.0, 0.01, 30, 0)


def of_venue(name: str) -> type[Exchange]:
    """``name``, with a defect: a text that no message can carry passes."""

    class Careless(load(name)):  # type: ignore[misc]
        def parse(self, frame: Frame) -> Sequence[Outcome]:
            return [
                msgspec.structs.replace(outcome, trade_id="\ud800")
                if isinstance(outcome, Trade) and outcome.sequence == UNENCODABLE
                else outcome
                for outcome in super().parse(frame)
            ]

    return Careless


def as_live(
    lines: Sequence[tuple[str, str]], venue: str, statistics: Sequence[SymbolStatistics]
) -> list[dict[str, Any]]:
    """What a worker puts onto the normalized topic, and the codes of what it holds back."""
    publisher, exchange = MemoryPublisher(), of_venue(venue)
    continuity = Continuity(exchange, declares_start=False, window=Window(least_ns=0))
    feed = Feed(make(recordings_dir="served"), exchange, publisher, continuity)
    feed.learn(statistics)
    intake = open_intake(feed, exchange(), "", "")
    for frame, url in lines:
        intake.take(frame.encode(), RECEIVED_NS, url)
        intake.publish_released()
    feed.publish_gaps(feed.continuity.decide())
    publisher.poll()
    topics = feed.normalized_topic, feed.quarantine_topic
    records, held = ([m.value for m in publisher.delivered[topic]] for topic in topics)
    items = [codec.decode_quarantined(value) for value in held]
    codes = [i.code for i in items if (i.severity, i.outcome) == (Severity.HARD, QuarantineOutcome.HELD)]
    return [record_item(codec.decode(value)) for value in records] + [{"quarantine": code} for code in codes]


def plain(item: dict[str, Any]) -> dict[str, Any]:
    names = (
        "kind",
        "record_key",
        "channel",
        "flags",
        "gap_kind",
        "gap_state",
        "from_sequence",
        "to_sequence",
    )
    return {name: item[name] for name in (*names, "quarantine") if name in item}


@pytest.mark.parametrize(
    ("venue", "frames", "mark"),
    [
        # a book that goes on over a small hole says so
        (
            "binance",
            [
                (SNAPSHOT % 100, SNAPSHOT_URL),
                *[(DEPTH % span, "") for span in ((101, 105), (108, 110))],
                *[(DEPTH % (n, n), "") for n in range(111, 120)],
            ],
            {"flags": ["book_hole"]},
        ),
        # what no message can carry is held back
        (
            "binance",
            [(TRADE % 1, ""), (TRADE % UNENCODABLE, ""), (TRADE % 3, "")],
            {"quarantine": "unencodable"},
        ),
        # trades far out are held until others confirm their level
        (
            "binance",
            [
                ((TRADE % n).replace("61837.63", "61837.63" if n == 1 else "90000.00"), "")
                for n in range(1, 7)
            ],
            {"kind": "gap", "gap_kind": "quarantine", "gap_state": "repaired"},
        ),
        # a frame that cannot be read may have been a quote
        (
            "binance",
            [(QUOTE % 5, ""), ('{"stream":"btcusdt@book', ""), (QUOTE % 9, "")],
            {"gap_kind": "quarantine"},
        ),
    ],
    ids=["joins", "encodes", "releases", "suspects"],
)
def test_parse_gives_what_a_worker_gives(
    venue: str, frames: list[tuple[str, str]], mark: dict[str, Any]
) -> None:
    text = "\n".join(recorded(frame, url=url, receive_time_ns=RECEIVED_NS) for frame, url in frames)
    source: io.BufferedReader = io.BufferedReader(io.BytesIO(text.encode()))
    found = [
        plain(json.loads(json.dumps(item)))
        for item in lines(of_venue(venue), source, statistics=[STATISTICS])
    ]
    expected = [plain(json.loads(json.dumps(item))) for item in as_live(frames, venue, [STATISTICS])]
    assert [item for item in found if "kind" in item] == [item for item in expected if "kind" in item]
    assert [item for item in found if "quarantine" in item] == [i for i in expected if "quarantine" in i]
    assert any(mark.items() <= item.items() for item in found)


def test_text_that_no_utf8_can_carry_does_not_stop_the_output() -> None:
    frame = r'{"e":"\ud800","s":"\udfff"}'
    (item,) = parsed(frame.encode())
    assert item["quarantine"] in ("undecodable", "unknown_message")
    (item,) = parsed(recorded("x").replace("x", r"\ud800").encode())
    assert item["quarantine"] == "undecodable"


def test_damaged_gzip_is_one_clear_error() -> None:
    packed = gzip.compress((TRADE % 1).encode() * 100)
    with pytest.raises(EtlError, match="damaged or cut"):
        parsed(packed[: len(packed) // 2])


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_the_command_gives_what_the_parser_gives(path: Path) -> None:
    exchange = fixtures.feed_of(path)
    parser = exchange()
    expected = 0
    text = []
    for number, line in enumerate(fixtures.read(path), 1):
        outcomes = parser.parse(fixtures.frame_of(line, exchange.name, number))
        expected += sum(isinstance(outcome, Record | Rejected | Ignored) for outcome in outcomes)
        expected -= (len(outcomes) if not line.frame.strip() else 0) - (not line.frame.strip())
        text.append(recorded(line.frame, url=line.endpoint, receive_time_ns=line.receive_time_ns))
    output = parsed("\n".join(text).encode(), exchange.name)
    assert len([item for item in output if item.get("kind") != "gap"]) == expected


def test_usage_errors_are_one_line_and_exit_2(tmp_path: Path) -> None:
    for arguments in (["nowhere"], ["binance", str(tmp_path / "absent.jsonl")]):
        run = subprocess.run(
            [sys.executable, "-m", "etl", "parse", *arguments], capture_output=True, text=True
        )
        assert run.returncode == 2
        assert run.stderr.count("\n") == 1
        assert run.stdout == ""


def test_quarantined_lines_leave_the_exit_code_0(tmp_path: Path) -> None:
    file = tmp_path / "frames"
    file.write_bytes(b"garbage\n\xff\xfe\n")
    command = [sys.executable, "-m", "etl", "parse", "binance", str(file)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert (run.returncode, run.stdout.count('"quarantine":"undecodable"')) == (0, 2)


# the recordings


def frames_of(path: Path) -> list[tuple[bytes, dict[str, Any]]]:
    """Each line of a recording with its event, ``{}`` for an answer."""
    with gzip.open(path) as file:
        return [(line, json.loads(json.loads(line)["frame"]).get("data", {})) for line in file]


@needs_recordings
@pytest.mark.parametrize("venue", RECORDED)
def test_a_recording_gives_one_record_a_line_without_quarantine_or_break(venue: str) -> None:
    data = RECORDED[venue].read_bytes()
    output = parsed(data, venue)
    assert [item["line"] for item in output] == list(range(1, gzip.decompress(data).count(b"\n") + 1))
    assert {item.get("kind") for item in output} == {"trade", "quote", "book"}
    assert not any("flags" in item for item in output)


@needs_recordings
@pytest.mark.parametrize("venue", RECORDED)
@pytest.mark.parametrize("share", [0.01, 0.4])
def test_of_a_thinned_recording_exactly_what_was_removed_is_declared(venue: str, share: float) -> None:
    generator = random.Random(f"{venue} {share}")
    kept, gone = bytearray(), []
    trades, deltas = [], []
    for line, event in frames_of(RECORDED[venue])[:6_000]:
        kind = event.get("e")
        if kind in ("trade", "depthUpdate") and generator.random() < share:
            gone.append(event)
            continue
        kept += line
        if kind == "trade":
            trades.append(event["t"])
        elif kind == "depthUpdate":
            deltas.append(event["u"])
    expected_trades = {e["t"] for e in gone if e["e"] == "trade" and trades[0] < e["t"] < trades[-1]}
    expected_deltas = {
        number
        for event in gone
        if event["e"] == "depthUpdate" and deltas[0] < event["u"] < deltas[-1]
        for number in (event["pu"] + 1 if "pu" in event else event["U"], event["u"])
    }
    gaps = [item for item in parsed(bytes(kept), venue) if item.get("kind") == "gap"]
    declared = {
        number
        for gap in gaps
        if gap["channel"] == "trade"
        for number in range(gap["from_sequence"], gap["to_sequence"] + 1)
    }
    assert declared == expected_trades
    edges = {
        gap[edge] for gap in gaps if gap["channel"] != "trade" for edge in ("from_sequence", "to_sequence")
    }
    assert edges <= expected_deltas
    spans = [(gap["from_sequence"], gap["to_sequence"]) for gap in gaps if gap["channel"] != "trade"]
    assert all(any(first <= number <= last for first, last in spans) for number in expected_deltas)
