"""What the venues sent against what each store holds, by identity. The words are those of contract.md, section 6.

    truth files ─┐
    raw topic ───┤ each frame is the line of the truth that has its bytes
    normalized ──┼─▶ Ledger (DuckDB, bounded memory) ─▶ Report
    quarantine ──┤
    stores ──────┘

For each venue, in distinct identities, where control messages and broken frames count one by one:

    events_sent = missed + quarantined + ignored + normalized
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any

from etl.errors import UsageError
from etl.model.records import Kind
from etl.monitoring import processes
from etl.reconcile import holdings
from etl.reconcile.declared import Declared
from etl.reconcile.ledger import ROWS_PER_BATCH, Ledger
from etl.reconcile.report import Example, Percentiles, Report, VenueReport
from etl.settings import Settings
from etl.simulator import truth
from etl.transports.frames import frames_of
from etl.transports.message import Message
from etl.transports.transport import read_topic

EXAMPLES_MAX = 10
OTHER_METRICS_PORTS = 8
"""Of parts that are no venue's, with some to spare."""
GROUP = "reconcile"


def reconcile(settings: Settings, stores: Sequence[str] | None = None, duration_s: float = 0.0) -> Report:
    """Compare everything; ``stores``: if not all that are kept. Raises ``EtlError`` if a side cannot be read,
    ``UsageError`` if there is no truth."""
    found = sorted((settings.state_path / "truth").glob("*.jsonl"))
    if not found:
        raise UsageError(
            f"{settings.state_path / 'truth'}: no truth; only a run against simulated venues is judged"
        )
    names = [path.stem for path in found]
    stores = settings.stores if stores is None else stores
    with tempfile.TemporaryDirectory(prefix="reconcile-") as scratch, Ledger(Path(scratch), names) as ledger:
        # workers go on asking histories of venues that are quiet
        ledger.add_raw(frames_of(read_topic(settings, settings.topics.raw, GROUP), GROUP))
        for path in found:
            ledger.add_truth(path.stem, truth.read(path))
        ledger.add_normalized(map(_value, read_topic(settings, settings.topics.normalized, GROUP)))
        ledger.add_quarantine(map(_value, read_topic(settings, settings.topics.quarantine, GROUP)))
        for store in stores:
            for rows in holdings.STORES[store](settings, names):
                ledger.add_held(store, rows)
        report = compare(ledger, {store: holdings.kinds_of(store, settings) for store in stores}, duration_s)
    _add_clickhouse_figures(settings, report, stores)
    _add_ack_latency(settings, report)
    return report


def _value(message: Message) -> bytes:
    return message.value or b""


def _add_clickhouse_figures(settings: Settings, report: Report, stores: Sequence[str]) -> None:
    if "clickhouse" not in stores:
        return
    names = list(report.venues)
    for name, doubles in holdings.clickhouse_physical_duplicates(settings, names).items():
        report.venues[name].physical_duplicates = doubles
    p50, p99 = holdings.clickhouse_latency_ms(settings, names)
    report.latency_ms["receive_to_clickhouse"] = Percentiles(round(p50, 3), round(p99, 3))


def metrics_ports_max(venues: int) -> int:
    """How many ports from ``metrics_port`` on may serve metrics: each venue has a simulator and a worker."""
    return 2 * venues + OTHER_METRICS_PORTS


def _add_ack_latency(settings: Settings, report: Report) -> None:
    """From the workers that still run; their histograms know nothing beyond their last bound."""
    first = settings.metrics.port
    ports = range(first, first + metrics_ports_max(len(settings.venues.names)))
    samples = processes.scrape_all(ports, settings.bind_host)
    found = [processes.quantile(samples, "etl_ack_latency_seconds", q) for q in (0.5, 0.99)]
    p50, p99 = (None if seconds in (None, inf) else round((seconds or 0.0) * 1e3, 3) for seconds in found)
    report.latency_ms["receive_to_kafka_ack"] = Percentiles(p50, p99)


def compare(ledger: Ledger, stores: Mapping[str, Sequence[Kind]], duration_s: float) -> Report:
    """The sides of a full ledger. ``stores``: the kinds that each should hold."""
    ledger.compare()
    comparison = _Comparison(ledger)
    comparison.count_identities()
    comparison.count_without_identity()
    for store, kinds in stores.items():
        comparison.count_store(store, [kind.name.lower() for kind in kinds])
    comparison.count_undeclared()
    for venue in comparison.venues.values():
        venue.lost = sum(venue.store_lost.values())
        venue.duplicated = sum(venue.store_duplicated.values())
        accounted = venue.missed + venue.quarantined + venue.ignored + venue.normalized
        venue.unaccounted = venue.events_sent - accounted
    total = sum(venue.events_sent for venue in comparison.venues.values())
    report = Report(
        ok=False,
        duration_s=duration_s,
        venues=comparison.venues,
        latency_ms={},
        events_per_s=round(total / duration_s, 1) if duration_s else 0.0,
        stores=list(stores),
        examples=comparison.examples,
        notes=_notes(ledger),
    )
    report.ok = not report.reasons()
    return report


