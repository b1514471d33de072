"""Offsets that the topic gave up before a store had read them: declared as a gap, for every store to see."""

from __future__ import annotations

import logging
import time

from etl.errors import RangeLost
from etl.model.records import Gap, GapKind, GapState, Source
from etl.model.times import NS_PER_DAY
from etl.settings import Settings
from etl.transports.transport import transport_of
from etl.wire.codec import encode
from etl.wire.keys import message_key

FLUSH_TIMEOUT_S = 60.0
PARSER_VERSION = 1
BEGINS_LATER = "the topic begins after them"
ENDS_BEFORE = "the topic ends before them"
ANY = "*"
"""Exchange and symbol of such a gap: whose records they were, nobody can know any more."""

_log = logging.getLogger(__name__)


def require_end(
    settings: Settings, store: str, topic: str, partition: int, topic_id: str, end: int, high: int
) -> None:
    """Raises ``RangeLost``, with a gap declared, if ``store`` has read up to ``end`` of a topic that ends at ``high``,
    before it: its broker lost them, and gives their offsets out again."""
    if end <= high:
        return
    declare_lost(settings, store, topic, partition, topic_id, high, end, ENDS_BEFORE)
    raise ended_before(f"{topic}-{partition}", high, end)


def ended_before(place: str, known: int, end: int) -> RangeLost:
    """What is said of a topic that lost [known, end), which was read; the gap is declared."""
    return RangeLost(
        f"{place}: the topic ends at {known} and had {end}; a gap is declared. Its offsets are given out again:"
        " make the topic anew before more is stored"
    )


def declare_lost(
    settings: Settings, store: str, topic: str, partition: int, topic_id: str, start: int, end: int, why: str
) -> None:
    """[start, end) of ``topic`` will never be read into ``store``. Returns once the broker has the gap, so that the
    store's offset may move on; declared again, it is the same gap. Raises ``TransportError``."""
    place = f"{topic}-{partition}"
    now_ns = time.time_ns()
    gap = Gap(
        exchange=ANY,
        symbol=ANY,
        venue_symbol="",
        channel=place,
        event_time_ns=0,
        receive_time_ns=now_ns,
        source=Source.STREAM,
        connection_id=topic_id,
        frame_sequence=start,
        frame_index=0,
        record_key=f"{store}/{place}/{topic_id}/{start}",
        key_time_ns=now_ns // NS_PER_DAY * NS_PER_DAY,
        parser_version=PARSER_VERSION,
        gap_kind=GapKind.OVERFLOW,
        gap_state=GapState.UNREPAIRABLE,
        from_sequence=start,
        to_sequence=end - 1,
        reason=f"{store}: offsets of {place}: {why}",
        detected_time_ns=now_ns,
    )
    publisher = transport_of(settings).publisher()
    publisher.publish(settings.topics.normalized, message_key(ANY, ANY), encode(gap))
    publisher.flush(FLUSH_TIMEOUT_S)
    _log.error("%s: offsets [%d, %d) of %s are lost: %s; declared as a gap", store, start, end, place, why)
