"""One row for one print in every store, whatever came first: stream, correction, history, replay."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from itertools import permutations

import psycopg
import pytest
from msgspec import structs

from etl.adapter.contract import Exchange
from etl.exchanges.alpaca import Alpaca
from etl.exchanges.polygon import Polygon
from etl.model.records import CorrectionKind, Frame, Record, SizeUnit, Source, Trade
from etl.settings import Settings
from etl.sinks.clickhouse_ways import MARKET_DATA, batch_path, delimited
from etl.sinks.timescale import Span, TimescaleStore
from etl.stores.clickhouse_http import connect
from etl.stores.migrate import migrate_clickhouse, migrate_timescale
from etl.wire.codec import encode
from etl.wire.columns import decode
from tests.support import lake, stream

pytestmark = pytest.mark.integration

Row = tuple[str, str, Decimal | None, Decimal | None, bool]
Batches = Sequence[Sequence[Record]]


def print_of(trade_id: str, price: str, source: Source = Source.STREAM) -> Trade:
    return stream.trade(
        0, "alpaca", symbol="EEM", venue_symbol="EEM", record_key=f"2024-08-08/M/{trade_id}", trade_id=trade_id,
        last_price=price, volume="440000", size_unit=SizeUnit.SHARE, market_center="M", source=source, sequence=None,
    )  # fmt: skip


STREAM = (print_of("27", "39.1582"), print_of("1", "39"))
CORRECTED = (stream.correction("27", "26", last_price="39.1809", volume="440000", frame_sequence=2),)
HISTORY = (
    print_of("27", "39.1582", Source.REPAIR),
    stream.correction("27", channel="cancelErrors", source=Source.REPAIR),
    print_of("26", "39.1809", Source.REPAIR),
)
AGAIN = (stream.correction("26", "25", last_price="39.2", volume="440000"),)
CANCELLED = (stream.correction("26", kind=CorrectionKind.CANCEL, last_price="39.1809", volume="440000"),)
IN_PLACE = (stream.correction("27", "27", last_price="40", volume="440000"),)
CANCELLED_IN_PLACE = (stream.correction("27", kind=CorrectionKind.ERROR),)

SENT = {"S": "EEM", "x": "M", "z": "B"}
FRAMES: tuple[tuple[object, Source], ...] = (
    (
        [{"T": "t", **SENT, "i": 27, "p": 39.1582, "s": 440000, "c": [" ", "7"], "t": "2024-08-08T14:25:06.5Z"}],
        Source.STREAM,
    ),
    (
        [{
            "T": "c", **SENT, "oi": 27, "op": 39.1582, "os": 440000, "oc": [" ", "7"], "ci": 26, "cp": 39.1809,
            "cs": 440000, "cc": [" ", "7"], "t": "2024-08-08T14:25:06.5Z",
        }],
        Source.STREAM,
    ),
    (
        {"trades": {"EEM": [
            {"i": 27, "x": "M", "z": "B", "p": 39.1582, "s": 440000, "c": [" ", "7"], "t": "2024-08-08T14:25:06.5Z",
             "u": "incorrect"},
            {"i": 26, "x": "M", "z": "B", "p": 39.1809, "s": 440000, "c": [" ", "7"], "t": "2024-08-08T14:25:06.5Z",
             "u": "corrected"},
        ]}},
        Source.REPAIR,
    ),
)  # fmt: skip
"""Alpaca's documented example, as the stream and then the history tell it."""


VOIDED: Mapping[str, tuple[object, Source]] = {
    "stream": (
        [{"T": "t", **SENT, "i": 27, "p": 39.1582, "s": 440000, "c": [" "], "t": "2024-08-08T14:25:06.5Z"}],
        Source.STREAM,
    ),
    **{
        f"a: {word}": (
            [{
                "T": "x", **SENT, "i": 27, "p": 39.1582, "s": 440000, "a": word, "t": "2024-08-08T14:31:00Z",
            }],
            Source.STREAM,
        )
        for word in ("E", "C")
    },
    "history": (
        {"trades": {"EEM": [
            {"i": 27, "x": "M", "z": "B", "p": 39.1582, "s": 440000, "c": [" "], "t": "2024-08-08T14:25:06.5Z",
             "u": "canceled"},
        ]}},
        Source.REPAIR,
    ),
}  # fmt: skip
"""A print that none takes the place of, as the stream tells it and the history."""


PRINT_MS = 1_723_127_106_500
LATE_CORRECTED: Sequence[tuple[object, Source]] = (
    (
        [{"ev": "T", "sym": "EEM", "x": 11, "i": "27", "p": 39.1582, "s": 100, "t": PRINT_MS, "q": 5, "z": 2}],
        Source.STREAM,
    ),
    (
        {"ticker": "EEM", "status": "OK", "results": [
            {"exchange": 11, "id": "27", "price": 39.1809, "size": 100, "sequence_number": 5, "tape": 2,
             "correction": 1, "sip_timestamp": PRINT_MS * 1_000_000 + 7,
             "participant_timestamp": PRINT_MS * 1_000_000},
        ]},
        Source.REPAIR,
    ),
)  # fmt: skip
"""Polygon has no corrections on its stream; its history has the corrected print under the first identity."""


def of_message(
    message: object, source: Source, number: int = 0, feed: type[Exchange] = Alpaca
) -> list[Record]:
    payload = json.dumps(message).encode()
    outcomes = feed().parse(Frame(feed.name, "c", number + 1, "", stream.START_NS, payload, source))
    records = [outcome for outcome in outcomes if isinstance(outcome, Record)]
    assert len(records) == len(outcomes)
    return records


