"""What the venues sent against what each store holds, by identity. The words are those of contract.md, section 6.

    truth files ─┐
    raw topic ───┤ the same identities from the same frames, by code that knows no parser
    normalized ──┼─▶ Ledger (DuckDB, bounded memory) ─▶ Report
    quarantine ──┤
    stores ──────┘

For each venue, in distinct identities, where control messages and broken frames count one by one:

    events_sent = missed + quarantined + ignored + normalized
"""

# ruff: noqa: S608  (the ledger's SQL is put together from texts of this file)

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from pathlib import Path
from typing import Any

import duckdb
import msgspec
import pyarrow as pa
from confluent_kafka import Message
from msgspec import Struct

from etl import exchanges
from etl.errors import UsageError, WireError
from etl.model.records import BookAction, Frame, Gap, GapState, Kind, Record, Severity
from etl.monitoring import processes as status
from etl.reconcile import holdings
from etl.reconcile.holdings import HELD
from etl.settings import Settings
from etl.simulator import truth
from etl.simulator.identities import IGNORED, INVALID, Contents, events
from etl.simulator.truth import LATE, SENT, STREAM, TruthLine
from etl.transports.kafka import frame_of
from etl.transports.ranges import RangeReader
from etl.wire import codec

READ_MESSAGES_MAX = 10_000
ROWS_PER_BATCH = 50_000
LEDGER_MEMORY = "1GB"
EXAMPLES_MAX = 10
TIME_TOLERANCE_NS = 2_000_000
"""A venue's stream cuts times to ms where its history has ns; a bound may be one ms off."""
METRICS_PORTS = 24
"""How many ports after ``metrics_port`` are asked for metrics: more than there are parts."""
CONNECTIONS_MAX = 256
"""Connections at once on a partition whose contents are remembered."""
GROUP = "reconcile"


class VenueReport(Struct, kw_only=True):
    """Counts of one venue. ``frames_sent`` and ``raw`` are frames, all else events. ``unexpected`` are records that
    no venue sent; ``store_lost`` and ``store_duplicated`` say where."""

    session: str = "synthetic"
    frames_sent: int = 0
    events_sent: int = 0
    raw: int = 0
    normalized: int = 0
    quarantined: int = 0
    ignored: int = 0
    clickhouse: int = 0
    timescale: int = 0
    lake: int = 0
    missed: int = 0
    missed_undeclared: int = 0
    lost: int = 0
    duplicated: int = 0
    physical_duplicates: int = 0
    unexpected: int = 0
    ahead_of_tape: int = 0
    """Records whose frame never reached the raw topic: a kill fell between the two. They are not missed."""
    unaccounted: int = 0
    """events_sent - missed - quarantined - ignored - normalized; anything but 0 is a fault."""
    declared_excess_ids: int = 0
    """Ids of trades that a gap declares missing and that no venue gave out, source holes aside; and ids of a book's
    changes that a gap declares missing and that came."""
    gaps: dict[str, int] = {}
    """Declared gaps by their last state."""
    store_lost: dict[str, int] = {}
    store_duplicated: dict[str, int] = {}
    kinds: dict[str, int] = {}
    """Distinct identities sent, by kind."""
    missed_kinds: dict[str, int] = {}


class Percentiles(Struct):
    p50: float | None = None
    p99: float | None = None


class Example(Struct):
    """An identity that shows a fault. ``what`` is ``lost in …``, ``duplicated in …`` or ``missed_undeclared``."""

    exchange: str
    what: str
    kind: str
    symbol: str
    record_key: str


class Report(Struct, kw_only=True):
    ok: bool
    duration_s: float
    venues: dict[str, VenueReport]
    latency_ms: dict[str, Percentiles]
    events_per_s: float
    stores: list[str] = []
    examples: list[Example] = []
    notes: list[str] = []

    def reasons(self) -> list[str]:
        """Why it is not ok, one line each."""
        return [
            f"{name}: {getattr(venue, field):,} {field}"
            for name, venue in self.venues.items()
            for field in ("lost", "duplicated", "missed_undeclared", "unaccounted")
            if getattr(venue, field)
        ]


