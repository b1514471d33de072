"""Filling gaps from the venue's history, and saying so only with proof.

    gap ─▶ requests for what it misses ─▶ raw topic, parse, check, publish (source=repair) ─▶ verdict

By ids (``CONTIGUOUS``) exactly the missing ones are asked for, without ids the interval, by time and widened.
What cannot be proved (``repair_proof``) stays ``OPEN`` with its reason, for the next attempt or ``etl gaps repair``.

``Repairer`` makes one attempt. ``Repairs`` is a worker's queue of gaps to close while it streams.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable, Iterator

import msgspec

from etl.adapter.back_off import back_off_s
from etl.adapter.contract import Credentials, Exchange, Request, SequenceRule
from etl.errors import OutOfReach, VenueError
from etl.ingest.feed import Feed
from etl.ingest.intake import Intake, open_intake
from etl.ingest.quarantine_notes import REASON_CHARACTERS_MAX
from etl.ingest.repair_proof import Fetched, Verdict, judge_ids, judge_times, missing_ids
from etl.model.records import Gap, GapKind, GapState, Kind, Source
from etl.model.times import NS_PER_MS
from etl.sequencing.spans import Span
from etl.settings.sections import Ingest
from etl.sources.connection_id import connection_id
from etl.sources.history import History

QUEUE_GAPS_MAX = 10_000
"""Gaps that wait for their repair; beyond, they stay open in the ledger for ``etl gaps repair``."""
PARALLEL = 4
ATTEMPTS_MAX = 6
RETRY_FIRST_S = 0.5
RETRY_MAX_S = 30.0
"""Histories lag behind streams: what is not there yet is asked for again."""
PAGES_MAX = 20_000
WIDEN_NS = 1_000_000_000
"""Before the last good event: what was sent late carries an earlier time."""
VERDICT = "repair: "
"""Where a gap's reason goes on with what the last repair made of it."""
PENDING_MESSAGES_MAX = 5_000
"""History waits while Kafka has so much to take: live records come first, and memory stays flat."""

_log = logging.getLogger(__name__)


class Repairer:
    """One venue's repairs, one attempt a call."""

    def __init__(self, limits: Ingest, feed: Feed, history: History, credentials: Credentials) -> None:
        self._pending_max = min(limits.read_resume_messages, PENDING_MESSAGES_MAX)
        self._feed = feed
        self._history = history
        self._credentials = credentials

    async def attempt(self, gap: Gap) -> Verdict:
        """Fetch and publish what ``gap`` misses, and judge. Raises ``TransportError`` only."""
        channel = self._feed.exchange.channel(gap.channel)
        if channel is None or channel.repair is None:
            return Verdict(GapState.UNREPAIRABLE, "the venue has no history of this channel")
        parser = self._feed.exchange(self._credentials)
        fetched = Fetched(gap, channel)
        intake = open_intake(
            self._feed.beside(), parser, connection_id(time.time_ns()), "", Source.REPAIR, observer=fetched
        )
        span = missing_ids(gap) if channel.rule is SequenceRule.CONTIGUOUS else None
        begins_later = ""
        try:
            for request in _requests(parser, channel.repair, gap, span, time.time_ns()):
                await self._fetch_chain(intake, request)
                if span and fetched.highest_id > span[1]:
                    break  # pages rise: what none has up to here, none has
        except OutOfReach as error:
            begins_later = str(error)
        except VenueError as error:
            return Verdict(GapState.OPEN, str(error), fetched.rows)
        verdict = judge_ids(span, fetched) if span else judge_times(gap, channel, fetched)
        if begins_later and verdict.state is GapState.OPEN and gap.to_time_ns:
            return Verdict(GapState.UNREPAIRABLE, begins_later, fetched.rows)
        return verdict

    async def _fetch_chain(self, intake: Intake, first: Request) -> None:
        """``first`` and the pages after it, through one parser: identities may count over pages. A request for ids
        (without ``end_ns``) is a page by itself."""
        async for answer in self._history.pages(first, PAGES_MAX):
            intake.take(answer.payload, answer.receive_time_ns, answer.endpoint)
            await self._feed.room(self._pending_max)
            if not first.end_ns:
                return


