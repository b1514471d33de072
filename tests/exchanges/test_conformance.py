"""The rows that every venue file passes, or says why not: ``docs/adding_a_venue.md`` has the matrix.

A row takes its material from the fixtures, from ``<feed>.conformance.json`` beside them, or from the simulated venue.
Two rows stand in files of their own: each fixture exactly (``test_fixtures.py``), and any bytes at all
(``test_mutated_frames.py``, ``test_any_input.py``).
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from aiohttp import WSServerHandshakeError

from etl.adapter.contract import (
    Channel,
    Credentials,
    Exchange,
    Fault,
    FaultKind,
    Ignored,
    Outcome,
    Rejected,
    Reply,
    Request,
    SequenceRule,
    Subscription,
    shipped_instruments,
)
from etl.adapter.faults import fault_of_status
from etl.adapter.paging import query_of, with_query
from etl.exchanges import known_fields, load, streamed
from etl.model.codes import REPLAYED, Code
from etl.model.instruments import UNKNOWN_SYMBOL
from etl.model.records import Bar, BarState, Frame, Gap, GapKind, GapState, Kind, Record, Source
from etl.model.times import NS_PER_S
from etl.sequencing.ahead import Window
from etl.sequencing.continuity import Continuity
from etl.simulator.venues import make_venue
from tests.support import fixtures
from tests.support.conformance import Table, channels, exemplar, family_of, records_of, table_of
from tests.support.serving import WITHIN_S, Client, payload_of, simulator

NOW_NS = 1_700_000_000 * NS_PER_S
CREDENTIALS = Credentials("a-key", "a-secret")
CUTS = 12
LIVE_RECORDS = 150
LIVE_FRAMES_MAX = 600
PAGE_ROWS = 7
PAGES_MAX = 400
CONTROLS = {"status", "success", "subscription", "error"}
"""Types that venues give to messages of the connection, counted under the same names."""
LIMITS = ("connections_max", "streams_max", "connection_life_s", "budgets", "messages_per_s")

exemplar_of = cache(exemplar)


def lacks(table: Table, row: str, has_material: bool) -> bool:
    """Whether the row does not apply. Neither material nor a reason fails, and so does a reason that is out of date."""
    reason = table.reasons.get(row, "")
    assert has_material or reason, f"{row}: neither material nor a reason"
    assert not (has_material and reason), f"{row}: it has material; the reason is out of date: {reason}"
    return not has_material


def converse(parser: Exchange, lines: list[fixtures.FixtureLine]) -> list[dict[str, Any]]:
    """What all lines give, each exactly as it says."""
    given: list[dict[str, Any]] = []
    for number, line in enumerate(lines, 1):
        outcomes = parser.parse(fixtures.frame_of(line, parser.name, number))
        assert fixtures.described(outcomes) == line.gives, f"frame {number}"
        given += line.gives
    return given


# the connection


@pytest.mark.parametrize("name", streamed())
def test_handshake(name: str) -> None:
    """What is sent is exactly this, and the connection is ready with the last word and not before."""
    table, exchange = table_of(name), load(name)
    if lacks(table, "handshake", table.handshake is not None):
        assert exchange.ready_on_open, "nothing would make the connection ready"
        return
    assert table.handshake is not None
    parser = load(family_of(name))(CREDENTIALS)
    assert list(parser.open(table.handshake.subscription, NOW_NS)) == table.handshake.opens
    given = converse(parser, table.handshake.frames)
    ready = {"fault": FaultKind.READY.value}
    assert exchange.ready_on_open or (given[-1] == ready and given.count(ready) == 1)


@pytest.mark.parametrize("name", streamed())
def test_a_refused_key_is_told(tmp_path: Path, name: str) -> None:
    """By the simulated venue, which takes any key but none."""
    table = table_of(name)
    exchange = load(name)
    is_keyed = exchange.key_variables and not (exchange.key_is_optional or exchange.keyed_history)
    if not is_keyed or table.stream is None:
        return  # the stream needs no key

    async def refused() -> list[Outcome]:
        assert table.stream is not None
        async with simulator(tmp_path, name) as client:
            return await _heard(client, name, table.stream.subscription, Credentials())

    faults = [one.kind for one in asyncio.run(refused()) if isinstance(one, Fault)]
    assert faults == [FaultKind.AUTHENTICATION]


@pytest.mark.parametrize("name", streamed())
def test_partial_refusal(name: str) -> None:
    """One refused channel or symbol is told as what it is, and the others go on."""
    table = table_of(name)
    if lacks(table, "partial_refusal", table.partial_refusal is not None):
        return
    assert table.partial_refusal is not None
    parser = load(family_of(name))(CREDENTIALS)
    parser.open(table.partial_refusal.subscription, NOW_NS)
    given = converse(parser, table.partial_refusal.frames)
    faults = [one["fault"] for one in given if "fault" in one and one["fault"] != FaultKind.READY.value]
    assert faults, "the refusal is told"
    assert {FaultKind(fault) for fault in faults} <= {
        FaultKind.REQUEST, FaultKind.ENTITLEMENT, FaultKind.SUBSCRIPTION_LIMIT,
    }  # fmt: skip


@pytest.mark.parametrize("name", streamed())
def test_keep_alive(name: str) -> None:
    """A text of ours (``KeepAlive``), or a ping of the venue's that is answered with a ``Reply``."""
    table, keepalive = table_of(name), load(name).keepalive
    if lacks(table, "keep_alive", keepalive is not None or bool(table.keep_alive)):
        return
    if keepalive is not None:
        assert keepalive.text
        assert keepalive.every_s > 0
    given = converse(load(family_of(name))(CREDENTIALS), table.keep_alive)
    assert keepalive is not None or any("reply" in one for one in given)


