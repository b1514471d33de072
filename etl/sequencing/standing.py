"""Where one (symbol, channel) stands, so that another process can go on from there. Pure."""

from __future__ import annotations

from msgspec import Struct

from etl.model.records import Gap, Record


class Standing(Struct, frozen=True):
    """``newest`` is the record up to which everything is there or declared, ``last`` its last id (``None`` where the
    channel has none), ``gaps`` those that have no end yet."""

    newest: Record | None = None
    last: int | None = None
    gaps: tuple[Gap, ...] = ()

    @property
    def venue_symbol(self) -> str:
        return next((each.venue_symbol for each in (self.newest, *self.gaps) if each), "")
