"""What to subscribe to where a recording is served: what it has, and no more.

A symbol or channel that is not in it would be awaited in vain, and its gap stand open for good. The worker's own parser
says what is in it, so that nothing has to be known here of a venue's messages.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import msgspec

from etl import exchanges
from etl.embedded.part import Part
from etl.model.records import Record, Source
from etl.settings import Settings
from etl.settings.sections import Venues
from etl.simulator import recording
from etl.sources.recording import frames, read_lines

FRAMES_MAX = 200_000
"""Looked at: more than the minutes in which every channel of a session speaks."""


def subscribed(settings: Settings, planned: Sequence[Part]) -> tuple[Part, ...]:
    """``planned``, where the workers of recorded venues name the symbols and channels of the recording."""
    return tuple(_with_words(settings.venues, part) for part in planned)


def _with_words(venues: Venues, part: Part) -> Part:
    kind, _, venue = part.name.partition("-")
    if kind != "stream" or venues.live:
        return part
    folder = venues.recordings_dir
    path = recording.find(Path(folder), venue) if folder else recording.shipped(venue)
    if path is None:
        return part
    symbols, channels = contents(path, venue)
    if not (symbols and channels):
        return part
    words = ("--symbols", ",".join(symbols), "--channels", ",".join(channels))
    return msgspec.structs.replace(part, command=(*part.command, *words))


def contents(path: Path, venue: str) -> tuple[list[str], list[str]]:
    """The venue symbols and the channels of the records on a recording's stream, in the order in which they come."""
    parser = exchanges.load(venue)()
    symbols: dict[str, None] = {}
    channels: dict[str, None] = {}
    with path.open("rb") as file:
        for frame in islice(frames(read_lines(file), venue), FRAMES_MAX):
            if frame.source is Source.BACKFILL:
                continue
            for outcome in parser.parse(frame):
                if isinstance(outcome, Record) and parser.channel(outcome.channel) is not None:
                    symbols[outcome.venue_symbol] = channels[outcome.channel] = None
    return list(symbols), list(channels)