def reconcile(
    settings: Settings, stores: Sequence[str] = tuple(holdings.STORES), duration_s: float = 0.0
) -> Report:
    """Compare everything. Raises ``EtlError`` if a side cannot be read, ``UsageError`` if there is no truth."""
    found = sorted((settings.state_path / "truth").glob("*.jsonl"))
    if not found:
        raise UsageError(
            f"{settings.state_path / 'truth'}: no truth; only a run against simulated venues is judged"
        )
    names = [path.stem for path in found]
    with tempfile.TemporaryDirectory(prefix="reconcile-") as scratch, Ledger(Path(scratch)) as ledger:
        for path in found:
            ledger.add_truth(path.stem, truth.read(path))
        ledger.add_raw(map(frame_of, _messages(settings, settings.topics.raw)))
        ledger.add_normalized(map(_value, _messages(settings, settings.topics.normalized)))
        ledger.add_quarantine(map(_value, _messages(settings, settings.topics.quarantine)))
        for store in stores:
            for rows in holdings.STORES[store](settings, names):
                ledger.add_held(store, rows)
        report = ledger.report({store: holdings.kinds_of(store, settings) for store in stores}, duration_s)
    _add_clickhouse_figures(settings, report, stores)
    _add_ack_latency(settings, report)
    return report


def _value(message: Message) -> bytes:
    return message.value() or b""


def _messages(settings: Settings, topic: str) -> Iterator[Message]:
    """Every message of ``topic`` up to now."""
    with RangeReader(settings, topic, GROUP) as reader:
        for partition, bounds in reader.bounds().items():
            for batch in reader.read(partition, bounds.low, bounds.high, READ_MESSAGES_MAX):
                yield from batch


def _add_clickhouse_figures(settings: Settings, report: Report, stores: Sequence[str]) -> None:
    if "clickhouse" not in stores:
        return
    names = list(report.venues)
    for name, doubles in holdings.clickhouse_physical_duplicates(settings, names).items():
        report.venues[name].physical_duplicates = doubles
    p50, p99 = holdings.clickhouse_latency_ms(settings, names)
    report.latency_ms["receive_to_clickhouse"] = Percentiles(round(p50, 3), round(p99, 3))


def _add_ack_latency(settings: Settings, report: Report) -> None:
    """From the workers that still run; their histograms know nothing beyond their last bound."""
    ports = range(settings.metrics.port, settings.metrics.port + METRICS_PORTS)
    samples = status.scrape_all(ports, settings.bind_host)
    found = [status.quantile(samples, "etl_ack_latency_seconds", q) for q in (0.5, 0.99)]
    p50, p99 = (None if seconds in (None, inf) else round((seconds or 0.0) * 1e3, 3) for seconds in found)
    report.latency_ms["receive_to_kafka_ack"] = Percentiles(p50, p99)


# the ledger

_TABLES = """
CREATE TABLE sent (exchange TEXT, kind TEXT, symbol TEXT, key TEXT, time_ns BIGINT, sent_ns BIGINT, streamed BOOLEAN);
CREATE TABLE late (exchange TEXT, kind TEXT, symbol TEXT, key TEXT);
CREATE TABLE raw (exchange TEXT, kind TEXT, symbol TEXT, key TEXT, receive_ns BIGINT,
                  connection_id TEXT, frame_sequence BIGINT, frame_index BIGINT);
CREATE TABLE normalized (exchange TEXT, kind TEXT, symbol TEXT, key TEXT, first_id BIGINT, last_id BIGINT);
CREATE TABLE book_gaps (exchange TEXT, symbol TEXT, first_id BIGINT, last_id BIGINT);
CREATE TABLE quarantine (exchange TEXT, kind TEXT, symbol TEXT, key TEXT,
                         connection_id TEXT, frame_sequence BIGINT, frame_index BIGINT);
CREATE TABLE held (store TEXT, exchange TEXT, kind TEXT, symbol TEXT, key TEXT);
"""