@pytest.mark.parametrize("name", streamed())
def test_replay_on_subscribe(name: str) -> None:
    """What the venue repeats is flagged, and what it sends after that is not."""
    table = table_of(name)
    if lacks(table, "replay", bool(table.replay)):
        assert not any(REPLAYED in record.flags for record in records_of(name))
        return
    given = converse(load(family_of(name))(CREDENTIALS), table.replay)
    flagged = [REPLAYED in one.get("flags", ()) for one in given if "kind" in one]
    assert True in flagged
    assert False in flagged, "one record that is no replay shows the difference"


@pytest.mark.parametrize("name", streamed())
def test_limits(name: str) -> None:
    table, exchange = table_of(name), load(name)
    for limit in LIMITS:
        lacks(table, f"limits/{limit}", bool(getattr(exchange, limit)))


# frames


@pytest.mark.parametrize(("name", "channel"), channels())
def test_each_channel_has_an_exact_fixture(name: str, channel: str) -> None:
    lacks(table_of(name), f"channel/{channel}", exemplar_of(name, channel) is not None)


@pytest.mark.parametrize("name", streamed())
@pytest.mark.parametrize("payload", [b'{"unheard":"of"}', b'[{"unheard":"of"}]', b'"unheard of"', b"7"])
def test_an_unknown_message_is_quarantined(name: str, payload: bytes) -> None:
    (outcome,) = load(name)().parse(Frame(name, "c", 1, "", NOW_NS, payload))
    assert isinstance(outcome, Rejected)
    assert outcome.code in (Code.UNKNOWN_MESSAGE, Code.UNDECODABLE, Code.FIELD_MISSING, Code.SYMBOL_MISSING)
    if payload[:1] == b"{":
        assert outcome.code is Code.UNKNOWN_MESSAGE


@pytest.mark.parametrize("name", streamed())
def test_a_new_member_of_an_event_is_seen(name: str) -> None:
    """Where frames have another shape than ``members_of`` knows, none would ever be told."""
    lacks(table_of(name), "new_members", bool(known_fields(load(name))))


@pytest.mark.parametrize("name", streamed())
def test_what_is_left_aside_has_a_name_of_ours_and_no_event_is_left_aside_by_bearing_it(name: str) -> None:
    """``snapshot`` is what we call a page of the venue's; an event of that type is one that nobody knows."""
    exchange = load(name)
    assert set(exchange.ignored_events.values()) <= set(exchange.ignored_names)
    for word in set(exchange.ignored_names) - set(exchange.ignored_events) - CONTROLS:
        event = {"ev": word, "T": word, "e": word, "sym": "A", "S": "A", "s": "A"}
        for message in ([event], event, {"stream": "a@trade", "data": event}):
            payload = msgspec.json.encode(message)
            outcomes = exchange().parse(Frame(name, "c", 1, "", NOW_NS, payload))
            assert [getattr(one, "code", one) for one in outcomes] == [Code.UNKNOWN_MESSAGE], message


