"""The express step leaves what the plain way leaves, whatever comes, and whichever record goes which way."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest

from etl import exchanges
from etl.express.encoders import encoders
from etl.model.codes import REPLAYED, Code
from etl.model.records import Bar, Book, BookAction, Gap, Kind, Quote, Record, Source, Trade
from etl.simulator import recording
from etl.validation.specs import SPECS
from etl.validation.statistics import SymbolStatistics
from tests.support import fixtures
from tests.support.mutations import mutated
from tests.support.two_ways import WAYS, Life, records_of, same

STATE = encoders(True)[1]
pytestmark = pytest.mark.skipif(STATE != "compiled", reason=STATE)

RECORDINGS = Path(__file__).parents[3] / "shared" / "recordings"
MESSAGES = int(os.environ.get("ETL_TEST_FUZZ_MESSAGES", "6000"))
"""In all, over the fixtures: so many frames, and as many records."""
AT_NS = 1_700_000_000_000_000_000
"""What a recording without times is received at."""
PATHS = fixtures.paths()
EACH = max(20, MESSAGES // len(PATHS))
IDENTITIES = SPECS[Kind.TRADE].identity_window
LEAK_RECORDS = max(40_000, MESSAGES)

TEXTS = (
    "", "é", "0", "-1", "-0", "0.0", "1e5", "nan", "1_0", " 1", "1.", ".5", "+1", "1.2.3", "9" * 19, "9" * 20,
    "1" + "0" * 18, "9007199254740993", "0.1234567890123456", "100000000000000", "1000000000.00",
    "61837.63000000", "61837.635",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 1 << 31, (1 << 53) + 1, (1 << 61) + 5, (1 << 62) - 1, 1 << 62, (1 << 62) + 1, (1 << 63) - 1, -(1 << 63),
    1_000_000_000, 1_700_000_000_000_000_000,
)  # fmt: skip


def lives(path: Path, seed: int = 0, **how: Any) -> list[Life]:
    return [Life(fixtures.feed_of(path), way, seed, **how) for way in WAYS]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_frames_as_they_came_twice_and_with_something_wrong(path: Path) -> None:
    three, lines, chosen = lives(path), fixtures.read(path), random.Random(3)
    for number in range(max(EACH, 2 * len(lines))):
        line = lines[number % len(lines)]
        payload = line.payload
        if number >= len(lines) and chosen.random() < 0.5:
            payload = mutated(payload, chosen.getrandbits(40))
        for life in three:
            life.take(payload, line.receive_time_ns, line.endpoint)
    same(three)


def test_off_is_the_plain_way() -> None:
    assert not Life(exchanges.load("binance"), "plain").has_step
    assert Life(exchanges.load("binance"), "express").has_step


def odd(record: Any, chosen: random.Random) -> Any:
    """``record`` with one field another, of its type."""
    name = chosen.choice(
        [each for each in record.__struct_fields__ if each not in ("exchange", "venue_symbol")]
    )
    value = getattr(record, name)
    if isinstance(value, tuple):
        texts = list(value) or ["1"]
        if not isinstance(texts[0], str):
            return record
        texts[chosen.randrange(len(texts))] = chosen.choice(TEXTS)
        return msgspec.structs.replace(record, **{name: tuple(texts[chosen.randrange(2) :])})
    members: Any = type(value)
    if members not in (int, str, type(None)):
        return msgspec.structs.replace(record, **{name: chosen.choice(list(members))})
    odd_value: object = chosen.choice(NUMBERS) if isinstance(value, int) else chosen.choice((*TEXTS, None))
    if isinstance(value, str) and name not in DECIMALS:
        odd_value = chosen.choice(TEXTS)
    if value is None:
        odd_value = chosen.choice(NUMBERS) if name.endswith("sequence") else chosen.choice(TEXTS)
    return msgspec.structs.replace(record, **{name: odd_value})


DECIMALS = frozenset(
    ("last_price", "volume", "bid", "bid_size", "ask", "ask_size", "open", "high", "low", "close", "vwap",
     "quote_volume", "taker_buy_volume")
)  # fmt: skip


def stream(records: Sequence[Record], count: int, chosen: random.Random) -> Iterator[Any]:
    """So many records of the kinds and channels of ``records`` that go on from each other: ids, times, keys. Some do
    not."""
    ids: dict[tuple[str, str], int] = {}
    now_ns = AT_NS
    for number in range(count):
        base: Any = records[number % len(records)] if chosen.random() < 0.7 else chosen.choice(records)
        now_ns += chosen.choice((1_000_000, 20_000_000, 400_000_000))
        key = (base.symbol, base.channel)
        last = ids.get(key, 1_000)
        first, record_id = last + 1, last + chosen.choice((1, 1, 1, 3))
        if chosen.random() < 0.08:
            first += chosen.choice((-3, -1, 1, 2, 5, 2_000))
            record_id = max(first, record_id + chosen.choice((-4, 0, 6, 2_000)))
        ids[key] = max(last, record_id) if chosen.random() < 0.95 else record_id
        values: dict[str, Any] = {"receive_time_ns": now_ns, "flags": ()}
        if base.event_time_ns and not isinstance(base, Bar):
            values["event_time_ns"] = now_ns + chosen.choice((-40_000_000, 0, 3_000_000))
        if base.sequence is not None:
            is_single = base.first_sequence is None and base.previous_sequence is None
            values["sequence"] = first if is_single else record_id
            ids[key] = values["sequence"] if is_single else ids[key]
            if base.first_sequence is not None:
                values["first_sequence"] = first
            if base.previous_sequence is not None:
                values["previous_sequence"] = first - 1
        values["record_key"] = f"k{number if chosen.random() < 0.95 else number - 1}"
        record = msgspec.structs.replace(base, **values)
        if chosen.random() < 0.06:
            record = odd(record, chosen)
        if chosen.random() < 0.03:
            record = msgspec.structs.replace(record, flags=chosen.choice(((REPLAYED,), ("x",))))
        if chosen.random() < 0.02:
            record = msgspec.structs.replace(record, source=chosen.choice(list(Source)))
        yield record
        if chosen.random() < 0.02:
            yield record


def steps_of(records: list[Record]) -> list[SymbolStatistics]:
    """Half of the symbols are known, by a step, a former step or their closes."""
    known = []
    for number, symbol in enumerate(sorted({record.symbol for record in records})):
        prices = [
            record.last_price for record in records if isinstance(record, Trade) and record.symbol == symbol
        ]
        if prices and prices[0]:
            step = (0.01, None, 1e-8, 0.5)[number % 4]
            days, former = (30 if number % 2 else 0), (0.1 if number % 3 else None)
            known.append(
                SymbolStatistics("x", symbol, float(prices[0]), 0.0, 0.02, days, 0, 1.0, step, None, former)
            )
    return known


@pytest.mark.parametrize("recordings_dir", ["served", ""], ids=["served", "live"])
@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_records_that_go_on_and_some_that_do_not(path: Path, recordings_dir: str) -> None:
    chosen = random.Random(path.stem)
    records = [
        each for each in records_of(fixtures.feed_of(path), fixtures.read(path)) if not isinstance(each, Gap)
    ]
    if not records:
        pytest.skip("no records")
    known = steps_of(records) if chosen.random() < 0.7 else ()
    three = lives(path, 7, statistics=known, recordings_dir=recordings_dir)
    for number, record in enumerate(stream(records, EACH, chosen)):
        outcomes = [life.give(record, record.receive_time_ns) for life in three]
        assert outcomes[1:] == outcomes[:1] * 2, record
        if number % 50 == 20 and chosen.random() < 0.3:
            gaps = [life.feed.continuity.overdue(record.receive_time_ns) for life in three]
            assert gaps[1:] == gaps[:1] * 2
    same(three)


def test_a_large_share_of_what_goes_on_is_taken() -> None:
    """Else the tests above would compare the plain way with itself."""
    given = taken = 0
    for path in (each for each in PATHS if each.stem.startswith("binance.")):
        records = records_of(fixtures.feed_of(path), fixtures.read(path))
        common = [each for each in records if isinstance(each, Trade | Quote | Book)]
        life, chosen = Life(fixtures.feed_of(path), "express"), random.Random(1)
        for record in stream(common, 400 * bool(common), chosen):
            life.give(record, record.receive_time_ns)
            given += 1
        taken += life.taken
    assert taken > 0.2 * given > 100


@pytest.mark.parametrize("path", sorted(RECORDINGS.glob("*.jsonl.gz")), ids=lambda path: path.name)
def test_recordings(path: Path) -> None:
    name = path.name.partition(".")[0]
    if name not in exchanges.names():
        pytest.skip(f"{name}: no venue")
    three = [Life(exchanges.load(name), way, 5) for way in WAYS]
    for line in islice(recording.lines(path), EACH * 5):
        url = urlsplit(line.url)
        endpoint = f"{url.path}?{url.query}" if line.url else "wss://venue"
        for life in three:
            life.take(line.payload, line.receive_time_ns or AT_NS, endpoint)
    same(three)


# ── what it takes, and what it keeps ─────────────────────────────────────────────────────────────────────────


def of_binance(kind: type) -> Any:
    """A good record."""
    paths = (each for each in PATHS if each.stem.startswith("binance."))
    records = (each for path in paths for each in records_of(fixtures.feed_of(path), fixtures.read(path)))
    return next(each for each in records if type(each) is kind)


def numbered(base: Any, number: int) -> Any:
    """``base`` with this id; a book as the change behind the one with the id before."""
    record = msgspec.structs.replace(base, record_key=str(number), sequence=number)
    if not isinstance(base, Book):
        return record
    levels = {"bid_prices": ("1",), "bid_sizes": ("1",), "ask_prices": ("2",), "ask_sizes": ("1",)}
    return msgspec.structs.replace(record, first_sequence=number, book_action=BookAction.ABSOLUTE, **levels)


def test_each_kind_is_taken_from_its_second_record_on_and_a_book_behind_its_snapshot() -> None:
    express, taken = Life(exchanges.load("binance"), "express"), {}
    for kind in (Trade, Quote, Book):
        base, before = of_binance(kind), express.taken
        for number in range(1, 5):
            record = numbered(base, number)
            if kind is Book and number == 1:
                record = msgspec.structs.replace(record, book_action=BookAction.SNAPSHOT)
            express.give(record, record.receive_time_ns)
        taken[kind] = express.taken - before
    assert taken == {Trade: 3, Quote: 3, Book: 3}


def test_where_the_proof_alone_holds_no_rule_but_that_of_identities_finds_anything() -> None:
    from etl.express import _step

    life, chosen, proved = Life(exchanges.load("binance"), "express"), random.Random(5), 0
    checker = life.intake.checker
    step = life.feed.step(checker, {}, {})
    assert step is not None
    bases = [of_binance(Trade), of_binance(Quote)]
    for number in range(2, 3_000):
        record = odd(numbered(chosen.choice(bases), number), chosen)
        before = checker.clock.offset_ns, len(checker.identities._recent), life.taken
        is_proved = _step.proves(step, record)
        assert before == (checker.clock.offset_ns, len(checker.identities._recent), life.taken)
        findings = {finding.code for finding in checker.check(record)} - {Code.IDENTITY_CONFLICT}
        assert not (is_proved and findings), record
        proved += is_proved
    assert 500 < proved < 2_900
    with pytest.raises(TypeError, match="a step and a record"):
        _step.proves(life, record)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="invalid PyCapsule"):
        _step.proves(len, record)  # type: ignore[arg-type]


def test_nothing_is_kept_of_what_was_taken() -> None:
    life, bases = Life(exchanges.load("binance"), "express"), [*map(of_binance, (Trade, Quote, Book))]
    step, queue = life.intake._step, life.publisher._queue

    def give(first: int, count: int) -> int:
        taken = 0
        for number in range(first, first + count):
            for base in bases:
                record = numbered(base, number)
                is_taken = step(record, record.receive_time_ns)
                taken += is_taken
                if not is_taken:  # identities are turned over the plain way
                    life.give(record, record.receive_time_ns)
            queue.clear()
        return taken

    for base in bases:
        first = numbered(base, 0)
        if isinstance(base, Book):
            first = msgspec.structs.replace(first, book_action=BookAction.SNAPSHOT)
        life.give(first, base.receive_time_ns)
    count = LEAK_RECORDS // 3
    give(1, 3 * IDENTITIES)
    gc.collect()
    before = sys.getallocatedblocks()
    rotations = count // IDENTITIES
    assert give(3 * IDENTITIES + 1, rotations * IDENTITIES) == rotations * (3 * IDENTITIES - 1)
    gc.collect()
    assert sys.getallocatedblocks() - before < 2_000
