"""Messages that no reader can use, and good ones made wrong: arbitrary keys, values and headers. Seeded."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from google.protobuf.message import DecodeError

from etl.model.records import Frame, Quarantined, Severity, Source
from etl.transports.frame_headers import frame_headers
from etl.transports.message import Message
from etl.wire import market_data_pb2 as pb
from etl.wire.codec import encode, encode_quarantined
from tests.support import stream
from tests.support.stream import START_NS

ODD_NUMBERS = (0, 1, -1, 2, 99, 127, 128, 255, 258, -128, 2**31 - 1, -(2**31))
ODD_TEXTS = (
    "", "x", "\x00", "NaN", "-1", "1e999", "9" * 40, "0." + "1" * 40, "币" * 28, "é" * 300, "a/b", "..", "=", "1m",
    "binance", "\u2028", "'; --", '{"a"', "BTC-USDT", "1" * 5_000,
)  # fmt: skip
ODD_HEADERS: tuple[bytes | None, ...] = (
    None, b"", b"binance", b"stream", b"-1", b"0", b"9" * 30, b"9" * 5_000, b"1_0", b"\xff", b"x" * 400,
    b"zstd 10", b"zstd 10 1/2", b"zstd 10 2/2", b"zstd 99999999999", b"BACKFILL", str(2**63).encode(),
    str(2**63 - 1).encode(), b"wss://x", b"/api/v3/trades?symbol=BTCUSDT",
)  # fmt: skip


def written(
    offset: int,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] | None = None,
) -> Message:
    return Message("fuzz", 0, offset, key, value, lambda: headers, START_NS // 1_000_000)


def records(count: int, first_seed: int = 0) -> Iterator[Message]:
    """For readers of the normalized topic."""
    return _written(count, first_seed, _RECORDS, pb.MarketData)


def items(count: int, first_seed: int = 0) -> Iterator[Message]:
    """For readers of the quarantine topic."""
    return _written(count, first_seed, _ITEMS, pb.Quarantined)


def frames(count: int, first_seed: int = 0) -> Iterator[Message]:
    """For readers of the raw topic."""
    for seed in range(first_seed, first_seed + count):
        generator = random.Random(seed)
        frame = Frame(
            "binance",
            f"c{seed % 7}",
            seed + 1,
            "wss://x/stream?streams=btcusdt@trade",
            START_NS + seed,
            generator.choice(_PAYLOADS),
            generator.choice(list(Source)),
        )
        headers: list[tuple[str, bytes | None]] = [*frame_headers(frame).items()]
        if generator.random() < 0.3:
            headers.append(("encoding", generator.choice(ODD_HEADERS)))
        if generator.random() < 0.7:
            place = generator.randrange(len(headers))
            headers[place] = (headers[place][0], generator.choice(ODD_HEADERS))
        if generator.random() < 0.1:
            del headers[generator.randrange(len(headers)) :]
        value: bytes | None = frame.payload
        if generator.random() < 0.3:
            value = generator.choice((None, b"", generator.randbytes(generator.randrange(60))))
        key: bytes | None = generator.choice((frame.connection_id.encode(),) * 3 + (None, b"\xff\xfe", b""))
        yield written(seed, key, value, headers or None)


def wrong(value: bytes, message_type: Any, generator: random.Random) -> bytes | None:
    """``value`` with one thing wrong: a field of the message, or its bytes, or nothing at all."""
    if generator.random() < 0.6:
        return _wrong_field(value, message_type, generator)
    return generator.choice(_BYTES)(value, generator)


def _written(count: int, first_seed: int, good: tuple[bytes, ...], message_type: Any) -> Iterator[Message]:
    for seed in range(first_seed, first_seed + count):
        generator = random.Random(seed)
        value: bytes | None = generator.choice(good)
        for _ in range(generator.choice((0, 1, 1, 1, 2))):
            value = wrong(value or b"", message_type, generator)
        key = generator.choice((b"binance:BTC-USDT",) * 5 + (None, b"", b"\xff", b"binance:", b"kraken:X"))
        yield written(seed, key, value)


def _wrong_field(value: bytes, message_type: Any, generator: random.Random) -> bytes:
    message = message_type()
    try:
        message.ParseFromString(value)
    except DecodeError:
        return value
    field = generator.choice(message_type.DESCRIPTOR.fields)
    odd = _odd_value(field, generator)
    try:
        if field.is_repeated:
            getattr(message, field.name).extend([odd] * generator.randrange(1, 3))
        else:
            setattr(message, field.name, odd)
    except (ValueError, TypeError, OverflowError):
        return value
    return bytes(message.SerializeToString())


def _odd_value(field: Any, generator: random.Random) -> Any:
    if field.cpp_type == field.CPPTYPE_STRING:
        text = generator.choice(ODD_TEXTS)
        return text.encode() if field.type == field.TYPE_BYTES else text
    if field.cpp_type == field.CPPTYPE_INT64:
        return generator.choice((*ODD_NUMBERS, 2**63 - 1, -(2**63), START_NS))
    return generator.choice(ODD_NUMBERS)


_BYTES: tuple[Callable[[bytes, random.Random], bytes | None], ...] = (
    lambda value, generator: None,
    lambda value, generator: b"",
    lambda value, generator: generator.randbytes(generator.randrange(200)),
    lambda value, generator: value[: generator.randrange(len(value) + 1)],
    lambda value, generator: bytes(
        byte ^ (generator.random() < 0.01) * generator.randrange(256) for byte in value
    ),
    lambda value, generator: value + generator.randbytes(3),
)
_RECORDS = tuple(
    encode(record)
    for record in (
        *(stream.trade(number) for number in range(4)),
        stream.quote(1),
        stream.book(1),
        stream.bar(1),
        stream.gap(1),
    )
)
_PAYLOADS = (
    b'{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255342,"s":"BTCUSDT","t":3735683259,"p":"61837.63",'
    b'"q":"0.02","T":1723161255341,"m":true,"M":true}}',
    b"{}",
    b"[]",
    b"\xff",
)
_ITEMS = tuple(
    encode_quarantined(
        Quarantined(
            "undecodable", Severity.HARD, "garbled", "binance", "wss://x/stream?streams=btcusdt@trade", START_NS,
            Source.STREAM, "c1", 7, 0, 1, payload=payload, record=record, symbol="BTC-USDT",
        )
    )
    for payload, record in ((_PAYLOADS[0], b""), (b"", _RECORDS[0]), (b"{", b""), (b"", b""))
)  # fmt: skip