@pytest.mark.parametrize("path", fixtures.paths(), ids=lambda path: path.stem)
def test_a_cut_frame_gives_no_record(path: Path) -> None:
    """JSON that ends too early; files of lines are cut at their ends, and have no such."""
    exchange, generator = fixtures.feed_of(path), random.Random(1)
    for line in fixtures.read(path):
        if line.frame[:1] not in ("{", "["):
            continue
        for _ in range(CUTS):
            cut = line.frame[: generator.randrange(1, max(2, len(line.frame)))]
            if len(cut) == len(line.frame):
                continue
            short = msgspec.structs.replace(line, frame=cut)
            for outcome in exchange().parse(fixtures.frame_of(short, exchange.name, 1)):
                assert isinstance(outcome, Rejected), cut


# sequence


COUNTED = (SequenceRule.CONTIGUOUS, SequenceRule.RANGE, SequenceRule.BACK_POINTER)
STEPPING = (*COUNTED, SequenceRule.INTERVAL)


def steps(
    name: str, channel_name: str, rules: tuple[SequenceRule, ...]
) -> tuple[Channel, Callable[..., Any]] | None:
    """The channel, and records of it by their number: what the parser gave, moved along."""
    channel, base = load(name).channel(channel_name), exemplar_of(name, channel_name)
    if channel is None or base is None or channel.rule not in rules:
        return None
    first = 1_000_000
    since_ns = base.event_time_ns or base.receive_time_ns
    length_ns = channel.interval_ns or NS_PER_S

    def numbered(number: int, later_s: int = 0, source: Source = Source.STREAM) -> Record:
        time_ns = since_ns - since_ns % length_ns + number * length_ns + later_s * NS_PER_S
        changes: dict[str, Any] = {
            "exchange": name, "channel": channel_name, "event_time_ns": time_ns, "key_time_ns": time_ns,
            "receive_time_ns": time_ns + length_ns, "record_key": f"{number}", "source": source,
        }  # fmt: skip
        if channel.rule in COUNTED:
            changes["sequence"] = first + number
        if channel.rule is SequenceRule.RANGE:
            changes["first_sequence"] = first + number
        if channel.rule is SequenceRule.BACK_POINTER:
            changes["previous_sequence"] = first + number - 1
        for field in ("sequence", "first_sequence", "previous_sequence"):
            if field in changes:
                assert getattr(base, field) is not None, f"{channel.rule}: the records have no {field}"
        if isinstance(base, Bar):
            changes["bar_state"] = BarState.CLOSED
        return msgspec.structs.replace(base, **changes)

    return channel, numbered


def _state_of(channel: Channel) -> GapState:
    """Of a gap that is declared: what no history has cannot be repaired."""
    return GapState.OPEN if channel.repair else GapState.UNREPAIRABLE


@pytest.mark.parametrize(("name", "channel_name"), channels())
def test_a_break_is_declared_with_what_is_missing_and_closed_by_what_comes_later(
    name: str, channel_name: str
) -> None:
    found = steps(name, channel_name, STEPPING)
    if found is None:
        return
    channel, numbered = found
    continuity = Continuity(load(name), declares_start=False, window=Window(least_ns=0))
    gaps = [gap for number in (1, 2, 5, 6) for gap in continuity.observe(numbered(number))]
    (gap,) = [*gaps, *continuity.decide()]
    assert (gap.gap_kind, gap.gap_state) == (GapKind.SEQUENCE, _state_of(channel))
    if channel.rule in COUNTED:
        assert (gap.from_sequence, gap.to_sequence) == (1_000_003, 1_000_004)
    assert (gap.from_time_ns, gap.to_time_ns) == (numbered(2).event_time_ns, numbered(5).event_time_ns)
    source = Source.REPAIR if channel.repair else Source.STREAM
    closing = [state for number in (3, 4) for state in continuity.observe(numbered(number, source=source))]
    assert [(state.record_key, state.gap_state) for state in closing] == [(gap.record_key, GapState.REPAIRED)]


