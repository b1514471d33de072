"""One (symbol, channel): what continuity asks of it. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from etl.adapter.contract import Channel
from etl.model.records import Gap, GapKind, GapState, Record, Source
from etl.sequencing.gap import completed, declared, first_state
from etl.sequencing.spans import Span, time_of
from etl.sequencing.standing import Standing

FOLLOWED = (Source.STREAM, Source.REPLAY)
"""Sources whose records come in the order of the stream; those of a history only fill."""
NO_GAPS: tuple[Gap, ...] = ()


class Loss(Struct, frozen=True):
    """What a hole that shows next comes from; ``gap`` is what was declared of it, open to the right."""

    kind: GapKind
    reason: str
    gap: Gap | None = None


class Track:
    """A channel of which every record is observed; a subclass knows what its rule proves.

    Here stands what a channel without ids does: nothing waits, nothing is provably missing.
    """

    __slots__ = ("channel", "newest")

    def __init__(self, record: Record, channel: Channel) -> None:
        self.channel = channel
        self.newest = record
        """The last record up to which everything is there or declared."""

    @property
    def is_pending(self) -> bool:
        """Whether a break waits for its verdict."""
        return False

    def observe(self, record: Record) -> Sequence[Gap]:
        """The gaps that ``record`` reveals or closes."""
        raise NotImplementedError

    def lose(self, kind: GapKind, reason: str, now_ns: int) -> Sequence[Gap]:
        """The connection ended or stopped giving."""
        raise NotImplementedError

    def begin_within(self, gap: Gap) -> Sequence[Gap]:
        """``gap`` began before anything came; ``newest`` is the first record. Gives it with its end."""
        return [completed(gap, self.newest)]

    def remember(self, record: Record) -> None:
        """As ``observe``, of what was published already."""
        self.observe(record)

    def remember_gap(self, gap: Gap) -> None:
        """As after the verdict that gave it, or the repair that ended it."""
        raise NotImplementedError

    def quarantine(self, record: Record) -> Sequence[Gap]:
        """``record`` came and is kept out of the stores: the gaps that it leaves or closes."""
        return NO_GAPS

    def fill(self, record: Record) -> Sequence[Gap]:
        """A record from history: the gaps that it closes."""
        return NO_GAPS

    def missing(self, gap: Gap) -> Sequence[Span]:
        """The ids of ``gap`` that have not come since it was declared."""
        return ()

    def forget(self, gap: Gap) -> None:
        """Look no more for what ``gap`` misses."""

    def overdue(self, now_ns: int) -> Sequence[Gap]:
        return NO_GAPS

    def decide(self) -> Sequence[Gap]:
        return NO_GAPS

    def resume(self, now_ns: int) -> Sequence[Gap]:
        """The channel is subscribed again, and its next event may be days away."""
        return NO_GAPS

    def standing(self) -> Standing:
        """What a later process goes on from; breaks that wait for their verdict are left out, and found again."""
        raise NotImplementedError

    def start_gap(self) -> Gap:
        first = self.newest
        to_sequence = None if first.sequence is None else (first.first_sequence or first.sequence) - 1
        return declared(
            first,
            GapKind.START,
            GapState.UNREPAIRABLE,
            f"start/{time_of(first)}",
            from_time_ns=0,
            to_time_ns=time_of(first),
            to_sequence=to_sequence,
            reason="no coverage before",
        )

    def lost_gap(self, loss: Loss, gap_id: str, from_ns: int, from_id: int | None, now_ns: int) -> Gap:
        """A gap that is open to the right, behind the newest record."""
        return declared(
            self.newest,
            loss.kind,
            first_state(self.channel),
            gap_id,
            from_ns,
            from_sequence=from_id,
            reason=loss.reason,
            now_ns=now_ns,
        )
