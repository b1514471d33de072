"""Trades, quotes and books as ready blocks: the very columns of their stored tables in ClickHouse, as Arrow. Pure.

What the landing tables of ``sql/clickhouse`` and their views work out, 24 ms an insert before the first row, is worked
out here a column at a time, from the compiled decoder's arrays. A kind becomes a block only if all of its messages are
proved to be what the landing table takes and to fit the stored table's usual columns. If any is not, all of that kind
go to the landing table as they are: so a batch's rows of one table are one block, whichever way they go, and what is
refused is refused by the store, in its words.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from msgspec import Struct

from etl.express import _decimals
from etl.express.decoders import Arrays, numbered
from etl.model.records import Kind


class Block(Struct, frozen=True):
    """Rows of one stored table in the order of their messages: the columns' names, and an Arrow stream of one batch.
    A column in which no message has anything is left out, half of a quote's: the table's default is the same."""

    columns: tuple[str, ...]
    stream: bytes
    rows: int


BlockMaker = Callable[[Sequence[bytes]], Mapping[Kind, Block]]
"""Of messages as they are on the topic, the block of each kind that has one."""

DECIMAL = pa.decimal128(38, 19)
NARROW = pa.decimal128(18, 8)
"""Of a book's levels: others go by the landing table, which has a wider column for them."""
KEY_DIGITS_MAX = 19
"""A longer number behind the last ``/`` of a key may be beyond UInt64."""
KEY_TIME_NS_MAX = 1 << 62
"""The year 2116: far from the end of ClickHouse's DateTime64(9)."""

_Numbers = npt.NDArray[Any]


class _Key(NamedTuple):
    """What is before the number, the number, and what is behind the last ``/``. A key that does not end with a number
    in its shortest form is all prefix, and its number is 0."""

    prefix: pa.Array
    number: _Numbers
    tail: pa.Array


class _Unproved(Exception):
    """Of some message it is not certain what the landing table would make of it."""


def block_maker() -> BlockMaker:
    """Raises ``ImportError`` where the compiled code is not built."""
    decode = numbered()

    def blocks(values: Sequence[bytes]) -> dict[Kind, Block]:
        found, unproved = decode(enumerate(values), _SKIPPED)
        barred = {
            value[1] for _, value in unproved if value and len(value) > 1
        }  # the kind, or of no kind here
        made = {each.kind: _block(each) for each in found if each.kind not in barred}
        return {kind: block for kind, block in made.items() if block is not None}

    return blocks


def _block(rows: Arrays) -> Block | None:
    try:
        key = _key(rows.by_name["record_key"])
        found = _common(rows.by_name, key) | _OWN[rows.kind](rows.by_name, key)
    except _Unproved:
        return None
    columns = {name: column for name, column in found.items() if column.null_count < len(column)}
    batch = pa.RecordBatch.from_pydict(columns)
    with pa.BufferOutputStream() as sink:
        with pa.ipc.new_stream(sink, batch.schema) as stream:
            stream.write_batch(batch)
        return Block(tuple(columns), sink.getvalue().to_pybytes(), len(batch))


def _require(holds: Any) -> None:
    if not holds:
        raise _Unproved


def _require_text(texts: pa.Array) -> None:
    _require(pc.min(pc.binary_length(texts)).as_py() > 0)


# ── columns ────────────────────────────────────────────────────────────────────────────────────────────────────


def _common(of: Mapping[str, pa.Array], key: _Key) -> dict[str, pa.Array]:
    """What the stored tables of all kinds have. Times are kept as distances from the key's, which are small."""
    key_time, event_time = _numbers(of["key_time_ns"]), _numbers(of["event_time_ns"])
    _require(key_time.min() > 0 and key_time.max() < KEY_TIME_NS_MAX)
    _require_text(of["exchange"])
    number = key.number
    sequence = _numbers(pc.fill_null(of["sequence"], 0))
    has_none = _numbers(of["sequence"].is_null())
    is_key = (sequence == number.astype(np.int64)) & (number != 0) & ~has_none
    return {
        "exchange": _repeated(of["exchange"]),
        "symbol": _repeated(of["symbol"]),
        "key_time": pa.array(key_time).view(pa.timestamp("ns", "UTC")),
        "key_prefix": key.prefix,
        "key_number": pa.array(number),
        "venue_symbol": _repeated(of["venue_symbol"]),
        "channel": _repeated(of["channel"]),
        "event_offset": _distance(event_time, key_time),
        "receive_offset": pa.array(
            _numbers(of["receive_time_ns"]) - np.where(event_time == 0, key_time, event_time)
        ),
        "publish_offset": _distance(_numbers(of["publish_time_ns"]), key_time),
        "participant_time_ns": of["participant_time_ns"],
        "source": _name(of["source"]),
        "connection_id": _repeated(of["connection_id"]),
        "frame_sequence": of["frame_sequence"],
        "frame_index": of["frame_index"].cast(pa.int32()),
        "parser_version": _unsigned(of["parser_version"]),
        "sequence_is_key": pa.array(is_key),
        "sequence_own": _nullable(sequence, is_key | has_none),
        "first_sequence": of["first_sequence"],
        "previous_sequence": of["previous_sequence"],
        "flags": _list(of["flags"]),
    }


