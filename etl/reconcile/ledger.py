"""All sides of a reconciliation in one scratch database: memory is bounded, the rest is on disk.

Each side is loaded as it is read; ``identities.sql`` then says which raw frame is which line of the truth, by the
digest of its bytes and by how many equal ones came before it on its connection. No frame is parsed here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from etl.errors import UsageError, WireError
from etl.model.records import BookAction, Frame, Gap, Kind, Record, Severity
from etl.reconcile.holdings import HELD
from etl.simulator.truth import ARCHIVE, FRAME, PLACED, SENT, STREAM, TruthLine, digest_of, place_of
from etl.transports.readable import readable
from etl.wire import codec

ROWS_PER_BATCH = 50_000
MEMORY = "1GB"
INT64_MAX = (1 << 63) - 1
SQL = Path(__file__).parent

Row = tuple[Any, ...]


class Ledger:
    """A context manager, of ``venues`` alone. The raw frames come before the truth, for a venue tells what it sends
    before it sends it; the records come after it, which says how they are known."""

    def __init__(self, scratch: Path, venues: Sequence[str]) -> None:
        self._database = duckdb.connect(
            str(scratch / "ledger.duckdb"),
            config={"memory_limit": MEMORY, "temp_directory": str(scratch), "threads": 2},
        )
        self._database.execute((SQL / "tables.sql").read_text())
        self._rows: dict[str, list[Row]] = {}
        self.venues = venues
        self.recorded: set[str] = set()
        """Venues that served a recording."""
        self.by_frame: set[str] = set()
        """Venues with frames of which nobody told what they are."""
        self.by_place: set[str] = set()
        """Venues with events that are known by their place on a connection."""
        self.frames_sent: Counter[str] = Counter()
        self.frames_raw: Counter[str] = Counter()
        self._gaps: dict[tuple[str, str, str], Gap] = {}

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *exc: object) -> None:
        self._database.close()

    @property
    def gaps(self) -> list[Gap]:
        """Each in its last state."""
        return list(self._gaps.values())

    # the sides

    def add_truth(self, exchange: str, lines: Iterable[TruthLine]) -> None:
        """Raises ``UsageError`` for the truth of an earlier version."""
        number = 0
        for line in lines:
            if line.fate == SENT and not (line.digest or line.digests):
                raise UsageError(
                    f"{exchange}: its truth was written before frames were told by their bytes; begin a new state"
                )
            self.frames_sent[exchange] += line.fate == SENT
            if line.position:
                self.recorded.add(exchange)
            is_streamed = line.endpoint == STREAM
            pieces = [(line.digest, line.events)]
            if line.digests:
                pieces = [(digest, (event,)) for digest, event in zip(line.digests, line.events, strict=True)]
            for digest, events in pieces:
                number += 1
                self._add("line", (exchange, number, digest, line.fate, line.time_ns, is_streamed))
                for part, event in enumerate(events):
                    if event.kind == FRAME:
                        self.by_frame.add(exchange)
                    elif event.record_key == PLACED:
                        self.by_place.add(exchange)
                    identity = (event.kind, event.symbol, event.record_key)
                    self._add("told", (exchange, number, part, *identity, event.time_ns))
        self._flush()

    def add_raw(self, frames: Iterable[Frame]) -> None:
        for frame in frames:
            if frame.exchange not in self.venues:
                continue
            self.frames_raw[frame.exchange] += 1
            place = place_of(frame.endpoint, frame.exchange)
            parts = [frame.payload]
            if frame.endpoint.startswith(ARCHIVE):
                parts = frame.payload.splitlines()
            for part, payload in enumerate(parts):
                where = (frame.exchange, frame.connection_id, frame.frame_sequence, part)
                self._add("raw_frames", (*where, digest_of(payload, place), frame.receive_time_ns))
        self._flush()

    def add_normalized(self, messages: Iterable[bytes]) -> None:
        """Encoded ``MarketData``; gaps are kept aside."""
        kinds = {int(kind): kind.name.lower() for kind in Kind}
        for message, record in readable(messages, _record, "reconcile"):
            if record.exchange not in self.venues:
                continue
            if record.kind == int(Kind.GAP):
                for gap in readable([message], codec.decode, "reconcile"):
                    self._add_gap(gap)
                continue
            identity = (record.exchange, kinds[record.kind], record.symbol, record.record_key)
            frame: Row = (None, None)
            if record.exchange in self.by_frame | self.by_place:
                frame = (record.connection_id, record.frame_sequence)
            self._add("normalized", (*identity, *_ids_of_change(record), *frame))
        self._flush()

    def _add_gap(self, record: Record) -> None:
        """The last state of a gap wins."""
        assert isinstance(record, Gap)
        identity = (record.exchange, record.symbol, record.record_key)
        known, state = self._gaps.get(identity), (record.receive_time_ns, record.gap_state)
        if known is None or (known.receive_time_ns, known.gap_state) <= state:
            self._gaps[identity] = record

    def add_quarantine(self, messages: Iterable[bytes]) -> None:
        """Encoded ``Quarantined``; what is merely noted (soft) is in the stores as well."""
        for item in readable(messages, codec.decode_quarantined, "reconcile"):
            if item.severity is not Severity.HARD:
                continue
            identity = ("", "", "")
            if item.record:
                try:
                    record = codec.decode(item.record)
                    identity = (record.kind.name.lower(), record.symbol, record.record_key)
                except WireError:
                    identity = ("", "", "")
            place = (item.connection_id, item.frame_sequence, item.frame_index)
            self._add("quarantine", (item.exchange, *identity, *place))
        self._flush()

    def add_held(self, store: str, rows: pa.Table) -> None:
        """``rows`` of ``store`` under ``holdings.HELD``."""
        arriving = rows.cast(HELD)  # noqa: F841  DuckDB finds it by its name
        self._database.execute(
            "INSERT INTO held SELECT ?, exchange, kind, symbol, key FROM arriving", [store]
        )

    def add_book_gaps(self, rows: Iterable[tuple[str, str, int, int]]) -> None:
        """Exchange, symbol, first and last id."""
        for row in rows:
            self._add("book_gaps", row)
        self._flush()

    # the database

    def _add(self, table: str, row: Row) -> None:
        rows = self._rows.setdefault(table, [])
        rows.append(row)
        if len(rows) >= ROWS_PER_BATCH:
            self._insert(table, rows)
            rows.clear()

    def _flush(self) -> None:
        for table, rows in self._rows.items():
            self._insert(table, rows)
        self._rows = {}

    def _insert(self, table: str, rows: Sequence[Row]) -> None:
        if not rows:
            return
        names = [f"c{n}" for n in range(len(rows[0]))]
        columns = pa.table(dict(zip(names, map(list, zip(*rows, strict=True)), strict=True)))  # noqa: F841
        self._database.execute(f"INSERT INTO {table} SELECT * FROM columns")  # noqa: S608  our own names

    def compare(self) -> None:
        """Once, when all sides are there: what ``query`` asks for."""
        for file in ("identities.sql", "comparison.sql"):
            self._database.execute((SQL / file).read_text())

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> duckdb.DuckDBPyConnection:
        return self._database.execute(sql, list(parameters))

    def count(self, relation: str, parameters: Sequence[Any] = ()) -> dict[str, int]:
        """Rows by exchange of a table, a view or a macro of ``comparison.sql``."""
        sql = f"SELECT exchange, count(*) FROM {relation} GROUP BY exchange"  # noqa: S608  our own names
        return dict(self.query(sql, parameters).fetchall())


def _record(message: bytes) -> tuple[bytes, Any]:
    """``message`` with what it says. Raises ``WireError``."""
    return message, codec.parse(message)


def _ids_of_change(record: Any) -> tuple[int | None, int | None]:
    """The ids that a change of a book covers, by its message; ``None`` for anything else."""
    if record.kind != int(Kind.BOOK) or record.book_action == int(BookAction.SNAPSHOT):
        return None, None
    if record.HasField("previous_sequence"):
        return min(record.previous_sequence + 1, INT64_MAX), record.sequence
    return (record.first_sequence, record.sequence) if record.HasField("first_sequence") else (None, None)
