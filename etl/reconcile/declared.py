"""The gaps that were declared, and what lies inside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from etl import exchanges
from etl.errors import UsageError
from etl.model.records import Gap, GapState
from etl.model.times import NS_PER_MS
from etl.simulator.truth import FRAME

TIME_TOLERANCE_NS = 2 * NS_PER_MS
"""A venue's stream cuts times to ms where its history has ns; a bound may be one ms off."""


class Declared:
    """A gap that is said to be repaired declares nothing any more: what is missing there is missing in silence."""

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
        sending. ``previous_ns`` is when the last event before it was received: a slow reader's bound lies there.
        A frame that nobody told anything of may be any channel's."""
        number = key.rpartition("/")[2]
        has_id = number.isdecimal() and kind not in ("bar", FRAME)
        for gap_kind, gap in self._gaps_of(exchange, kind, symbol):
            if gap_kind and kind not in (gap_kind, FRAME):
                continue
            if has_id and _holds_sequence(gap, int(number)):
                return True
            if _holds_time(gap, time_ns, time_ns) or _holds_time(gap, sent_ns, max(sent_ns, previous_ns)):
                return True
        return False

    def _gaps_of(self, exchange: str, kind: str, symbol: str) -> Sequence[tuple[str, Gap]]:
        if kind != FRAME:
            return self._gaps.get((exchange, symbol), ())
        return [one for (name, _), gaps in self._gaps.items() if name == exchange for one in gaps]


def _holds_sequence(gap: Gap, sequence: int) -> bool:
    if gap.from_sequence is None:
        return False
    return gap.from_sequence <= sequence and (gap.to_sequence is None or sequence <= gap.to_sequence)


def _holds_time(gap: Gap, earliest_ns: int, latest_ns: int) -> bool:
    """``from`` and ``to`` are the last good and the first good; 0 = none yet."""
    from_ns, to_ns = gap.from_time_ns, gap.to_time_ns
    if not (from_ns or to_ns):
        return False
    if to_ns and to_ns < from_ns:  # the venue's clock was put back meanwhile: ours knows when
        from_ns, to_ns = min(to_ns, gap.detected_time_ns), from_ns
    began = from_ns <= latest_ns + TIME_TOLERANCE_NS
    return began and (not to_ns or earliest_ns <= to_ns + TIME_TOLERANCE_NS)


def _kind_of(exchange: str, channel: str) -> str:
    """The kind that a channel carries; "" for one that the venue file does not name, which then stands for all."""
    try:
        found = exchanges.load(exchange).channel(channel)
    except UsageError:
        return ""
    return found.kind.name.lower() if found else ""