def _trade(of: Mapping[str, pa.Array], key: _Key) -> dict[str, pa.Array]:
    trade_id = _text(of["trade_id"])
    is_key = pc.equal(trade_id, key.tail)
    return {
        "last_price": _decimal(of["last_price"]),
        "volume": _decimal(of["volume"]),
        "side": _name(of["side"]),
        "trade_id_is_key": is_key,
        "trade_id_own": pc.if_else(is_key, "", trade_id),
        "size_unit": _name(of["size_unit"]),
        "market_center": _repeated(of["market_center"]),
        "trf_id": _repeated(of["trf_id"]),
        "conditions": _list(of["conditions"]),
        "tape": _repeated(of["tape"]),
    }


def _quote(of: Mapping[str, pa.Array], key: _Key) -> dict[str, pa.Array]:
    return {
        **{name: _decimal(of[name]) for name in ("bid", "bid_size", "ask", "ask_size")},
        "size_unit": _name(of["size_unit"]),
        "bid_exchange": _repeated(of["bid_exchange"]),
        "ask_exchange": _repeated(of["ask_exchange"]),
        "conditions": _list(of["conditions"]),
        "indicators": _list(of["indicators"]),
        "tape": _repeated(of["tape"]),
        "market_center": _repeated(of["market_center"]),
    }


def _book(of: Mapping[str, pa.Array], key: _Key) -> dict[str, pa.Array]:
    """Both sides' levels in one list, the bids first."""
    bids, asks = _starts(of["bid_prices"]), _starts(of["ask_prices"])
    for side, starts in (("bid", bids), ("ask", asks)):
        _require(np.array_equal(_starts(of[f"{side}_sizes"]), starts))
        orders = np.diff(_starts(of[f"{side}_orders"]))
        _require(np.all((orders == 0) | (orders == np.diff(starts))))
    places = _places(bids, asks)
    return {
        "book_action": _name(of["book_action"]),
        "bid_count": pa.array(np.diff(bids).astype(np.uint32)),
        "prices_narrow": _levels(of["bid_prices"], of["ask_prices"], bids + asks, places),
        "sizes_narrow": _levels(of["bid_sizes"], of["ask_sizes"], bids + asks, places),
        "bid_orders": _list(of["bid_orders"]),
        "ask_orders": _list(of["ask_orders"]),
        "size_unit": _name(of["size_unit"]),
        "depth": _unsigned(of["depth"]),
    }


_OWN = {Kind.TRADE: _trade, Kind.QUOTE: _quote, Kind.BOOK: _book}
_SKIPPED = tuple(kind for kind in Kind if kind not in _OWN)


# ── forms ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _numbers(values: pa.Array) -> _Numbers:
    return values.to_numpy(zero_copy_only=False)  # type: ignore[no-any-return]


def _unsigned(values: pa.Array) -> pa.Array:
    _require(_numbers(values).min() >= 0)
    return values.cast(pa.uint32())


def _name(values: pa.Array) -> pa.Array:
    """An Enum8, by its number, which the decoder found among its names."""
    return values.cast(pa.int8())


def _distance(times: _Numbers, key_time: _Numbers) -> pa.Array:
    """Null where there is no time."""
    return _nullable(times - key_time, times == 0)


def _nullable(numbers: _Numbers, is_null: _Numbers) -> pa.Array:
    """What lies under a null is stored as well, and best as 0."""
    return pa.array(np.where(is_null, 0, numbers), mask=is_null)


