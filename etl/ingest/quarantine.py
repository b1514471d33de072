"""What was held back: reading it, and publishing what today's parser and rules find good.

The quarantine topic is the truth; ``quarantine`` in ClickHouse is the same for SQL. An item's identity is
(exchange, connection_id, frame_sequence, frame_index, code); a replay writes the item again with its outcome, and
the newest outcome holds. Records keep their identity, so publishing one twice changes nothing in a store.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import lru_cache

import msgspec
from msgspec import Struct

from etl import exchanges
from etl.adapter.contract import Exchange, Rejected
from etl.errors import WireError
from etl.model.records import Frame, Gap, GapState, Quarantined, QuarantineOutcome, Record, Severity, Source
from etl.sequencing.gap import settled
from etl.settings import Settings
from etl.transports.publisher import Publisher
from etl.transports.ranges import RangeReader
from etl.validation import Checker
from etl.wire import codec

READ_MESSAGES_MAX = 5_000
FLUSH_WAIT_S = 30.0
IDS_MAX = 10_000
"""A gap of more ids is not settled by a replay: a repair fetches it."""
PARSERS_MAX = 64
"""Connections whose parser is kept while their items are replayed."""

Identity = tuple[str, str, int, int, str]


class Selection(Struct, frozen=True, kw_only=True):
    """Which items: empty means any; times are of receipt, [from_time_ns, to_time_ns)."""

    exchange: str = ""
    code: str = ""
    severity: Severity = Severity.NONE
    from_time_ns: int = 0
    to_time_ns: int = 0

    def __contains__(self, item: object) -> bool:
        return (
            isinstance(item, Quarantined)
            and self.exchange in ("", item.exchange)
            and self.code in ("", item.code)
            and self.severity in (Severity.NONE, item.severity)
            and item.receive_time_ns >= self.from_time_ns
            and (not self.to_time_ns or item.receive_time_ns < self.to_time_ns)
        )


def identity_of(item: Quarantined) -> Identity:
    return (item.exchange, item.connection_id, item.frame_sequence, item.frame_index, item.code)


def read_items(settings: Settings, selection: Selection) -> list[Quarantined]:
    """The selected items up to now, oldest first, each with its newest outcome. Raises ``TransportError``."""
    newest: dict[Identity, Quarantined] = {}
    for item in _stream(settings):
        if item in selection:
            known = newest.get(identity_of(item))
            if known is None or item.outcome_time_ns >= known.outcome_time_ns:
                newest[identity_of(item)] = item
    return list(newest.values())


def _stream(settings: Settings) -> Iterator[Quarantined]:
    with RangeReader(settings, settings.topics.quarantine, "etl-quarantine") as reader:
        for partition, bounds in reader.bounds().items():
            for messages in reader.read(partition, bounds.low, bounds.high, READ_MESSAGES_MAX):
                for message in messages:
                    yield codec.decode_quarantined(message.value() or b"")


def replay(
    items: Iterable[Quarantined],
    publisher: Publisher,
    settings: Settings,
    now_ns: int,
    gaps: Iterable[Gap] = (),
) -> Counter[QuarantineOutcome]:
    """Parse and check again what was held hard; publish what is good now and note every outcome. Those of ``gaps``
    of which nothing is missing then are settled as repaired.

    Soft items are in the stores already and items that were published stay published: neither is published again, but
    what was published by a replay that died then may still settle its gap.
    """
    outcomes: Counter[QuarantineOutcome] = Counter()
    came_back: set[tuple[str, str, str, int]] = set()
    for item in items:
        if item.severity is Severity.SOFT:
            continue
        record = good_record(item)
        if record is not None:
            came_back |= {(record.exchange, record.symbol, record.channel, number) for number in _ids(record)}
        if item.outcome in SETTLED:
            continue
        outcome = QuarantineOutcome.STILL_BAD if record is None else QuarantineOutcome.PUBLISHED
        if record is not None:
            publisher.publish(settings.topics.normalized, _key(record), codec.encode(record))
        noted = msgspec.structs.replace(item, outcome=outcome, outcome_time_ns=now_ns)
        publisher.publish(
            settings.topics.quarantine, item.connection_id.encode(), codec.encode_quarantined(noted)
        )
        outcomes[outcome] += 1
        if publisher.pending_messages > settings.ingest.read_pause_messages:
            publisher.flush(FLUSH_WAIT_S)
    for gap in gaps:
        missing = _missing(gap)
        if missing and all(
            (gap.exchange, gap.symbol, gap.channel, number) in came_back for number in missing
        ):
            repaired = settled(gap, GapState.REPAIRED, now_ns, "brought back from the quarantine")
            publisher.publish(settings.topics.normalized, _key(gap), codec.encode(repaired))
    publisher.flush(FLUSH_WAIT_S)
    return outcomes


def _ids(record: Record) -> range:
    """The ids that ``record`` stands for; of a range at most ``IDS_MAX``."""
    last = record.sequence
    if last is None:
        return range(0)
    first = last if record.first_sequence is None else record.first_sequence
    return range(max(first, last - IDS_MAX + 1), last + 1)


def _missing(gap: Gap) -> range:
    """The ids that ``gap`` misses; none where they are not known, or where it is settled, or too wide to come back."""
    first, last = gap.from_sequence, gap.to_sequence
    if first is None or last is None or gap.gap_state is GapState.REPAIRED or last - first >= IDS_MAX:
        return range(0)
    return range(first, last + 1)


def good_record(item: Quarantined) -> Record | None:
    """The record that ``item`` is by today's parser and rules, with source REPLAY; ``None`` if still bad."""
    exchange = exchanges.load(item.exchange)
    record = _parse_again(item) if item.payload else _decode(item.record)
    if record is None:
        return None
    record = msgspec.structs.replace(record, source=Source.REPLAY)
    findings = Checker(exchange, judge_lateness=False).check(record)
    if any(finding.severity is Severity.HARD for finding in findings):
        return None
    return msgspec.structs.replace(record, flags=tuple(finding.code for finding in findings))


SETTLED = (QuarantineOutcome.PUBLISHED, QuarantineOutcome.RELEASED)


def _parse_again(item: Quarantined) -> Record | None:
    frame = Frame(
        exchange=item.exchange,
        connection_id=item.connection_id,
        frame_sequence=item.frame_sequence,
        endpoint=item.endpoint,
        receive_time_ns=item.receive_time_ns,
        payload=item.payload,
        source=item.source,
    )
    for outcome in _parser(item.exchange, item.connection_id).parse(frame):
        if isinstance(outcome, Record) and outcome.frame_index == item.frame_index:
            return outcome
        if isinstance(outcome, Rejected) and outcome.index == item.frame_index:
            return None
    return None


@lru_cache(PARSERS_MAX)
def _parser(exchange: str, connection_id: str) -> Exchange:
    return exchanges.load(exchange)()


def _decode(data: bytes) -> Record | None:
    try:
        return codec.decode(data) if data else None
    except WireError:
        return None


def _key(record: Record) -> bytes:
    return f"{record.exchange}:{record.symbol}".encode()