_IDENTITIES = """
CREATE TABLE sent_once AS
    SELECT exchange, kind, symbol, key, min(time_ns) AS time_ns, min(sent_ns) AS sent_ns, bool_or(streamed) AS streamed
    FROM sent WHERE kind NOT IN ('ignored', 'invalid') GROUP BY ALL;
CREATE TABLE late_once AS
    SELECT DISTINCT exchange, kind, symbol, key FROM late ANTI JOIN sent_once USING (exchange, kind, symbol, key);
CREATE TABLE normalized_once AS SELECT DISTINCT exchange, kind, symbol, key FROM normalized;
CREATE TABLE on_tape AS
    SELECT exchange, kind, symbol, key, min(receive_ns) AS receive_ns
    FROM raw SEMI JOIN sent_once USING (exchange, kind, symbol, key)
    WHERE kind NOT IN ('ignored', 'invalid') GROUP BY ALL;
CREATE TABLE ahead_of_tape AS
    SELECT exchange, kind, symbol, key FROM normalized_once
    SEMI JOIN sent_once USING (exchange, kind, symbol, key) ANTI JOIN on_tape USING (exchange, kind, symbol, key);
CREATE TABLE arrived AS
    SELECT * FROM on_tape UNION ALL SELECT exchange, kind, symbol, key, 0 FROM ahead_of_tape;
CREATE TABLE quarantined_once AS
    SELECT DISTINCT exchange, kind, symbol, key FROM (
        SELECT exchange, kind, symbol, key FROM quarantine WHERE key <> ''
        UNION ALL
        SELECT r.exchange, r.kind, r.symbol, r.key
        FROM raw r SEMI JOIN quarantine q USING (exchange, connection_id, frame_sequence, frame_index)
        WHERE r.kind NOT IN ('ignored', 'invalid'));
CREATE TABLE missed AS SELECT * FROM sent_once ANTI JOIN arrived USING (exchange, kind, symbol, key);
"""

_UNSEEN = """
SELECT m.exchange, m.kind, m.symbol, m.key, m.time_ns, m.sent_ns, coalesce(s.receive_ns, 0)
FROM missed m ASOF LEFT JOIN (
    SELECT exchange, kind, symbol, sent_ns, receive_ns
    FROM sent_once SEMI JOIN (SELECT DISTINCT exchange, kind, symbol FROM missed) USING (exchange, kind, symbol)
    JOIN on_tape USING (exchange, kind, symbol, key)
) s ON m.exchange = s.exchange AND m.kind = s.kind AND m.symbol = s.symbol AND m.sent_ns >= s.sent_ns
WHERE m.streamed ORDER BY m.sent_ns
"""


_BOOK_EXCESS = """
SELECT g.exchange, sum(least(g.last_id, n.last_id) - greatest(g.first_id, n.first_id) + 1)
FROM book_gaps g JOIN (SELECT DISTINCT exchange, symbol, first_id, last_id FROM normalized WHERE kind = 'book') n
  ON g.exchange = n.exchange AND g.symbol = n.symbol AND n.first_id <= g.last_id AND n.last_id >= g.first_id
GROUP BY g.exchange
"""