def _text(values: pa.Array) -> pa.Array:
    return pc.fill_null(values, "") if values.null_count else values


def _repeated(values: pa.Array) -> pa.Array:
    """A LowCardinality(String)."""
    return _text(values).dictionary_encode() if values.null_count < len(values) else values


def _starts(lists: pa.Array) -> _Numbers:
    """Where each row's list begins, and the end."""
    return lists.offsets.to_numpy()  # type: ignore[no-any-return]


def _list(lists: pa.Array) -> pa.Array:
    """An empty one where the message has none."""
    if not len(lists.values):
        return pa.nulls(len(lists))
    return pa.ListArray.from_arrays(lists.offsets, lists.values)


def _key(keys: pa.Array) -> _Key:
    """Keys as ``trade/4711``, split."""
    _require_text(keys)
    start, text = _text_of(keys)
    slashes = np.flatnonzero(text == ord("/"))
    last = np.searchsorted(slashes, start[1:]) - 1  # the last one before the row's end, if any
    at = np.where(last >= 0, slashes[last] + 1 if len(slashes) else 0, 0)
    tail_start = np.maximum(at, start[:-1])
    tail_digits = start[1:] - tail_start
    lengths = np.column_stack((tail_start - start[:-1], tail_digits)).ravel()
    is_tail = np.repeat(np.tile((False, True), len(keys)), lengths)
    tail = _texts(text[is_tail], tail_digits)
    is_number = _all_digits(text, tail_start, start[1:]) & (tail_digits > 0)
    is_number &= text[np.minimum(tail_start, len(text) - 1)] != ord("0")
    _require(not np.any(is_number & (tail_digits > KEY_DIGITS_MAX)))
    number = pc.if_else(pa.array(is_number), tail, "0").cast(pa.uint64())
    head = _texts(text[~is_tail], tail_start - start[:-1])
    return _Key(pc.if_else(pa.array(is_number), head, keys), _numbers(number), tail)


def _all_digits(text: _Numbers, start: _Numbers, end: _Numbers) -> _Numbers:
    others = np.concatenate(([0], np.cumsum((text < ord("0")) | (text > ord("9")))))
    return others[end] == others[start]  # type: ignore[no-any-return]


def _text_of(texts: pa.Array) -> tuple[_Numbers, _Numbers]:
    """Where each row's text begins, and the end; and the bytes."""
    _, starts, text = texts.buffers()
    return np.frombuffer(starts, np.int32, len(texts) + 1), np.frombuffer(text or b"", np.uint8)


def _texts(text: _Numbers, lengths: _Numbers) -> pa.Array:
    ends = np.concatenate(([0], np.cumsum(lengths))).astype(np.int32)
    return pa.StringArray.from_buffers(len(lengths), pa.py_buffer(ends), pa.py_buffer(text))


def _decimal(values: pa.Array) -> pa.Array:
    return _exact(values, DECIMAL)


def _exact(values: pa.Array, kind: pa.Decimal128Type) -> pa.Array:
    """Plain decimal text whose digits all fit, as numbers. Arrow's own cast takes four times as long and reads 1e5."""
    validity, starts, text = values.buffers()
    numbers = _decimals.exact(starts, text or b"", kind.precision - kind.scale, kind.scale)
    _require(numbers is not None)
    return pa.Array.from_buffers(kind, len(values), [validity, pa.py_buffer(numbers)])


def _places(bids: _Numbers, asks: _Numbers) -> pa.Array:
    """For each level of a list of both sides its number among all bids, followed by all asks."""
    of_bids, of_asks = np.arange(bids[-1]), np.arange(asks[-1])
    places = np.empty(len(of_bids) + len(of_asks), np.int64)
    places[of_bids + np.repeat(asks[:-1], np.diff(bids))] = of_bids
    places[of_asks + np.repeat(bids[1:], np.diff(asks))] = of_asks + len(of_bids)
    return pa.array(places)


def _levels(bids: pa.Array, asks: pa.Array, starts: _Numbers, places: pa.Array) -> pa.Array:
    both = pa.concat_arrays([_exact(bids.values, NARROW), _exact(asks.values, NARROW)])
    return pa.ListArray.from_arrays(pa.array(starts.astype(np.int32)), both.take(places))
