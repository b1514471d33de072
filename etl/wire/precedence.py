"""Which of the rows of one identity stands: the greatest by these terms, in their order (contract, section 2). Pure.

One table for every place that chooses: batches of the load and files of the lake (``standing.py``), its queries and its
compaction, and the upserts of TimescaleDB are made from it; the ``version`` column of ClickHouse's tables, written down
in a migration, is held to it by ``tests/sinks/test_precedence.py``. Of equals the first stands; in ClickHouse, whose
merges know no first, the last.
"""

from __future__ import annotations

from msgspec import Struct

from etl.model.records import BarState, CorrectionKind, GapState, Kind


class Term(Struct, frozen=True):
    """A column that is compared; ``otherwise`` is compared where it is 0. ``states`` are the values of a name, from
    the least; any other name, or none, is less than these. ``present``: only whether the venue sent it is compared."""

    name: str
    otherwise: str = ""
    states: tuple[str, ...] = ()
    present: bool = False


def _states(enum: type[BarState] | type[GapState]) -> tuple[str, ...]:
    return tuple(member.name.lower() for member in enum if member)


_PARSER_VERSION = Term("parser_version")
_PRECEDENCE = {
    Kind.BAR: (
        Term("bar_state", states=_states(BarState)),
        Term("publish_time_ns", otherwise="receive_time_ns"),
        _PARSER_VERSION,
    ),
    # a venue's stream may tell an error from a cancel, and what takes a print's place; its history that it is void
    Kind.CORRECTION: (
        Term("correction", states=(CorrectionKind.ERROR.name.lower(),)),
        Term("last_price", present=True),
        _PARSER_VERSION,
    ),
    Kind.GAP: (Term("receive_time_ns"), Term("gap_state", states=_states(GapState))),
}


def precedence(kind: Kind) -> tuple[Term, ...]:
    return _PRECEDENCE.get(kind, (_PARSER_VERSION,))