@pytest.mark.parametrize(("name", "channel_name"), channels())
def test_a_sequence_that_begins_anew_is_a_reset(name: str, channel_name: str) -> None:
    found = steps(name, channel_name, COUNTED)
    if found is None:
        return
    _, numbered = found
    continuity = Continuity(load(name), declares_start=False, window=Window(least_ns=0))
    records = [
        *map(numbered, range(1, 4)),
        *(numbered(number - 900_000, 2_000_000) for number in range(1, 9)),
    ]
    (gap,) = [gap for record in records for gap in continuity.observe(record)]
    assert gap.gap_kind is GapKind.RESET


@pytest.mark.parametrize(("name", "channel_name"), channels())
def test_a_lost_connection_is_a_gap_that_the_next_record_bounds(name: str, channel_name: str) -> None:
    """Where no id proves anything, the connection's times are all there is."""
    base, channel = exemplar_of(name, channel_name), load(name).channel(channel_name)
    if base is None or channel is None or channel.rule in STEPPING:
        return
    length_ns = channel.interval_ns or NS_PER_S
    before = msgspec.structs.replace(base, exchange=name, channel=channel_name)
    moved = {"event_time_ns": base.event_time_ns + length_ns if base.event_time_ns else 0}
    after = msgspec.structs.replace(
        before, **moved, receive_time_ns=base.receive_time_ns + length_ns, record_key="later",
        sequence=None if base.sequence is None else base.sequence + 5,
    )  # fmt: skip
    continuity = Continuity(load(name), declares_start=False)
    continuity.observe(before)
    (opened,) = continuity.lost(GapKind.DISCONNECT, "closed", base.receive_time_ns + 1)
    (closed,) = [*continuity.observe(after), *continuity.decide()]
    assert (opened.gap_state, opened.to_time_ns) == (_state_of(channel), 0)
    assert closed.record_key == opened.record_key
    assert isinstance(closed, Gap)
    assert closed.to_time_ns


# symbols


@pytest.mark.parametrize("name", streamed())
def test_symbols_are_one_to_one(name: str) -> None:
    exchange = load(name)
    listed = shipped_instruments(exchange)
    for symbol, venue_symbol in listed.by_symbol().items():
        assert listed.symbol(venue_symbol) == symbol
        assert listed.venue_symbol(symbol) == venue_symbol
    if exchange.listing_requests():
        assert len(listed), f"etl/exchanges/instruments/{name}.json: the list that comes with the code"
    pairs = {
        (record.symbol, record.venue_symbol)
        for record in records_of(name)
        if UNKNOWN_SYMBOL not in record.flags
    }
    spellings: dict[str, set[str]] = {}
    for symbol, venue_symbol in pairs:
        spellings.setdefault(symbol, set()).add(venue_symbol)
    table = table_of(name)
    several = {symbol: found for symbol, found in spellings.items() if len(found) > 1}
    lacks(table, "symbols", not several)


# the simulated venue


@pytest.mark.parametrize("name", streamed())
def test_there_is_a_simulated_venue(name: str) -> None:
    """Its truth is held against the parser in ``tests/simulator/test_truth.py``."""
    table = table_of(name)
    if not lacks(table, "simulated", table.simulated is not None):
        assert make_venue(name).exchange


# history


def history_cases() -> list[tuple[str, Kind]]:
    return [(name, kind) for name in streamed() for kind in load(name).history]


@pytest.mark.parametrize(("name", "kind"), history_cases(), ids=str)
def test_history_pages_to_its_end(tmp_path: Path, name: str, kind: Kind) -> None:
    """Asked of the simulated venue in small pages: every event of the stream once, under its identity."""
    table = table_of(name)
    has_material = table.stream is not None
    if lacks(table, f"history/{kind.name.lower()}", has_material):
        return
    live, past = asyncio.run(_stream_and_history(tmp_path, name, kind, table))
    if kind is Kind.BOOK:
        assert [record.kind for record in past] == [kind], "what there is now"
        return
    sent = [_identity(one) for one in live if one.kind is kind and _is_over(one)]
    got = [_identity(one) for one in past if one.kind is kind]
    assert len(got) == len(set(got)), "no row comes twice"
    if kind is Kind.BAR:  # of which there may be few, or none yet; the past holds those before too
        assert set(sent) <= set(got)
        return
    assert len(sent) > 3 * PAGE_ROWS
    if past[0].event_time_ns > past[-1].event_time_ns:  # pages that go back in time
        got.reverse()
    start = got.index(sent[0])  # asked for by a coarser unit, it may give earlier ones too
    assert got[start : start + len(sent)] == sent


