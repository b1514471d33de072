"""Reconciliation finds exactly what was planted: a lost row, a doubled row, a missed frame, a broken one."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pyarrow as pa
import pytest

from etl.errors import UsageError
from etl.exchanges import load
from etl.model.records import Frame, Gap, GapKind, GapState, Kind, Quarantined, Record, Severity, Source
from etl.reconcile.holdings import EVENT_KINDS, HELD
from etl.reconcile.ledger import Ledger
from etl.reconcile.reconcile import compare
from etl.reconcile.report import Example, Report
from etl.simulator.truth import (
    BROKEN,
    CONTROL,
    CONTROL_EVENT,
    LATE,
    PLACED,
    SENT,
    STREAM,
    UNTOLD,
    WITHHELD,
    TruthEvent,
    TruthLine,
    digest_of,
)
from etl.wire.codec import encode, encode_quarantined

T0 = 1_795_000_000_000_000_000
STEP = 10_000_000
STREAM_URL = "ws://127.0.0.1:1/binance/stream?streams=btcusdt@trade"
CUT = b'{"stream":"btcusdt@trade","data":{"e":"tr'
REPLY = b'{"result":null,"id":1}'
STORES = {"clickhouse": EVENT_KINDS, "timescale": [k for k in EVENT_KINDS if k is not Kind.BOOK]}


def trade(number: int) -> bytes:
    time_ms = (T0 + number * STEP) // 1_000_000
    return (
        f'{{"stream":"btcusdt@trade","data":{{"e":"trade","E":{time_ms},"s":"BTCUSDT","t":{number},"p":"61837.63000000",'
        f'"q":"0.02000000","T":{time_ms},"m":true,"M":true}}}}'
    ).encode()


def depth(number: int) -> bytes:
    time_ms = (T0 + number * STEP) // 1_000_000
    return (
        f'{{"stream":"btcusdt@depth@100ms","data":{{"e":"depthUpdate","E":{time_ms},"s":"BTCUSDT","U":{number},'
        f'"u":{number},"b":[["61837.63000000","0.00000000"]],"a":[]}}}}'
    ).encode()


def told(payload: bytes) -> TruthEvent:
    """What the venue says that it is."""
    if payload in (REPLY, CUT):
        return CONTROL_EVENT if payload == REPLY else BROKEN
    data = msgspec.json.decode(payload)["data"]
    if data["e"] == "trade":
        return TruthEvent("trade", "BTC-USDT", str(data["t"]), data["T"] * 1_000_000)
    return TruthEvent("book", "BTC-USDT", f"depth@100ms/d/{data['u']}", data["E"] * 1_000_000)


class Run:
    """A run of one venue: what it sends arrives everywhere, unless a test says otherwise."""

    def __init__(self, path: Path) -> None:
        self.ledger = Ledger(path, ["binance"])
        self.parser = load("binance")()
        self.truth: list[TruthLine] = []
        self.frames: list[Frame] = []
        self.normalized: list[bytes] = []
        self.quarantine: list[bytes] = []
        self.held: dict[str, list[Record]] = {name: [] for name in STORES}

    def send(
        self,
        payload: bytes,
        *,
        fate: str = SENT,
        arrives: bool = True,
        parsed: bool = True,
        event: TruthEvent | None = None,
        connection_id: str = "c1",
    ) -> list[Record]:
        endpoint = CONTROL if payload == REPLY else STREAM
        now = T0 + len(self.truth) * STEP
        self.truth.append(TruthLine(now, endpoint, fate, [event or told(payload)], digest=digest_of(payload)))
        if fate != SENT or not arrives:
            return []
        number = len(self.frames) + 1
        frame = Frame("binance", connection_id, number, STREAM_URL, now + 1, payload)
        self.frames.append(frame)
        records = [outcome for outcome in self.parser.parse(frame) if isinstance(outcome, Record)]
        if parsed:
            self.normalized += [encode(record) for record in records]
            for store, kinds in STORES.items():
                self.held[store] += [record for record in records if record.kind in kinds]
        return records

    def reject(self, record: Record | None, code: str, severity: Severity = Severity.HARD) -> None:
        frame = self.frames[-1]
        self.quarantine.append(
            encode_quarantined(
                Quarantined(
                    code=code, severity=severity, reason="", exchange="binance", endpoint=frame.endpoint,
                    receive_time_ns=frame.receive_time_ns, source=Source.STREAM, connection_id="c1",
                    frame_sequence=frame.frame_sequence, frame_index=0, parser_version=1,
                    record=encode(record) if record else b"",
                )
            )
        )  # fmt: skip

    def declare(self, channel: str, state: GapState = GapState.OPEN, **bounds: int) -> None:
        gap = Gap(
            exchange="binance", symbol="BTC-USDT", venue_symbol="BTCUSDT", channel=channel, event_time_ns=0,
            receive_time_ns=T0, source=Source.STREAM, connection_id="c1", frame_sequence=0, frame_index=0,
            record_key=f"{channel}/{bounds}", key_time_ns=T0, parser_version=1,
            gap_kind=GapKind.SEQUENCE, gap_state=state,
        )  # fmt: skip
        self.normalized.append(encode(msgspec.structs.replace(gap, **bounds)))

    def report(self) -> Report:
        with self.ledger as ledger:
            ledger.add_raw(self.frames)
            ledger.add_truth("binance", self.truth)
            ledger.add_normalized(self.normalized)
            ledger.add_quarantine(self.quarantine)
            for store, records in self.held.items():
                ledger.add_held(store, held(records))
            return compare(ledger, STORES, 10.0)


def held(records: list[Record]) -> pa.Table:
    columns = {
        "exchange": [record.exchange for record in records],
        "kind": [record.kind.name.lower() for record in records],
        "symbol": [record.symbol for record in records],
        "key": [record.record_key for record in records],
    }
    return pa.table(columns, schema=HELD)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path)


def whole(run: Run, count: int = 20) -> Run:
    run.send(REPLY)
    for number in range(1, count + 1):
        run.send(trade(number))
        run.send(depth(number))
    return run


def test_a_whole_run_is_ok_and_the_equation_closes(run: Run) -> None:
    report = whole(run).report()
    venue = report.venues["binance"]
    assert report.ok
    assert (venue.frames_sent, venue.raw, venue.events_sent) == (41, 41, 41)
    assert (venue.normalized, venue.ignored, venue.quarantined, venue.missed) == (40, 1, 0, 0)
    assert (venue.clickhouse, venue.timescale) == (40, 20)
    assert venue.kinds == {"book": 20, "trade": 20}
    assert report.events_per_s == 4.1


def test_a_row_lost_by_one_store_is_reported_exactly(run: Run) -> None:
    whole(run)
    del run.held["timescale"][6]
    report = run.report()
    assert not report.ok
    assert report.venues["binance"].lost == 1
    assert report.venues["binance"].store_lost["timescale"] == 1
    assert report.examples == [Example("binance", "lost in timescale", "trade", "BTC-USDT", "7")]


def test_a_row_held_twice_is_reported_exactly(run: Run) -> None:
    whole(run)
    run.held["clickhouse"].append(run.held["clickhouse"][3])
    report = run.report()
    assert not report.ok
    assert report.venues["binance"].duplicated == 1
    assert report.examples == [
        Example("binance", "duplicated in clickhouse", "book", "BTC-USDT", "depth@100ms/d/2")
    ]


def test_what_the_parser_swallowed_is_lost_in_every_store(run: Run) -> None:
    whole(run)
    run.send(trade(21), parsed=False)
    venue = run.report().venues["binance"]
    assert venue.store_lost == {"clickhouse": 1, "timescale": 1, "quarantine": 0}
    assert venue.unaccounted == 1


@pytest.mark.parametrize("fate", [SENT, WITHHELD])
def test_a_frame_that_never_reached_the_raw_topic_is_missed_and_undeclared(run: Run, fate: str) -> None:
    whole(run)
    run.send(trade(21), fate=fate, arrives=False)
    report = run.report()
    venue = report.venues["binance"]
    assert (venue.missed, venue.missed_undeclared, venue.lost) == (1, 1, 0)
    assert report.examples == [Example("binance", "missed_undeclared", "trade", "BTC-USDT", "21")]
    assert report.reasons() == ["binance: 1 missed_undeclared"]


@pytest.mark.parametrize(
    ("channel", "bounds", "declared"),
    [
        ("trade", {"from_sequence": 21, "to_sequence": 21}, True),
        ("trade", {"from_sequence": 22, "to_sequence": 30}, False),
        ("trade", {"from_sequence": 20}, True),
        ("depth@100ms", {"from_sequence": 21, "to_sequence": 21}, False),
        ("trade", {"from_time_ns": T0 + 20 * STEP, "to_time_ns": T0 + 22 * STEP}, True),
        ("trade", {"from_time_ns": T0 + 40 * STEP, "to_time_ns": T0 + 42 * STEP}, True),
        ("trade", {"from_time_ns": T0 + 60 * STEP, "to_time_ns": 0}, False),
        # the venue's clock was put back: the first good event is older than the last good one
        (
            "trade",
            {
                "from_time_ns": T0 + 60 * STEP,
                "to_time_ns": T0 + 42 * STEP,
                "detected_time_ns": T0 + 20 * STEP,
            },
            True,
        ),
        (
            "trade",
            {
                "from_time_ns": T0 + 60 * STEP,
                "to_time_ns": T0 + 50 * STEP,
                "detected_time_ns": T0 + 55 * STEP,
            },
            False,
        ),
    ],
)
def test_only_a_gap_of_its_channel_and_bounds_declares_what_is_missed(
    run: Run, channel: str, bounds: dict[str, int], declared: bool
) -> None:
    whole(run)
    run.send(trade(21), arrives=False)
    run.send(trade(22))
    run.declare(channel, GapState.OPEN, **bounds)
    report = run.report()
    assert (report.venues["binance"].missed, report.ok) == (1, declared)


def test_what_was_missed_on_the_stream_and_repaired_from_history_is_not_missed(run: Run) -> None:
    whole(run)
    run.send(trade(21), arrives=False)
    run.send(trade(21))
    assert run.report().ok


def test_a_broken_frame_counts_as_quarantined_and_its_events_as_missed(run: Run) -> None:
    whole(run)
    run.send(trade(21), fate=WITHHELD)
    run.send(CUT)
    run.reject(None, "undecodable")
    run.declare("trade", from_sequence=21, to_sequence=21)
    report = run.report()
    venue = report.venues["binance"]
    assert report.ok
    assert (venue.quarantined, venue.missed, venue.events_sent) == (1, 1, 43)


def test_a_broken_frame_that_nobody_quarantined_is_lost(run: Run) -> None:
    whole(run)
    run.send(CUT)
    venue = run.report().venues["binance"]
    assert (venue.lost, venue.store_lost["quarantine"], venue.unaccounted) == (1, 1, 1)


def test_a_record_that_was_quarantined_need_not_be_in_a_store(run: Run) -> None:
    whole(run)
    (record,) = run.send(trade(21), parsed=False)
    run.reject(record, "price_not_positive")
    report = run.report()
    assert report.ok
    assert report.venues["binance"].quarantined == 1


def test_a_record_noted_softly_must_be_in_every_store(run: Run) -> None:
    whole(run)
    (record,) = run.send(trade(21), parsed=False)
    run.reject(record, "size_odd", Severity.SOFT)
    assert run.report().venues["binance"].lost == 2


def test_the_same_event_sent_twice_is_one(run: Run) -> None:
    whole(run)
    run.send(trade(20), parsed=False)
    report = run.report()
    assert report.ok
    assert (report.venues["binance"].events_sent, report.venues["binance"].raw) == (41, 42)


def test_a_control_message_that_got_lost_is_missed_and_needs_no_gap(run: Run) -> None:
    whole(run)
    run.send(REPLY, arrives=False)
    report = run.report()
    assert report.ok
    assert (report.venues["binance"].ignored, report.venues["binance"].missed) == (1, 1)


def test_a_record_that_no_venue_sent_is_unexpected(run: Run) -> None:
    whole(run)
    frame = Frame("binance", "c1", 999, STREAM_URL, T0, trade(500))
    (record,) = [outcome for outcome in run.parser.parse(frame) if isinstance(outcome, Record)]
    run.normalized.append(encode(record))
    report = run.report()
    assert report.venues["binance"].unexpected == 1
    assert [(example.what, example.record_key) for example in report.examples] == [("unexpected", "500")]


def test_a_gap_that_is_said_to_be_repaired_declares_nothing_any_more(run: Run) -> None:
    whole(run)
    run.send(trade(21), arrives=False)
    run.declare("trade", from_sequence=21, to_sequence=21)
    run.declare("trade", GapState.REPAIRED, from_sequence=21, to_sequence=21)
    report = run.report()
    assert report.venues["binance"].missed_undeclared == 1
    assert report.venues["binance"].gaps == {"repaired": 1}


def test_ids_that_a_gap_declares_beyond_the_truth_are_counted(run: Run) -> None:
    whole(run)
    run.send(trade(23), arrives=False)
    run.declare("trade", from_sequence=21, to_sequence=24)
    run.declare("trade", GapState.SOURCE_HOLE, from_sequence=30, to_sequence=40)
    report = run.report()
    assert report.ok
    assert report.venues["binance"].declared_excess_ids == 3
    assert report.venues["binance"].gaps == {"open": 1, "source_hole": 1}


def test_a_record_whose_frame_never_reached_the_raw_topic_is_not_missed(run: Run) -> None:
    whole(run)
    run.send(trade(21))
    run.frames.pop()
    report = run.report()
    venue = report.venues["binance"]
    assert report.ok
    assert (venue.ahead_of_raw, venue.missed, venue.normalized, venue.raw) == (1, 0, 41, 41)


def test_what_is_answered_after_the_stop_is_asked_of_nobody(run: Run) -> None:
    whole(run)
    run.send(depth(99), fate=LATE, parsed=False)
    run.frames.append(Frame("binance", "c1", 99, STREAM_URL, T0, depth(99)))
    report = run.report()
    assert report.ok
    assert report.venues["binance"].events_sent == 41


def test_what_is_answered_after_the_stop_and_stored_is_neither_unexpected_nor_counted(run: Run) -> None:
    whole(run)
    run.send(depth(99), fate=LATE)
    frame = Frame("binance", "c1", 99, STREAM_URL, T0, depth(99))
    (record,) = [outcome for outcome in run.parser.parse(frame) if isinstance(outcome, Record)]
    run.frames.append(frame)
    run.normalized.append(encode(record))
    run.held["clickhouse"].append(record)
    report = run.report()
    venue = report.venues["binance"]
    assert report.ok
    assert (venue.normalized, venue.clickhouse, venue.unexpected) == (40, 40, 0)
    assert report.examples == []


@pytest.mark.parametrize(("first", "last", "excess"), [(3, 4, 0), (3, 5, 1), (2, 6, 3)])
def test_ids_of_a_book_that_are_declared_missing_and_came_are_excess(
    run: Run, first: int, last: int, excess: int
) -> None:
    for number in range(1, 8):
        run.send(depth(number), fate=WITHHELD if number in (3, 4) else SENT)
    run.declare("depth@100ms", GapState.UNREPAIRABLE, from_sequence=first, to_sequence=last)
    venue = run.report().venues["binance"]
    assert (venue.declared_excess_ids, venue.missed_undeclared) == (excess, 0)


# the join


def test_the_truth_of_an_earlier_version_is_refused(run: Run) -> None:
    with run.ledger as ledger, pytest.raises(UsageError, match="begin a new state"):
        ledger.add_truth("binance", [TruthLine(T0, STREAM, SENT, [told(trade(1))])])


def test_a_frame_whose_bytes_changed_on_the_way_is_known_to_nobody_and_its_event_is_missed(run: Run) -> None:
    whole(run)
    run.send(trade(21))
    run.frames[-1] = msgspec.structs.replace(
        run.frames[-1], payload=trade(21).replace(b"61837.63", b"61837.64")
    )
    report = run.report()
    venue = report.venues["binance"]
    assert (venue.unknown_frames, venue.ahead_of_raw, venue.raw) == (1, 1, 42)
    assert report.reasons() == ["binance: 1 unknown_frames"]


def test_equal_bytes_are_told_apart_by_their_occurrence_on_the_connection(run: Run) -> None:
    """Contents without an id: the second of two equal ones is another event, and so it is on a new connection."""
    payload = trade(1)
    for connection_id, key in (("c1", "x/0"), ("c1", "x/1"), ("c2", "x/0")):
        event = TruthEvent("quote", "BTC-USDT", key, T0)
        run.send(payload, event=event, parsed=False, connection_id=connection_id)
    run.send(
        payload,
        event=TruthEvent("quote", "BTC-USDT", "x/1", T0),
        parsed=False,
        connection_id="c2",
        arrives=False,
    )
    venue = run.report().venues["binance"]
    assert (venue.events_sent, venue.missed, venue.raw) == (2, 0, 3)
    assert venue.store_lost == {"clickhouse": 2, "timescale": 2, "quarantine": 0}


def test_what_went_to_two_connections_was_told_once_and_is_no_double(run: Run) -> None:
    whole(run)
    run.frames += [msgspec.structs.replace(frame, connection_id="c2") for frame in run.frames]
    report = run.report()
    assert report.ok
    assert (report.venues["binance"].frames_sent, report.venues["binance"].raw) == (41, 82)


def test_the_lines_of_a_daily_file_are_known_one_by_one(run: Run) -> None:
    path, place = "/data/spot/BTCUSDT-trades.zip?", "data/spot/BTCUSDT-trades"
    rows = [f"{n},61837.63,0.02".encode() for n in range(1, 6)]
    told_of_rows = [TruthEvent("trade", "BTC-USDT", str(n), T0) for n in range(1, 6)]
    digests = [digest_of(row, place) for row in rows]
    run.truth.append(TruthLine(T0, path, SENT, told_of_rows, digests=digests))
    endpoint = "archive:http://127.0.0.1:1/binance/data/spot/BTCUSDT-trades.csv#lines={};sha256=0"
    for first, last in ((1, 2), (4, 5)):
        payload = b"".join(row + b"\n" for row in rows[first - 1 : last])
        run.frames.append(Frame("binance", "a", first, endpoint.format(f"{first}-{last}"), T0, payload))
    venue = run.report().venues["binance"]
    assert (venue.frames_sent, venue.raw, venue.unknown_frames) == (1, 2, 0)
    assert (venue.events_sent, venue.missed, venue.missed_kinds) == (5, 1, {"trade": 1})


# events without a key of their own


def placed(run: Run, count: int = 20) -> Run:
    for number in range(1, count + 1):
        run.send(trade(number))
        run.send(depth(number), event=TruthEvent("book", "BTC-USDT", PLACED, T0 + number))
    return run


def test_an_event_that_is_known_by_its_place_is_held_against_what_its_frame_gave(run: Run) -> None:
    report = placed(run).report()
    venue = report.venues["binance"]
    assert report.ok
    assert (venue.events_sent, venue.normalized, venue.missed, venue.unexpected) == (40, 40, 0, 0)
    assert (venue.kinds, report.notes) == ({"book": 20, "trade": 20}, [])


def test_of_such_events_one_that_is_lost_missed_or_made_of_another_symbol_is_found(run: Run) -> None:
    placed(run)
    del run.held["clickhouse"][3]
    run.send(depth(21), event=TruthEvent("book", "BTC-USDT", PLACED), fate=WITHHELD)
    run.send(depth(22), event=TruthEvent("book", "ETH-USDT", PLACED))
    venue = run.report().venues["binance"]
    assert (venue.missed, venue.missed_undeclared, venue.missed_kinds) == (1, 1, {"book": 1})
    assert (venue.lost, venue.unexpected) == (2, 1)


# recordings of which nobody told anything


def recorded(run: Run, count: int = 20) -> Run:
    for number in range(1, count + 1):
        run.send(trade(number), event=UNTOLD)
        run.send(depth(number), event=UNTOLD)
    run.send(REPLY, event=UNTOLD)
    return run


def test_a_frame_that_nobody_told_anything_of_stands_for_what_the_parser_made_of_it(run: Run) -> None:
    report = recorded(run).report()
    venue = report.venues["binance"]
    assert report.ok
    assert (venue.events_sent, venue.normalized, venue.ignored, venue.missed) == (41, 40, 1, 0)
    assert (venue.kinds, venue.unexpected) == ({"book": 20, "frame": 1, "trade": 20}, 0)
    assert "binance: nobody told what the recording's frames are" in report.notes[0]


def test_of_such_a_recording_a_lost_and_a_doubled_row_a_missed_and_a_rejected_frame_are_found(
    run: Run,
) -> None:
    recorded(run)
    del run.held["timescale"][6]
    run.held["clickhouse"].append(run.held["clickhouse"][3])
    run.send(CUT, event=UNTOLD)
    run.reject(None, "undecodable")
    run.send(trade(22), event=UNTOLD, arrives=False)
    report = run.report()
    venue = report.venues["binance"]
    assert (venue.lost, venue.duplicated, venue.quarantined, venue.unaccounted) == (1, 1, 1, 0)
    assert (venue.missed, venue.missed_undeclared, venue.missed_kinds) == (1, 1, {"frame": 1})
    assert report.examples == [
        Example("binance", "duplicated in clickhouse", "book", "BTC-USDT", "depth@100ms/d/2"),
        Example("binance", "lost in timescale", "trade", "BTC-USDT", "7"),
        Example("binance", "missed_undeclared", "frame", "", "43"),
    ]


@pytest.mark.parametrize(("from_ns", "declared"), [(T0 + 41 * STEP, True), (T0 + 60 * STEP, False)])
def test_a_missed_frame_may_lie_in_any_gap_of_its_venue_by_the_time_of_sending(
    run: Run, from_ns: int, declared: bool
) -> None:
    recorded(run)
    run.send(trade(22), event=UNTOLD, arrives=False)
    run.declare("trade", from_time_ns=from_ns, to_time_ns=0)
    assert run.report().ok == declared
