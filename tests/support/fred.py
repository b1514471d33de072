"""Records of the simulated FRED without a network, and what they should say at a time."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl

from etl.adapter.contract import Credentials, Request
from etl.adapter.outcomes import Ignored
from etl.exchanges.fred import Fred
from etl.model.records import Frame, Kind, Observation, Source
from etl.model.times import parse_ns
from etl.simulator.truth import TruthEvent
from etl.simulator.venue import Response
from etl.simulator.venues.fred import LAST_DAY, SIMULATED_KEY
from etl.simulator.venues.fred import Fred as Simulated

NOW = "2026-11-30T12:00:00"
KNOWN_AFTER = timedelta(hours=30)
SPAN_NS = parse_ns("1900-01-01"), parse_ns("2026-12-01")

Known = tuple[str, date, date, Decimal | None, str, str]
"""Series, period, vintage, value, unit, release."""


def simulated(page_rows: int = 0) -> Simulated:
    venue = Simulated("fred")
    venue.page_items_max, venue.limit.requests_max = page_rows, 1_000_000
    return venue


def backfilled(
    series: str, venue: Simulated, span_ns: tuple[int, int] = SPAN_NS, now: str = NOW
) -> tuple[list[Observation], list[TruthEvent], int]:
    """Records, what the venue says they are, and the number of requests."""
    parser, records, truth = Fred(Credentials(SIMULATED_KEY)), list[Observation](), list[TruthEvent]()
    number = 0
    for first in parser.history_requests(Kind.OBSERVATION, series, *span_ns):
        request: Any = first
        while request is not None:
            number += 1
            answer = asked(venue, parser, request, now)
            frame = Frame(
                "fred", f"c-{series}", number, f"http://127.0.0.1{request.path}", parse_ns(now), answer.body,
                Source.BACKFILL,
            )  # fmt: skip
            for outcome in parser.parse(frame):
                assert isinstance(outcome, Observation | Ignored), outcome
                if isinstance(outcome, Observation):
                    records.append(outcome)
            truth += [event for event in answer.events if event.kind == "observation"]
            request = parser.next_request(request, frame)
    return records, truth, number


def asked(venue: Simulated, parser: Fred, request: Request, now: str) -> Response:
    path, _, query = request.path.partition("?")
    given = {**dict(parse_qsl(query)), **parser.key_query(request)}
    answer = venue.answer(path, given, None, parse_ns(now))  # type: ignore[arg-type]  # asks no session
    assert answer is not None
    assert answer.status == 200, answer.body
    return answer


def known_at(venue: Simulated, series: str, unit: str, release: str, at: datetime) -> Iterator[Known]:
    """By the generator's own intervals: a day counts as known 30 hours after its midnight."""
    midnight = datetime.fromisoformat

    def is_known(day: str) -> bool:
        return day != LAST_DAY and midnight(day).replace(tzinfo=at.tzinfo) + KNOWN_AFTER <= at

    for one in venue.vintages(series, NOW[:10]):
        ends = one.to_day != LAST_DAY and is_known(
            (date.fromisoformat(one.to_day) + timedelta(days=1)).isoformat()
        )
        if is_known(one.from_day) and not ends:
            value = None if one.value == "." else Decimal(one.value)
            yield series, date.fromisoformat(one.day), date.fromisoformat(one.from_day), value, unit, release
