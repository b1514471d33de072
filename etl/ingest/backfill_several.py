"""What came of a chunk of several symbols: each row is counted for its own."""

from __future__ import annotations

import msgspec

from etl.adapter.carried import apart
from etl.adapter.contract import Exchange, Ignored
from etl.ingest.backfill_coverage import ChunkCoverage, Fetched
from etl.ingest.backfill_jobs import Chunk
from etl.ingest.observer import Observer
from etl.model.records import Record


class SeveralCoverage(Observer):
    """As ``ChunkCoverage``, one for each symbol; what nobody asked for is no one's row."""

    listens = True

    def __init__(self, parser: Exchange, chunk: Chunk) -> None:
        self._symbol = chunk.symbol
        self._of = {
            symbol: ChunkCoverage(parser, msgspec.structs.replace(chunk, symbol=symbol))
            for symbol in apart(chunk.symbol)
        }

    def judged(self, record: Record, is_good: bool) -> None:
        one = self._of.get(record.venue_symbol)
        if one is not None:
            one.judged(record, is_good)

    def ignored(self, event: Ignored) -> None:
        one = self._of.get(event.stands_for.venue_symbol) if event.stands_for else None
        if one is not None:
            one.ignored(event)

    def fetched(self, pages: int) -> Fetched:
        """Raises ``VenueError`` for a chunk with more holes than a true one can have."""
        parts = tuple(one.fetched(0) for one in self._of.values())
        rows, channel = sum(part.rows for part in parts), parts[0].channel
        return Fetched(pages, rows, self._symbol, channel, parts=parts)


def coverage_of(parser: Exchange, chunk: Chunk) -> ChunkCoverage | SeveralCoverage:
    return (SeveralCoverage if len(apart(chunk.symbol)) > 1 else ChunkCoverage)(parser, chunk)