class Ledger:
    """All sides in one scratch database: memory is bounded, the rest is on disk."""

    def __init__(self, scratch: Path) -> None:
        self._database = duckdb.connect(
            str(scratch / "ledger.duckdb"),
            config={"memory_limit": LEDGER_MEMORY, "temp_directory": str(scratch), "threads": 2},
        )
        self._database.execute(_TABLES)
        self._frames_sent: Counter[str] = Counter()
        self._frames_raw: Counter[str] = Counter()
        self._uncounted: dict[str, Counter[tuple[str, str]]] = {"sent": Counter(), "raw": Counter()}
        self._recorded: set[str] = set()
        self._venues: list[str] = []
        self._gaps: dict[tuple[str, str, str], Gap] = {}
        self._examples: list[Example] = []

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self._database.close()

    # the sides

    def add_truth(self, exchange: str, lines: Iterable[TruthLine]) -> None:
        self._venues.append(exchange)
        late: list[tuple[Any, ...]] = []
        self._insert("sent", self._truth_rows(exchange, lines, late))
        self._insert("late", iter(late))

    def _truth_rows(
        self, exchange: str, lines: Iterable[TruthLine], late: list[tuple[Any, ...]]
    ) -> Iterator[tuple[Any, ...]]:
        """What was sent; ``late`` gets what was answered after the end, which a store may hold and need not."""
        counts = self._uncounted["sent"]
        for line in lines:
            if line.fate == LATE:
                events = (event for event in line.events if event.kind not in (IGNORED, INVALID))
                late += [(exchange, *event_identity(event)) for event in events]
                continue
            if line.fate == SENT:
                self._frames_sent[exchange] += 1
            elif all(event.kind in (IGNORED, INVALID) for event in line.events):
                continue
            if line.position:
                self._recorded.add(exchange)
            streamed = line.endpoint == STREAM
            for event in line.events:
                if event.kind in (IGNORED, INVALID):
                    counts[exchange, event.kind] += line.fate == SENT
                else:
                    yield (exchange, *event_identity(event), event.time_ns, line.time_ns, streamed)

    def add_raw(self, frames: Iterable[Frame]) -> None:
        """After the truth: of other venues nothing is known."""
        self._insert("raw", self._raw_rows(frames))

    def _raw_rows(self, frames: Iterable[Frame]) -> Iterator[tuple[Any, ...]]:
        counts = self._uncounted["raw"]
        contents: dict[str, Contents] = {}
        for frame in frames:
            if frame.exchange not in self._venues:
                continue
            self._frames_raw[frame.exchange] += 1
            is_streamed = frame.endpoint.startswith("ws")
            seen = contents.setdefault(frame.connection_id, {}) if is_streamed else None
            if len(contents) > CONNECTIONS_MAX:
                del contents[next(iter(contents))]
            for index, event in enumerate(events(frame.exchange, frame.payload, frame.endpoint, seen)):
                if event.kind == IGNORED:
                    counts[frame.exchange, IGNORED] += 1
                    continue
                place = (frame.connection_id, frame.frame_sequence, index)
                yield (frame.exchange, *event_identity(event), frame.receive_time_ns, *place)

    def add_normalized(self, messages: Iterable[bytes]) -> None:
        """Encoded ``MarketData``; gaps are kept aside."""
        self._insert("normalized", self._normalized_rows(messages))

    def _normalized_rows(self, messages: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        kinds = {int(kind): kind.name.lower() for kind in Kind}
        for message in messages:
            record = codec.MarketData.FromString(message)
            if record.exchange not in self._venues:
                continue
            if record.kind == int(Kind.GAP):
                self.add_gap(codec.decode(message))
            else:
                first_id, last_id = _ids_of_change(record)
                yield (
                    record.exchange, kinds[record.kind], record.symbol, record.record_key, first_id, last_id
                )  # fmt: skip

    def add_gap(self, record: Record) -> None:
        """The last state of a gap wins."""
        assert isinstance(record, Gap)
        identity = (record.exchange, record.symbol, record.record_key)
        known = self._gaps.get(identity)
        if known is None or (known.receive_time_ns, known.gap_state) <= (
            record.receive_time_ns,
            record.gap_state,
        ):
            self._gaps[identity] = record

    def add_quarantine(self, messages: Iterable[bytes]) -> None:
        """Encoded ``Quarantined``; what is merely noted (soft) is in the stores as well."""
        self._insert("quarantine", self._quarantine_rows(messages))

    def _quarantine_rows(self, messages: Iterable[bytes]) -> Iterator[tuple[Any, ...]]:
        for message in messages:
            item = codec.decode_quarantined(message)
            if item.severity is not Severity.HARD:
                continue
            identity = ("", "", "")
            if item.record:
                try:
                    record = codec.decode(item.record)
                    identity = (record.kind.name.lower(), record.symbol, record.record_key)
                except WireError:
                    identity = ("", "", "")
            yield (item.exchange, *identity, item.connection_id, item.frame_sequence, item.frame_index)

    def add_held(self, store: str, rows: pa.Table) -> None:
        """``rows`` of ``store`` under ``holdings.HELD``."""
        arriving = rows.cast(HELD)  # noqa: F841  DuckDB finds it by its name
        self._database.execute(
            "INSERT INTO held SELECT ?, exchange, kind, symbol, key FROM arriving", [store]
        )

    def _insert(self, table: str, rows: Iterator[tuple[Any, ...]]) -> None:
        while batch := list(islice(rows, ROWS_PER_BATCH)):
            names = [f"c{n}" for n in range(len(batch[0]))]
            columns = pa.table(dict(zip(names, map(list, zip(*batch, strict=True)), strict=True)))  # noqa: F841
            self._database.execute(f"INSERT INTO {table} SELECT * FROM columns")

    # the comparison

    def report(self, stores: Mapping[str, Sequence[Kind]], duration_s: float) -> Report:
        self._database.execute(_IDENTITIES)
        venues = {name: VenueReport() for name in self._venues}
        self._fill_counts(venues)
        for store, kinds in stores.items():
            self._fill_store(venues, store, [kind.name.lower() for kind in kinds])
        self._fill_undeclared(venues)
        self._fill_uncounted(venues)
        for venue in venues.values():
            venue.lost += sum(venue.store_lost.values())
            venue.duplicated = sum(venue.store_duplicated.values())
            accounted = venue.missed + venue.quarantined + venue.ignored + venue.normalized
            venue.unaccounted = venue.events_sent - accounted
        total = sum(venue.events_sent for venue in venues.values())
        report = Report(
            ok=False,
            duration_s=duration_s,
            venues=venues,
            latency_ms={},
            events_per_s=round(total / duration_s, 1) if duration_s else 0.0,
            stores=list(stores),
            examples=self._examples,
        )
        report.ok = not report.reasons()
        if self._recorded:
            report.notes.append(
                f"{', '.join(sorted(self._recorded))}: a recording was served; its times are of another day, so rules "
                "of lateness were off"
            )
        return report

    def _count(self, sql: str, parameters: Sequence[Any] = ()) -> dict[str, int]:
        """Rows by exchange; ``sql`` is what follows FROM."""
        rows = self._database.execute(
            f"SELECT exchange, count(*) FROM {sql} GROUP BY exchange",
            list(parameters),
        ).fetchall()
        return dict(rows)

    def _fill_counts(self, venues: Mapping[str, VenueReport]) -> None:
        identity = "USING (exchange, kind, symbol, key)"
        normalized = self._count(f"normalized_once SEMI JOIN sent_once {identity}")
        quarantined = self._count(
            f"quarantined_once SEMI JOIN sent_once {identity} SEMI JOIN arrived {identity} "
            f"ANTI JOIN normalized_once {identity}"
        )
        ahead = self._count("ahead_of_tape")
        never_sent = (
            f"(SELECT * FROM normalized_once ANTI JOIN sent_once {identity} ANTI JOIN late_once {identity})"
        )
        unexpected = self._count(never_sent)
        self._note_examples("unexpected", never_sent, [], unexpected)
        sent, missed = self._count("sent_once"), self._count("missed")
        kinds = self._database.execute(
            "SELECT exchange, kind, count(*) FROM sent_once GROUP BY ALL"
        ).fetchall()
        missed_kinds = self._database.execute(
            "SELECT exchange, kind, count(*) FROM missed GROUP BY ALL"
        ).fetchall()
        for name, venue in venues.items():
            venue.missed_kinds = {k: count for exchange, k, count in sorted(missed_kinds) if exchange == name}
            venue.session = "recording" if name in self._recorded else "synthetic"
            venue.frames_sent, venue.raw = self._frames_sent[name], self._frames_raw[name]
            venue.events_sent, venue.missed = sent.get(name, 0), missed.get(name, 0)
            venue.normalized, venue.quarantined = normalized.get(name, 0), quarantined.get(name, 0)
            venue.unexpected, venue.ahead_of_tape = unexpected.get(name, 0), ahead.get(name, 0)
            venue.gaps = dict(
                Counter(gap.gap_state.name.lower() for gap in self._gaps.values() if gap.exchange == name)
            )
            venue.kinds = {kind: count for exchange, kind, count in sorted(kinds) if exchange == name}

    def _fill_store(self, venues: Mapping[str, VenueReport], store: str, kinds: Sequence[str]) -> None:
        identity = "USING (exchange, kind, symbol, key)"
        held = (
            "(SELECT exchange, kind, symbol, key, count(*) AS copies FROM held"
            f" ANTI JOIN late_once {identity} WHERE store = ? GROUP BY ALL)"
        )
        absent = (
            f"(SELECT * FROM arrived WHERE list_contains(?, kind)) ANTI JOIN {held} {identity} "
            f"ANTI JOIN quarantined_once {identity}"
        )
        doubled = f"(SELECT * FROM {held} WHERE copies > 1)"
        lost = self._count(absent, [list(kinds), store])
        duplicated = self._count(doubled, [store])
        rows = self._count(held, [store])
        for name, venue in venues.items():
            setattr(venue, store, rows.get(name, 0))
            venue.store_lost[store] = lost.get(name, 0)
            venue.store_duplicated[store] = duplicated.get(name, 0)
        self._note_examples(f"lost in {store}", absent, [list(kinds), store], lost)
        self._note_examples(f"duplicated in {store}", doubled, [store], duplicated)

    def _note_examples(
        self, what: str, sql: str, parameters: Sequence[Any], counts: Mapping[str, int]
    ) -> None:
        for exchange in counts:
            rows = self._database.execute(
                f"SELECT exchange, kind, symbol, key FROM {sql} WHERE exchange = ? ORDER BY key LIMIT {EXAMPLES_MAX}",
                [*parameters, exchange],
            ).fetchall()
            self._examples += [Example(name, what, kind, symbol, key) for name, kind, symbol, key in rows]

    def _fill_undeclared(self, venues: Mapping[str, VenueReport]) -> None:
        declared = Declared(self._gaps.values())
        shown: Counter[str] = Counter()
        cursor = self._database.execute(_UNSEEN)
        while rows := cursor.fetchmany(ROWS_PER_BATCH):
            for exchange, kind, symbol, key, time_ns, sent_ns, previous_ns in rows:
                if declared.covers(exchange, kind, symbol, key, time_ns, sent_ns, previous_ns):
                    continue
                venues[exchange].missed_undeclared += 1
                if shown[exchange] < EXAMPLES_MAX:
                    shown[exchange] += 1
                    self._examples.append(Example(exchange, "missed_undeclared", kind, symbol, key))
        for exchange, ids in declared.trade_ids():
            venues[exchange].declared_excess_ids += ids
        for exchange, ids in self._count(
            "missed WHERE kind IN ('trade', 'agg_trade') AND regexp_full_match(key, '\\d+')"
        ).items():
            venues[exchange].declared_excess_ids = max(0, venues[exchange].declared_excess_ids - ids)
        self._insert("book_gaps", iter(declared.book_ids()))
        for exchange, ids in self._database.execute(_BOOK_EXCESS).fetchall():
            venues[exchange].declared_excess_ids += int(ids)

    def _fill_uncounted(self, venues: Mapping[str, VenueReport]) -> None:
        """Control messages and broken frames have no identity: they are counted."""
        sent, raw = self._uncounted["sent"], self._uncounted["raw"]
        broken = self._count("raw WHERE kind = 'invalid'")
        kept = self._count(
            "raw SEMI JOIN quarantine USING (exchange, connection_id, frame_sequence, frame_index) "
            "WHERE raw.kind = 'invalid'"
        )
        for name, venue in venues.items():
            ignored = min(sent[name, IGNORED], raw[name, IGNORED])
            arrived = broken.get(name, 0)
            venue.events_sent += sent[name, IGNORED] + sent[name, INVALID]
            venue.missed += sent[name, IGNORED] - ignored + sent[name, INVALID] - arrived
            venue.ignored = ignored
            venue.quarantined += kept.get(name, 0)
            venue.store_lost["quarantine"] = arrived - kept.get(name, 0)


def _ids_of_change(record: Any) -> tuple[int | None, int | None]:
    """The ids that a change of a book covers, by its message; ``None`` for anything else."""
    if record.kind != int(Kind.BOOK) or record.book_action == int(BookAction.SNAPSHOT):
        return None, None
    if record.HasField("previous_sequence"):
        return record.previous_sequence + 1, record.sequence
    return (record.first_sequence, record.sequence) if record.HasField("first_sequence") else (None, None)


def event_identity(event: truth.TruthEvent) -> tuple[str, str, str]:
    return event.kind, event.symbol, event.record_key


class Declared:
    """The gaps that were declared, and what lies inside them. One that is said to be repaired declares nothing
    any more: what is missing there is missing in silence."""

    def __init__(self, gaps: Iterable[Gap]) -> None:
        self._gaps: dict[tuple[str, str], list[tuple[str, Gap]]] = {}
        for gap in gaps:
            if gap.gap_state is not GapState.REPAIRED:
                kind = _kind_of(gap.exchange, gap.channel)
                self._gaps.setdefault((gap.exchange, gap.symbol), []).append((kind, gap))

    def trade_ids(self) -> Iterator[tuple[str, int]]:
        """How many ids of trades each gap declares missing, by exchange; source holes are not claimed."""
        for (exchange, _), gaps in self._gaps.items():
            for kind, gap in gaps:
                bounded = gap.from_sequence is not None and gap.to_sequence is not None
                if bounded and kind in ("trade", "agg_trade") and gap.gap_state is not GapState.SOURCE_HOLE:
                    yield exchange, (gap.to_sequence or 0) - (gap.from_sequence or 0) + 1

    def book_ids(self) -> Iterator[tuple[str, str, int, int]]:
        """Exchange, symbol, first and last id of each hole in a book's changes."""
        for (exchange, symbol), gaps in self._gaps.items():
            for kind, gap in gaps:
                if kind == "book" and gap.from_sequence is not None and gap.to_sequence is not None:
                    yield exchange, symbol, gap.from_sequence, gap.to_sequence

    def covers(
        self, exchange: str, kind: str, symbol: str, key: str, time_ns: int, sent_ns: int, previous_ns: int
    ) -> bool:
        """Whether an event is inside a gap of its symbol and channel: by its id, by its own time, or by the time of
        sending. ``previous_ns`` is when the last event before it was received: a slow reader's bound lies there."""
        number = key.rpartition("/")[2]
        sequence = int(number) if number.isdecimal() and kind != "bar" else None
        for gap_kind, gap in self._gaps.get((exchange, symbol), ()):
            if gap_kind and gap_kind != kind:
                continue
            if sequence is not None and _holds_sequence(gap, sequence):
                return True
            if _holds_time(gap, time_ns, time_ns) or _holds_time(gap, sent_ns, max(sent_ns, previous_ns)):
                return True
        return False


def _holds_sequence(gap: Gap, sequence: int) -> bool:
    if gap.from_sequence is None:
        return False
    return gap.from_sequence <= sequence and (gap.to_sequence is None or sequence <= gap.to_sequence)


def _holds_time(gap: Gap, earliest_ns: int, latest_ns: int) -> bool:
    """``from`` and ``to`` are the last good and the first good; 0 = none yet."""
    if not (gap.from_time_ns or gap.to_time_ns):
        return False
    began = gap.from_time_ns <= latest_ns + TIME_TOLERANCE_NS
    return began and (not gap.to_time_ns or earliest_ns <= gap.to_time_ns + TIME_TOLERANCE_NS)


def _kind_of(exchange: str, channel: str) -> str:
    """The kind that a channel carries; "" for one that the venue file does not name, which then stands for all."""
    found = exchanges.load(exchange).channel(channel)
    return found.kind.name.lower() if found else ""


def write_report(report: Report, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
