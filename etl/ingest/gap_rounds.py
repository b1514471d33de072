"""The scheduled rounds over the gap ledger: a second line for what the workers put off or left open."""

from __future__ import annotations

import time
from collections import Counter

from etl.ingest.gap_ledger import Selection, due, read_gaps, repair_gaps
from etl.ingest.look_again import look_again
from etl.model.records import GapState
from etl.settings import Settings


def repair_round(settings: Settings, venue: str, symbol: str, key: str, any_age: bool) -> dict[str, int]:
    """One attempt at each open gap that the texts select and, unless ``any_age``, that a scheduled round asks for; gaps
    by the state that they have now. Raises ``EtlError``."""
    gaps = read_gaps(settings, Selection(exchange=venue, symbol=symbol, key=key, state="open"))
    settled = repair_gaps(settings, gaps if any_age else due(gaps, time.time_ns()))
    return by_name(Counter(gap.gap_state for gap in settled))


def look_again_round(settings: Settings, venue: str, symbol: str, key: str, any_time: bool) -> dict[str, int]:
    """What backfills found not published yet, asked for if its time has come, or ``any_time``; by the state that it has
    now. Raises ``EtlError``."""
    return by_name(look_again(settings, time.time_ns(), venue, symbol, key, any_time))


def by_name(states: Counter[GapState]) -> dict[str, int]:
    return {state.name.lower(): count for state, count in states.items()}