def _notes(ledger: Ledger) -> list[str]:
    notes = []
    if ledger.recorded:
        notes.append(
            f"{', '.join(sorted(ledger.recorded))}: a recording was served; its times are of another day, so rules "
            "of lateness were off"
        )
    if ledger.by_frame:
        notes.append(
            f"{', '.join(sorted(ledger.by_frame))}: nobody told what the recording's frames are; each is judged by its "
            "arrival, and what the parser made of it by every store's holding it"
        )
    return notes


class _Comparison:
    """Fills the venues' reports from the ledger's views."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.venues = {name: VenueReport() for name in ledger.venues}
        self.examples: list[Example] = []

    def _fill(self, field: str, counts: Mapping[str, int]) -> None:
        for name, venue in self.venues.items():
            setattr(venue, field, counts.get(name, 0))

    def count_identities(self) -> None:
        ledger = self._ledger
        self._fill("frames_sent", ledger.frames_sent)
        self._fill("raw", ledger.frames_raw)
        for field, relation in (
            ("events_sent", "sent_once"),
            ("missed", "missed"),
            ("normalized", "normalized_sent"),
            ("quarantined", "quarantined_sent"),
            ("ignored", "frames_ignored"),
            ("ahead_of_raw", "ahead_of_raw"),
            ("unknown_frames", "unknown_frames"),
            ("unexpected", "unexpected"),
        ):
            self._fill(field, ledger.count(relation))
        self._show("unexpected", "unexpected", [], ledger.count("unexpected"))
        gaps = Counter((gap.exchange, gap.gap_state.name.lower()) for gap in ledger.gaps)
        for name, venue in self.venues.items():
            venue.session = "recording" if name in ledger.recorded else "synthetic"
            venue.kinds = self._kinds("sent_once", name)
            venue.missed_kinds = self._kinds("missed", name)
            venue.gaps = {state: count for (exchange, state), count in gaps.items() if exchange == name}

    def _kinds(self, table: str, exchange: str) -> dict[str, int]:
        sql = f"SELECT kind, count(*) FROM {table} WHERE exchange = ? GROUP BY kind ORDER BY kind"  # noqa: S608
        return dict(self._ledger.query(sql, [exchange]).fetchall())

    def count_without_identity(self) -> None:
        """Control messages and broken frames are counted."""
        views = ("ignored_sent", "ignored_arrived", "invalid_sent", "invalid_arrived", "invalid_kept")
        counts = {view: self._ledger.count(view) for view in views}
        for name, venue in self.venues.items():
            ignored_sent, ignored_arrived, sent, arrived, kept = (counts[view].get(name, 0) for view in views)
            ignored = min(ignored_sent, ignored_arrived)
            venue.events_sent += ignored_sent + sent
            venue.missed += ignored_sent - ignored + sent - arrived
            venue.ignored += ignored
            venue.quarantined += kept
            venue.store_lost["quarantine"] = arrived - kept

    def count_store(self, store: str, kinds: Sequence[str]) -> None:
        rows = self._ledger.count("held_in(?)", [store])
        lost = self._ledger.count("lost_in(?, ?)", [store, list(kinds)])
        doubled = self._ledger.count("doubled_in(?)", [store])
        for name, venue in self.venues.items():
            setattr(venue, store, rows.get(name, 0))
            venue.store_lost[store] = lost.get(name, 0)
            venue.store_duplicated[store] = doubled.get(name, 0)
        self._show(f"lost in {store}", "lost_in(?, ?)", [store, list(kinds)], lost)
        self._show(f"duplicated in {store}", "doubled_in(?)", [store], doubled)

    def _show(self, what: str, relation: str, parameters: Sequence[Any], counts: Mapping[str, int]) -> None:
        sql = f"SELECT exchange, kind, symbol, key FROM {relation} WHERE exchange = ? ORDER BY key LIMIT ?"  # noqa: S608
        for exchange in counts:
            rows = self._ledger.query(sql, [*parameters, exchange, EXAMPLES_MAX]).fetchall()
            self.examples += [Example(name, what, kind, symbol, key) for name, kind, symbol, key in rows]

    def count_undeclared(self) -> None:
        ledger, declared = self._ledger, Declared(self._ledger.gaps)
        cursor = ledger.query("FROM unseen")
        while rows := cursor.fetchmany(ROWS_PER_BATCH):
            for exchange, kind, symbol, key, *times in rows:
                if declared.covers(exchange, kind, symbol, key, *times):
                    continue
                venue = self.venues[exchange]
                venue.missed_undeclared += 1
                if venue.missed_undeclared <= EXAMPLES_MAX:
                    self.examples.append(Example(exchange, "missed_undeclared", kind, symbol, key))
        for exchange, ids in declared.trade_ids():
            self.venues[exchange].declared_excess_ids += ids
        for exchange, ids in ledger.count("missed_trade_ids").items():
            venue = self.venues[exchange]
            venue.declared_excess_ids = max(0, venue.declared_excess_ids - ids)
        ledger.add_book_gaps(declared.book_ids())
        for exchange, ids in ledger.query("FROM book_excess").fetchall():
            self.venues[exchange].declared_excess_ids += int(ids)
