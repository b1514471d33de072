"""All that is told of instruments, brought into ``instruments`` of every store: lists, stocks, daily files, FIGIs."""

from __future__ import annotations

from msgspec import Struct

from etl.reference import figis, instrument_states, listed_files, stock_lists
from etl.settings import Settings

FAULTS_SHOWN_MAX = 5


class Refreshed(Struct, frozen=True):
    """``rows_added``: of the lists that are known, by store. ``told``: by venue, how many stocks, shares and FIGIs it
    told. ``faults``: a line for each question that was answered with one."""

    rows_added: dict[str, int]
    told: dict[str, int]
    faults: list[str]


def refresh_instruments(settings: Settings, now_ns: int) -> Refreshed:
    """In this order, for FIGIs are asked of what the others told. Raises ``VenueError``, ``StoreError``."""
    rows_added = instrument_states.refresh(settings, now_ns)
    told = stock_lists.refresh_all(settings, now_ns) | listed_files.refresh_all(settings, now_ns)
    of_figis, faults = figis.refresh_all(settings, now_ns)
    return Refreshed(rows_added, told | of_figis, faults)
