"""What was held back: reading it, and publishing what today's parser and rules find good.

The quarantine topic is the truth; ``quarantine`` in ClickHouse is the same for SQL. An item's identity is
(exchange, connection_id, frame_sequence, frame_index, code); a replay writes the item again with its outcome, and
the newest outcome holds. Records keep their identity, so publishing one twice changes nothing in a store.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Sequence

import msgspec
from msgspec import Struct

from etl import exchanges
from etl.adapter.contract import Exchange, Outcome, Rejected
from etl.adapter.versions import parser_at
from etl.errors import UsageError, WireError
from etl.ingest.feed import Feed
from etl.ingest.intake import open_intake
from etl.ingest.observer import Observer
from etl.model.codes import Code
from etl.model.instruments import Instruments
from etl.model.records import Frame, Gap, GapState, Quarantined, QuarantineOutcome, Record, Severity, Source
from etl.reference.instruments import with_known
from etl.sequencing.continuity import Continuity
from etl.sequencing.gap import settled
from etl.settings import Settings
from etl.transports.memory import Nowhere
from etl.transports.publisher import Publisher
from etl.transports.readable import readable
from etl.transports.transport import read_topic
from etl.wire import codec
from etl.wire.keys import message_key

FLUSH_WAIT_S = 30.0
IDS_MAX = 10_000
"""A gap of more ids is not settled by a replay: a repair fetches it."""
PARSERS_MAX = 64
"""Connections whose parser is kept while their items are replayed."""

SETTLED = (QuarantineOutcome.PUBLISHED, QuarantineOutcome.RELEASED)

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
    messages = read_topic(settings, settings.topics.quarantine, "etl-quarantine")
    values = (message.value or b"" for message in messages)
    return readable(values, codec.decode_quarantined, "quarantine")


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
    held, settled_before = ItemReplay(settings, publisher), ItemReplay(settings, Nowhere())
    for item in items:
        if item.severity is Severity.SOFT:
            continue
        record = (settled_before if item.outcome in SETTLED else held).take(item)
        if record is not None:
            came_back |= {(record.exchange, record.symbol, record.channel, number) for number in _ids(record)}
        if item.outcome in SETTLED:
            continue
        outcome = QuarantineOutcome.STILL_BAD if record is None else QuarantineOutcome.PUBLISHED
        noted = msgspec.structs.replace(item, outcome=outcome, outcome_time_ns=now_ns)
        key = message_key(item.exchange, item.symbol)
        publisher.publish(settings.topics.quarantine, key, codec.encode_quarantined(noted))
        outcomes[outcome] += 1
        if publisher.pending_messages > settings.ingest.read_pause_messages:
            publisher.flush(FLUSH_WAIT_S)
    for gap in gaps:
        missing = _missing(gap)
        if missing and all(
            (gap.exchange, gap.symbol, gap.channel, number) in came_back for number in missing
        ):
            repaired = settled(gap, GapState.REPAIRED, now_ns, "brought back from the quarantine")
            publisher.publish(
                settings.topics.normalized, message_key(gap.exchange, gap.symbol), codec.encode(repaired)
            )
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


class ItemReplay:
    """The one loop (``Intake``) for single items, of every venue."""

    def __init__(self, settings: Settings, publisher: Publisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self._feeds: dict[str, Feed] = {}
        self._parsers: OrderedDict[tuple[str, str], Exchange] = OrderedDict()

    def take(self, item: Quarantined) -> Record | None:
        """The record that ``item`` is by today's parser and rules, with source REPLAY, published; ``None`` if still
        bad."""
        try:
            feed = self._feed(item.exchange)
        except UsageError:  # what could not be read names no venue, or one that has no file
            return None
        frame = Frame(
            exchange=item.exchange,
            connection_id=item.connection_id,
            frame_sequence=item.frame_sequence,
            endpoint=item.endpoint,
            receive_time_ns=item.receive_time_ns,
            payload=item.payload,
            source=Source.REPLAY,
        )
        parser = self._parser(feed.exchange, item) if item.payload else _Kept(item.record)
        one = _OneEvent(item.frame_index)
        open_intake(feed, parser, item.connection_id, item.endpoint, Source.REPLAY, observer=one).parse(frame)
        return one.record

    def _feed(self, name: str) -> Feed:
        feed = self._feeds.get(name)
        if feed is None:
            exchange = with_known(self._settings, exchanges.load(name))
            continuity = Continuity(exchange, declares_start=False)
            feed = self._feeds[name] = Feed(self._settings, exchange, self._publisher, continuity)
        return feed

    def _parser(self, exchange: type[Exchange], item: Quarantined) -> Exchange:
        """Of the item's connection, for it may know what came before."""
        key = (item.exchange, item.connection_id)
        parser = self._parsers.get(key)
        if parser is None:
            if len(self._parsers) >= PARSERS_MAX:
                self._parsers.popitem(last=False)
            parser = self._parsers[key] = parser_at(exchange, item.receive_time_ns)()
        return parser


class _OneEvent(Observer):
    """Lets one event of a frame through, and nothing that is found beside it."""

    listens = True

    def __init__(self, index: int) -> None:
        self._index = index
        self.record: Record | None = None

    def admits(self, event: Record | Quarantined) -> bool:
        is_record = not isinstance(event, Gap | Quarantined)
        return is_record and event.frame_index == self._index and self.record is None

    def judged(self, record: Record, is_good: bool) -> None:
        self.record = record if is_good else None


class _Kept(Exchange):
    """Gives the record that an item kept, where its frame was too large to keep."""

    def __init__(self, encoded: bytes) -> None:
        super().__init__(instruments=Instruments())
        self._encoded = encoded

    def parse(self, frame: Frame) -> Sequence[Outcome]:
        if not self._encoded:
            return ()
        try:
            return (msgspec.structs.replace(codec.decode(self._encoded), source=frame.source),)
        except WireError as error:
            return (Rejected(Code.UNDECODABLE, str(error)),)
