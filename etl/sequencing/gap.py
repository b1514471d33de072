"""Making a gap, ending it, and its later states. Pure.

A gap's identity is made of what it spans, so declaring it again after a restart changes nothing, and a later state of
it (``settled``) replaces it.
"""

from __future__ import annotations

import msgspec

from etl.adapter.contract import Channel
from etl.model.records import Gap, GapKind, GapState, Record
from etl.model.times import NS_PER_MS
from etl.sequencing.spans import time_of

NOTHING_MISSING = "nothing was missing"
"""Reason of a gap that ids proved to be none."""
REPEATED = "the venue repeated all since the last good event"
"""Reason of a gap that the replay after subscribing filled."""
OWN = "own: "
"""So begins the reason of a gap that the platform made itself: it was not running, or closed or stopped reading a
connection that worked."""
NO_EVENT_BEFORE = "no_event_before"
"""Flag of a gap before which no event came: ``from_time_ns`` is when the channel was subscribed."""
NO_EVENT_AFTER = "no_event_after"
"""Flag of a gap after which no event comes: the contract is over. ``to_time_ns`` is when it was forgotten."""


SEQUENCE_MAX = (1 << 63) - 1
"""The last id that a message holds. A venue may send it, and the one behind it is told by no gap."""


def first_state(channel: Channel) -> GapState:
    return GapState.UNREPAIRABLE if channel.repair is None else GapState.OPEN


def declared(
    near: Record,
    kind: GapKind,
    state: GapState,
    gap_id: str,
    from_time_ns: int,
    to_time_ns: int = 0,
    from_sequence: int | None = None,
    to_sequence: int | None = None,
    reason: str = "",
    now_ns: int = 0,
) -> Gap:
    """A gap of ``near``'s channel, at the position of ``near``. ``to_time_ns`` 0 = it has no end yet; ``now_ns`` 0 =
    found when ``near`` came."""
    time_ns = from_time_ns or to_time_ns
    detected_ns = now_ns or near.receive_time_ns
    return Gap(
        exchange=near.exchange,
        symbol=near.symbol,
        venue_symbol=near.venue_symbol,
        channel=near.channel,
        event_time_ns=time_ns,
        receive_time_ns=detected_ns,
        source=near.source,
        connection_id=near.connection_id,
        frame_sequence=near.frame_sequence,
        frame_index=near.frame_index,
        record_key=f"{near.channel}/{gap_id}",
        key_time_ns=time_ns - time_ns % NS_PER_MS,
        parser_version=near.parser_version,
        gap_kind=kind,
        gap_state=state,
        from_sequence=None if from_sequence is None or from_sequence > SEQUENCE_MAX else from_sequence,
        to_sequence=to_sequence,
        from_time_ns=from_time_ns,
        to_time_ns=to_time_ns,
        reason=reason,
        detected_time_ns=detected_ns,
    )


def of_stand_in(record: Record, what: str) -> Gap:
    """The id of ``record`` that the venue gave to ``what``, which is no record: a hole by the venue's own word. Its
    ``sequence`` says that it was seen, in its place among the records."""
    hole, time_ns, number = GapKind.SOURCE_HOLE, record.event_time_ns, record.sequence
    reason, gap_id = f"the venue gave this id to what is no record: {what}", f"{what}-{number}"
    gap = declared(record, hole, GapState.SOURCE_HOLE, gap_id, time_ns, time_ns, number, number, reason)
    return msgspec.structs.replace(gap, sequence=number)


def settled(gap: Gap, state: GapState, now_ns: int, reason: str = "") -> Gap:
    """The same gap in another state; as the last state it wins."""
    return msgspec.structs.replace(
        gap,
        gap_state=state,
        receive_time_ns=max(now_ns, gap.receive_time_ns + 1),
        reason=reason or gap.reason,
    )


def ended(gap: Gap, now_ns: int) -> Gap:
    """``gap``, which was open to the right, with its end by our clock: whatever comes from now on is received."""
    return msgspec.structs.replace(
        settled(gap, gap.gap_state, now_ns), to_time_ns=max(now_ns, gap.from_time_ns)
    )


def over(gap: Gap, now_ns: int) -> Gap:
    """``gap``, which was open to the right, of a contract that is over."""
    return msgspec.structs.replace(ended(gap, now_ns), flags=(*gap.flags, NO_EVENT_AFTER))


def completed(gap: Gap, record: Record, to_sequence: int | None = None) -> Gap:
    """``gap``, which was open to the right, with its end: ``record`` is the first good one."""
    closed = settled(gap, gap.gap_state, record.receive_time_ns)
    return msgspec.structs.replace(closed, to_time_ns=time_of(record), to_sequence=to_sequence)
