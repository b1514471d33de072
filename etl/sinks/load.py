"""``load``: the normalized topic into TimescaleDB, up to the high watermark seen at the start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from msgspec import Struct

from etl.errors import StoreRejected
from etl.express.decoders import decoder
from etl.model.records import Kind
from etl.model.tables import TABLE_BY_KIND
from etl.settings import Settings
from etl.sinks import readers
from etl.sinks.collection import rare_collection
from etl.sinks.losses import BEGINS_LATER, declare_lost, require_end
from etl.sinks.refusals import quarantine, rows_check, screened
from etl.sinks.timescale import Span, TimescaleStore
from etl.transports.ranges import Overtaken
from etl.transports.transport import transport_of
from etl.wire.columns import without

STORE = "timescale"


class Loaded(Struct, frozen=True):
    """What one load did: messages read, rows per table, messages refused, days of candles refreshed."""

    messages: int
    rows: dict[str, int]
    refused: int
    days_refreshed: int


@rare_collection()
def load_timescale(settings: Settings) -> Loaded:
    """Everything up to now, in transactions of at most ``load_batch_rows_max`` messages. What retention took before it
    was loaded, or meanwhile, is declared as a gap.

    Raises ``StoreUnavailable``, ``TransportError``, ``RangeLost``; whatever was committed by then is not read again.
    """
    rows_check()  # a venue without a spec is refused before anything is read
    messages = refused = 0
    rows: Counter[str] = Counter()
    topic = settings.topics.normalized
    with transport_of(settings).reader(topic, readers.LOAD) as reader, TimescaleStore(settings) as store:
        topic_id = reader.topic_id()
        for partition, bounds in reader.bounds().items():
            start = store.next_offset(topic_id, topic, partition, bounds.low)
            epoch = store.leader_epoch(topic_id, partition)
            known = reader.known_end(partition, start, epoch, bounds.high)
            if start > known:  # the next load reads it all again: identities tell what is stored already
                store.write([], Span(topic_id, partition, start, bounds.low))
                require_end(settings, STORE, topic, partition, topic_id, start, known)
            while start < bounds.high:
                try:
                    for batch in reader.read(partition, start, bounds.high, settings.load.batch_rows_max):
                        pairs = [(m.offset, m.value) for m in batch]
                        epoch = batch[-1].leader_epoch
                        span = Span(topic_id, partition, start, pairs[-1][0] + 1, epoch)
                        written, turned_away = _write(settings, store, pairs, span)
                        reader.show_progress(partition, span.end)
                        start = span.end
                        messages += len(pairs)
                        refused += turned_away
                        rows.update(written)
                    break
                except Overtaken as lost:
                    declare_lost(settings, STORE, topic, partition, topic_id, start, lost.low, BEGINS_LATER)
                    store.write([], Span(topic_id, partition, start, lost.low))
                    start = lost.low
        return Loaded(messages, dict(rows), refused, store.refresh_candles())


def _write(
    settings: Settings, store: TimescaleStore, pairs: Sequence[tuple[int, bytes | None]], span: Span
) -> tuple[dict[str, int], int]:
    """Rows written per table, and how many messages went to the quarantine instead."""
    values, place = dict(pairs), f"{span.topic_id}/{span.partition}"
    decode, _ = decoder(settings.ingest.express)
    batch, refused = decode(pairs, () if settings.load.books else (Kind.BOOK,))
    batch, broken = screened(batch)
    refused += broken
    try:
        if refused:
            quarantine(settings, [(item, values[item.offset]) for item in refused], STORE, place)
        store.write(batch, span)
    except StoreRejected:
        found = [item for rows in batch for item in store.refused(rows)]
        if not found:
            raise
        quarantine(settings, [(item, values[item.offset]) for item in found], STORE, place)
        refused = [*refused, *found]
        batch = without(batch, {item.offset for item in found})
        store.write(batch, span)
    return {TABLE_BY_KIND[rows.kind]: len(rows) for rows in batch}, len(refused)