OTHER: Row = ("2024-08-08/M/1", "1", Decimal(39), Decimal(440_000), False)
REPLACED: Row = ("2024-08-08/M/26", "26", Decimal("39.1809"), Decimal(440_000), True)
CASES: dict[str, tuple[Batches, list[Row]]] = {
    **{
        f"stream, correction, history in order {number}": (list(order), [OTHER, REPLACED])
        for number, order in enumerate(permutations((STREAM, CORRECTED, HISTORY)))
    },
    **{
        f"frames in order {order}": ([of_message(*FRAMES[number], number) for number in order], [REPLACED])
        for order in permutations(range(3))
    },
    **{
        f"void in order {order}": ([of_message(*VOIDED[name]) for name in order], [])
        for word in ("a: E", "a: C")
        for order in permutations(("stream", word, "history"))
    },
    "history only": ([[STREAM[1], *HISTORY]], [OTHER, (*REPLACED[:4], False)]),
    "all in one batch, replayed": ([[*HISTORY, *CORRECTED, *STREAM], CORRECTED, HISTORY], [OTHER, REPLACED]),
    **{
        f"late corrected, in order {order}": (
            [of_message(*LATE_CORRECTED[number], number, Polygon) for number in order],
            [("2024-08-08/11//27", "27", Decimal("39.1809"), Decimal(100), True)],
        )
        for order in ((0, 1), (1, 0), (1,), (1, 0, 1))
    },
    "an error under its former key": (
        [STREAM, CANCELLED_IN_PLACE, of_message(*VOIDED["history"]), of_message(*VOIDED["a: E"])],
        [OTHER],
    ),
    "corrected again": (
        [STREAM, CORRECTED, HISTORY, AGAIN],
        [OTHER, ("2024-08-08/M/25", "25", Decimal("39.2"), Decimal(440_000), True)],
    ),
    "the replacement is cancelled": ([CANCELLED, HISTORY, CORRECTED, STREAM], [OTHER]),
    "corrected in place": (
        [STREAM, IN_PLACE],
        [OTHER, ("2024-08-08/M/27", "27", Decimal(40), Decimal(440_000), True)],
    ),
    "corrected in place, then an error": ([CANCELLED_IN_PLACE, STREAM, IN_PLACE], [OTHER]),
}
VOID = [name for name in CASES if name.startswith("void")]
ORDERS = pytest.mark.parametrize("name", CASES)
SHOWN = "record_key, trade_id, last_price, volume, corrected"
FACTS = "record_key, correction, last_price, volume"


def of_case(name: str) -> list[list[Record]]:
    """The batches under a venue of the case's own."""
    exchange = f"alpaca_{list(CASES).index(name)}"
    return [[structs.replace(record, exchange=exchange) for record in batch] for batch in CASES[name][0]]


def expected(name: str) -> list[Row]:
    return sorted(CASES[name][1])


def fact(name: str) -> list[tuple[str, str, Decimal, Decimal]]:
    """The one correction of a print that is void, in the stream's word."""
    word = "error" if "a: E" in name else "cancel"
    return [("2024-08-08/M/27/cancel", word, Decimal("39.1582"), Decimal(440_000))]


def test_in_clickhouse(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(clickhouse=True)
    migrate_clickhouse(settings)
    for name in CASES:
        for number, batch in enumerate(of_case(name)):
            with connect(settings, internal=True) as client:
                path = batch_path(MARKET_DATA, f"{name}-{number}", len(batch))
                client.insert(path, delimited(list(map(encode, batch))))
    with connect(settings) as client:
        for name in CASES:
            [[first, *_], *_] = of_case(name)
            answer = client.execute(
                f"SELECT {SHOWN} FROM trades_corrected WHERE exchange = '{first.exchange}' FORMAT TSV"
            )
            rows = [line.split("\t") for line in answer.decode().splitlines()]
            found = [(k, i, Decimal(p), Decimal(v), c == "true") for k, i, p, v, c in rows]
            assert sorted(found) == expected(name), name
        for name in VOID:
            [[first, *_], *_] = of_case(name)
            answer = client.execute(
                f"SELECT {FACTS} FROM corrections WHERE exchange = '{first.exchange}' FORMAT TSV"
            )
            rows = [line.split("\t") for line in answer.decode().splitlines()]
            assert [(k, word, Decimal(p), Decimal(v)) for k, word, p, v in rows] == fact(name), name


def test_in_timescaledb(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(timescale=True)
    migrate_timescale(settings)
    with TimescaleStore(settings) as store:
        for name in CASES:
            store.next_offset(name, name, 0, 0)
            for start, batch in enumerate(of_case(name)):
                rows, refused = decode(enumerate(map(encode, batch)))
                assert refused == []
                store.write(rows, Span(name, 0, start, start + 1))
    with psycopg.connect(settings.timescale_address) as connection:
        for name in CASES:
            [[first, *_], *_] = of_case(name)
            query = f"SELECT {SHOWN} FROM trades_corrected WHERE exchange = '{first.exchange}'"
            assert sorted(connection.execute(query.encode()).fetchall()) == expected(name), name
        for name in VOID:
            [[first, *_], *_] = of_case(name)
            query = f"SELECT {FACTS} FROM corrections WHERE exchange = '{first.exchange}'"
            assert connection.execute(query.encode()).fetchall() == fact(name), name


@ORDERS
def test_in_the_lake(settings: Settings, name: str) -> None:
    start = 0
    for batch in of_case(name):
        lake.export_records(settings, batch, start)
        start += len(batch)
    found = lake.query(settings, f"SELECT {SHOWN} FROM trades_corrected")
    assert sorted(found) == expected(name)
    if name in VOID:
        assert lake.query(settings, f"SELECT {FACTS} FROM corrections") == fact(name)