class Repairs:
    """The gaps that a worker closes while it streams. ``offer`` never blocks; ``run`` ends by being cancelled."""

    def __init__(self, limits: Ingest, feed: Feed, credentials: Credentials) -> None:
        self._limits = limits
        self._feed = feed
        self._credentials = credentials
        self._waiting: asyncio.Queue[tuple[Gap, int]] = asyncio.Queue()
        self._known: dict[tuple[str, str], Gap] = {}
        """Gaps in the queue, at work, or waiting for their next attempt."""

    def offer(self, gap: Gap) -> None:
        """Take ``gap`` if it is to be repaired, bounded, and there is room."""
        key = (gap.symbol, gap.record_key)
        if not is_to_repair(gap) or not gap.to_time_ns or key in self._known:
            return
        if len(self._known) >= QUEUE_GAPS_MAX:
            self._feed.counts.repairs_put_off += 1
            return
        self._known[key] = gap
        self._waiting.put_nowait((gap, 1))

    @property
    def pending(self) -> int:
        return len(self._known)

    @property
    def at_work(self) -> Iterable[Gap]:
        """Those that are not settled yet."""
        return self._known.values()

    async def run(self, history: History) -> None:
        repairer = Repairer(self._limits, self._feed, history, self._credentials)
        async with asyncio.TaskGroup() as group:
            for _ in range(PARALLEL):
                group.create_task(self._work(repairer))

    async def _work(self, repairer: Repairer) -> None:
        while True:
            gap, attempts = await self._waiting.get()
            verdict = await repairer.attempt(gap)
            if verdict.state is GapState.OPEN and attempts < ATTEMPTS_MAX:
                delay_s = back_off_s(attempts - 1, RETRY_FIRST_S, RETRY_MAX_S)
                again = (_tried(gap, verdict), attempts + 1)
                asyncio.get_running_loop().call_later(delay_s, self._waiting.put_nowait, again)
                continue
            self._known.pop((gap.symbol, gap.record_key), None)
            publish_verdict(self._feed, gap, verdict)


def is_to_repair(gap: Gap) -> bool:
    """Open, and not declared by a backfill: it asks for its own again (``look_again``), from where it did."""
    return gap.gap_state is GapState.OPEN and gap.gap_kind is not GapKind.SOURCE_HOLE


def publish_verdict(feed: Feed, gap: Gap, verdict: Verdict) -> Gap:
    """Publish the gap's next state after an attempt, and give it."""
    reason = f"{VERDICT}{verdict.reason}"[:REASON_CHARACTERS_MAX]
    cause = gap.reason.partition(VERDICT)[0].removesuffix("; ")[: REASON_CHARACTERS_MAX // 2]
    if cause:  # it tells whose the gap is: the verdict after it is cut instead
        reason = f"{cause}; {reason}"
    tried, now_ns = _tried(gap, verdict), time.time_ns()
    settled = feed.continuity.settle(tried, verdict.state, now_ns, reason[:REASON_CHARACTERS_MAX])
    feed.publish_settled(settled, verdict.rows)
    level = logging.INFO if verdict.state is GapState.REPAIRED else logging.WARNING
    _log.log(
        level,
        "%s %s %s: %s: %s; %d rows, attempt %d",
        gap.exchange,
        gap.symbol,
        gap.record_key,
        verdict.state.name.lower(),
        reason,
        verdict.rows,
        settled.attempts,
    )
    return settled


def _tried(gap: Gap, verdict: Verdict) -> Gap:
    return msgspec.structs.replace(
        gap, attempts=gap.attempts + 1, repaired_rows=max(gap.repaired_rows, verdict.rows)
    )


def _requests(parser: Exchange, kind: Kind, gap: Gap, span: Span | None, now_ns: int) -> Iterator[Request]:
    if span and parser.history[kind].by != "time":
        yield from parser.id_requests(kind, gap.venue_symbol, *span)
        return
    to_ns = gap.to_time_ns or now_ns
    # a venue's clock that was ahead and was put right makes a gap that ends, or was found, before it begins
    start_ns = min(gap.from_time_ns or to_ns, to_ns, gap.detected_time_ns or to_ns) - WIDEN_NS
    end_ns = to_ns + NS_PER_MS if gap.from_time_ns <= to_ns else gap.from_time_ns + WIDEN_NS
    yield from parser.history_requests(kind, gap.venue_symbol, start_ns, end_ns, channel=gap.channel)