def _identity(record: Record) -> tuple[str, str, int]:
    return record.symbol, record.record_key, record.key_time_ns


def _is_over(record: Record) -> bool:
    return not isinstance(record, Bar) or record.bar_state is BarState.CLOSED


async def _stream_and_history(
    state_path: Path, name: str, kind: Kind, table: Table
) -> tuple[list[Record], list[Record]]:
    assert table.stream is not None
    async with simulator(state_path, name) as client:
        live: list[Record] = []
        for subscription in load(name).sockets(table.stream.subscription):
            live += await _live(client, name, subscription)
        return live, await _past(client, name, kind, live)


async def _live(client: Client, name: str, subscription: Subscription) -> list[Record]:
    """What one connection gives: a socket each for a venue that has several."""
    outcomes = await _heard(client, name, subscription, CREDENTIALS)
    ready = [one for one in outcomes if isinstance(one, Fault)]
    assert [fault.kind for fault in ready] == ([] if load(name).ready_on_open else [FaultKind.READY])
    return [one for one in outcomes if isinstance(one, Record)]


async def _heard(
    client: Client, name: str, subscription: Subscription, credentials: Credentials
) -> list[Outcome]:
    """Until enough records came, or the venue hung up; what it asks for is answered."""
    parser, outcomes, records = load(name)(credentials), list[Outcome](), 0
    url = await client.stream_url(parser, subscription)
    try:
        socket = await client.http.ws_connect(url, headers=parser.handshake_headers(NOW_NS))
    except WSServerHandshakeError as refusal:
        return [fault_of_status(refusal.status, refusal.message)]
    async with socket:
        for text in parser.open(subscription, NOW_NS):
            await socket.send_str(text)
        for number in range(1, LIVE_FRAMES_MAX):
            message = await socket.receive(timeout=WITHIN_S)
            if (payload := payload_of(message)) is None:
                break
            for outcome in parser.parse(Frame(name, "live", number, url, number, payload)):
                outcomes.append(outcome)
                records += isinstance(outcome, Record)
                if isinstance(outcome, Reply):
                    if isinstance(outcome.payload, str):
                        await socket.send_str(outcome.payload)
                    else:
                        await socket.send_bytes(outcome.payload)
            if records >= LIVE_RECORDS:
                break
    return outcomes


async def _past(client: Client, name: str, kind: Kind, live: list[Record]) -> list[Record]:
    parser, past = load(name)(CREDENTIALS), []
    times_ns = [one.event_time_ns for one in live if one.kind is kind] or [one.event_time_ns for one in live]
    start_ns, end_ns = min(time_ns for time_ns in times_ns if time_ns), max(times_ns) + 1
    known = next((one.sequence for one in live if one.kind is kind), None)
    by_id = load(name).history[kind].by == "id"
    symbol, channel = next(((one.venue_symbol, one.channel) for one in live if one.kind is kind), ("", ""))
    first_id = known if by_id else None
    symbol = symbol or live[0].venue_symbol
    for first in parser.history_requests(kind, symbol, start_ns, end_ns, first_id, channel):
        request: Request | None = _in_small_pages(first, table_of(name).page_parameter)
        pages = 0
        while request is not None:
            pages += 1
            assert pages < PAGES_MAX, "the pages have no end"
            url = f"http://{client.address}/{name}{request.path}"
            endpoint = f"{url}#body={quote(request.body)}" if request.body else url
            payload = await client.answer(name, request)
            frame = Frame(name, "past", pages, endpoint, 1, payload, Source.BACKFILL)
            outcomes = parser.parse(frame)
            assert not any(isinstance(outcome, Rejected) for outcome in outcomes)
            past += [outcome for outcome in outcomes if isinstance(outcome, Record)]
            assert past or any(isinstance(outcome, Ignored) for outcome in outcomes)
            request = parser.next_request(request, frame)
            request = request and _in_small_pages(request, table_of(name).page_parameter)
    return past


def _in_small_pages(request: Request, parameter: str) -> Request:
    limit = query_of(request.path)[1].get(parameter, "")
    return (
        with_query(request, {parameter: PAGE_ROWS})
        if limit.isdecimal() and int(limit) > PAGE_ROWS
        else request
    )
