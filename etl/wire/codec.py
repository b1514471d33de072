"""Record ↔ the bytes of a message. Pure.

``encode`` checks nothing but the shape; which decimals a store can hold is validation's question.

Encoding is most of what the hot path adds to a record, so it does not go through a message object. For each kind
a function is generated from the fields of the record and their numbers in the schema. It writes the message as
one f-string in which every byte is one Latin-1 character, and encodes that string once:

    exchange, …, bid, … = astuple(record)
    f"{head}\\x39{fixed64(receive_time_ns)}…{'' if bid is None else f'<tag>{LENGTH[len(bid)]}{bid}'}…".encode("latin-1")

Measured on recorded quotes: 0.9 µs, against 4.6 µs for building and serialising the library's message. Whatever
does not fit that form (text that is not ASCII or longer than 127) takes the library's way; ``tests/wire`` proves
both give the same bytes.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import DecodeError
from msgspec import Struct
from msgspec.inspect import EnumType, Field, IntType, StrType, StructType, UnionType, VarTupleType

from etl.errors import WireError
from etl.model.records import RECORD_TYPES, Book, Kind, Quarantined, Record
from etl.wire import market_data_pb2 as pb

MarketData: Any = pb.MarketData
QuarantinedMessage: Any = pb.Quarantined

KNOWN_TEXTS_MAX = 65_536
"""Constant parts of messages (symbols, channels, conditions) whose wire form is remembered."""

KIND_NAMES: dict[Kind, str] = {kind: kind.name.lower() for kind in Kind}

_TYPE_BY_KIND: dict[int, type[Record]] = {int(t.kind): t for t in RECORD_TYPES}
FIELDS: dict[type[Record], tuple[Field, ...]] = {
    t: cast(StructType, msgspec.inspect.type_info(t)).fields for t in RECORD_TYPES
}
_OUT_OF_RANGE = (ValueError, TypeError, struct.error)  # what the library raises for a value that does not fit


def encode(record: Record) -> bytes:
    """``record`` as a serialised ``MarketData``. Raises ``WireError`` for a number or text that it cannot carry."""
    return ENCODERS[type(record)](record)


def decode(data: bytes) -> Record:
    """The record that ``data`` carries. Raises ``WireError``."""
    return record_in(parse(data))


def record_in(message: Any) -> Record:
    """The record that ``message``, a ``MarketData``, is. Raises ``WireError``."""
    record_type = _TYPE_BY_KIND.get(message.kind)
    if record_type is None:
        raise WireError(f"MarketData of unknown kind {message.kind}")
    try:
        return record_type(**{name: read(message) for name, read in _READERS[record_type]})
    except ValueError as error:  # a value that no enum here has
        raise WireError(f"MarketData: {error}") from None


def parse(data: bytes) -> Any:
    """The message that ``data`` is, its kind known; its other enums may be any number. Raises ``WireError``."""
    message = MarketData()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError(f"not a MarketData message: {error}") from None
    if message.kind not in _TYPE_BY_KIND:
        raise WireError(f"MarketData of unknown kind {message.kind}")
    return message


class Place(Struct, frozen=True, gc=False):
    """Where a published record came from, and the stream it belongs to."""

    exchange: str
    symbol: str
    channel: str
    connection_id: str
    frame_sequence: int
    frame_index: int
    is_gap: bool


def place_of(data: bytes) -> Place:
    """Only that much of a record, in a fifth of ``decode``'s time. Raises ``WireError``."""
    message = parse(data)
    return Place(
        message.exchange,
        message.symbol,
        message.channel,
        message.connection_id,
        message.frame_sequence,
        message.frame_index,
        message.kind == Kind.GAP,
    )


def encode_quarantined(item: Quarantined) -> bytes:
    """Raises ``WireError``."""
    fields = {name: getattr(item, name) for name in Quarantined.__struct_fields__}
    try:
        return cast(bytes, QuarantinedMessage(**fields).SerializeToString())
    except _OUT_OF_RANGE as error:
        raise WireError(f"quarantined {item.code}: {error}") from None


def decode_quarantined(data: bytes) -> Quarantined:
    """Raises ``WireError``."""
    message = QuarantinedMessage()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError(f"not a Quarantined message: {error}") from None
    try:
        return Quarantined(**{name: read(message) for name, read in _QUARANTINED_READERS})
    except ValueError as error:
        raise WireError(f"Quarantined: {error}") from None


def encode_by_library(record: Record) -> bytes:
    """The plain version of ``encode``, for what the generated encoders do not fit, and to test them against."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    try:
        message = MarketData(
            kind=int(record.kind), **{name: value for name, value in fields.items() if value is not None}
        )
        return cast(bytes, message.SerializeToString())
    except _OUT_OF_RANGE as error:
        raise WireError(f"{KIND_NAMES[record.kind]} {record.record_key[:80]!r}: {error}") from None


def _reader(field: Field) -> Callable[[Any], Any]:
    """How to take ``field`` out of a message: optional → None where absent, repeated → tuple, enum → enum."""
    name, kind = field.name, field.type
    if isinstance(kind, UnionType):
        return lambda message: getattr(message, name) if message.HasField(name) else None
    if isinstance(kind, VarTupleType):
        return lambda message: tuple(getattr(message, name))
    if isinstance(kind, EnumType):
        enum = kind.cls
        return lambda message: enum(getattr(message, name))
    return lambda message: getattr(message, name)


_READERS: dict[type[Record], list[tuple[str, Callable[[Any], Any]]]] = {
    record_type: [(field.name, _reader(field)) for field in fields] for record_type, fields in FIELDS.items()
}
_QUARANTINED_READERS = [
    (field.name, _reader(field)) for field in cast(StructType, msgspec.inspect.type_info(Quarantined)).fields
]


# Parts of a message as Latin-1 text.


def _varint_text(number: int) -> str:
    number &= (1 << 64) - 1
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return out.decode("latin-1")


_Key = TypeVar("_Key")


class _Memo(dict[_Key, str]):
    """Texts that are remembered, up to ``size_max``: a look-up costs half of a call."""

    def __init__(self, text_of: Callable[[_Key], str], size_max: int) -> None:
        self._text_of = text_of
        self._size_max = size_max

    def __missing__(self, key: _Key) -> str:
        if len(self) >= self._size_max:
            self.clear()
        text = self[key] = self._text_of(key)
        return text


_LOW = (1 << 14) - 1
_SHORT = {n: _varint_text(n) for n in range(_LOW + 1)}
_MORE = [chr(n & 0x7F | 0x80) + chr(n >> 7 | 0x80) for n in range(_LOW + 1)]
"""The low 14 bits of a longer number, both bytes marked as continued."""
_ENUM = [chr(n) for n in range(128)]
"""A list: to look an enum member up in a dict costs 0.1 µs for its hash."""


def _high_text(number: int) -> str:
    """The bits above the low 14 of an int64."""
    if not -(1 << 49) <= number < 1 << 49:
        raise OverflowError
    return _varint_text(number & (1 << 50) - 1)


_HIGH: _Memo[int] = _Memo(_high_text, KNOWN_TEXTS_MAX)
_TIME: _Memo[int] = _Memo(lambda number: struct.pack("<q", number).decode("latin-1"), 4_096)
"""The times of one socket read repeat, and those of a burst."""


def _varint(number: int) -> str:
    return _SHORT[number] if 0 <= number <= _LOW else _MORE[number & _LOW] + _HIGH[number >> 14]


def _varint32(number: int) -> str:
    if not -(1 << 31) <= number < 1 << 31:
        raise OverflowError
    return _varint(number)


@lru_cache(maxsize=KNOWN_TEXTS_MAX)
def _text(tag: str, text: str) -> str:
    utf8 = text.encode().decode("latin-1")
    return f"{tag}{_varint(len(utf8))}{utf8}" if text else ""


def _texts(tag: str, texts: Sequence[str]) -> str:
    """Texts of one length, as a book's prices mostly are, are joined by their common mark in half of the time."""
    if not "".join(texts).isascii():
        texts = [text.encode().decode("latin-1") for text in texts]
    marks = _marks(tag)
    lengths = set(map(len, texts))
    if len(lengths) == 1:
        mark = marks[lengths.pop()]
        return mark + mark.join(texts)
    return "".join([marks[len(text)] + text for text in texts])


@lru_cache(maxsize=64)
def _marks(tag: str) -> list[str]:
    """What stands before a text, by its length: up to 127."""
    return [tag + chr(length) for length in range(128)]


_known_texts = lru_cache(maxsize=KNOWN_TEXTS_MAX)(_texts)


def _packed(tag: str, numbers: Sequence[int]) -> str:
    packed = "".join([_varint(number) for number in numbers])
    return f"{tag}{_varint(len(packed))}{packed}"


def _instrument(names: tuple[str, str, str, str]) -> str:
    """Exchange, symbol, venue symbol, channel."""
    return "".join([_text(chr(number << 3 | 2), name) for number, name in enumerate(names, 2)])


_INSTRUMENT = _Memo(_instrument, KNOWN_TEXTS_MAX)
_CONNECTION: _Memo[str] = _Memo(lambda connection_id: _text(chr(9 << 3 | 2), connection_id), 1_024)


_NAMES: dict[str, Any] = {
    "SHORT": _SHORT,
    "ENUM": _ENUM,
    "MORE": _MORE,
    "HIGH": _HIGH,
    "TIME": _TIME,
    "varint32": _varint32,
    "text": _text,
    "texts": _texts,
    "known_texts": _known_texts,
    "packed": _packed,
    "INSTRUMENT": _INSTRUMENT,
    "CONNECTION": _CONNECTION,
    "astuple": msgspec.structs.astuple,
    "by_library": encode_by_library,
}
_TOGETHER = {"exchange", "symbol", "venue_symbol", "channel"}
_RARE = dict.fromkeys(("first_sequence", "previous_sequence"), "{} is not None") | dict.fromkeys(
    (
        "frame_index",
        "participant_time_ns",
        "flags",
        "bid_exchange",
        "ask_exchange",
        "conditions",
        "indicators",
        "tape",
        "market_center",
        "trf_id",
    ),
    "{}",
)
"""Fields that whole venues never set: one test for all of them together, when none is, saves a fifth. Another for
those that are always set, a tenth."""
_INLINE = {"record_key", "trade_id", "first_trade_id", "last_trade_id", "original_trade_id"}
"""Texts that differ from record to record: no use remembering them."""
_NOW_AND_THEN = {"event_time_ns", "publish_time_ns", "trade_count"}
"""Fields that some channels never set: tested one by one. All others that are not rare are tested together."""


class _Piece(Struct, frozen=True):
    """How a field is written inside an f-string, and the condition for it to be written at all."""

    written: str
    condition: str

    @property
    def conditional(self) -> str:
        return f"{{f\"{self.written}\" if {self.condition} else ''}}" if self.condition else self.written


def _piece(record_type: type[Record], field: Field) -> _Piece:
    name, kind = field.name, field.type
    wire = MarketData.DESCRIPTOR.fields_by_name[name]
    optional = isinstance(kind, UnionType)
    if optional:
        kind = next(t for t in cast(UnionType, kind).types if isinstance(t, (StrType, IntType)))
    wire_type = 1 if wire.type == wire.TYPE_SFIXED64 else 0 if isinstance(kind, (IntType, EnumType)) else 2
    tag = _varint_text(wire.number << 3 | wire_type)  # as it is: an f-string's braces may hold no escapes
    if name == "connection_id":
        return _Piece("{CONNECTION[connection_id]}", "")
    if isinstance(kind, VarTupleType):
        function = "packed" if isinstance(kind.item_type, IntType) else "texts"
        function = "known_texts" if function == "texts" and record_type is not Book else function
        written = f"{{{function}('{tag}', {name})}}"
    elif isinstance(kind, StrType):
        inline = optional or name in _INLINE
        written = f"{tag}{{SHORT[len({name})]}}{{{name}}}" if inline else f"{{text('{tag}', {name})}}"
    elif isinstance(kind, EnumType):
        written = f"{tag}{{ENUM[{name}]}}"
    else:
        written = tag + _number(name, wire.type)
    return _Piece(written, f"{name} is not None" if optional else name)


def _number(name: str, wire_type: int) -> str:
    """The expression that writes a number."""
    if wire_type == FieldDescriptor.TYPE_SFIXED64:
        return f"{{TIME[{name}]}}"
    if wire_type == FieldDescriptor.TYPE_INT32:
        return f"{{SHORT[{name}] if {name} < 16384 else varint32({name})}}"
    return f"{{SHORT[{name}] if {name} < 16384 else MORE[{name} & 16383] + HIGH[{name} >> 14]}}"


def _source_of(record_type: type[Record]) -> str:
    """Python source of the encoder of ``record_type``; its fields in the order of their numbers."""
    fields = FIELDS[record_type]
    by_number = sorted(fields, key=lambda f: MarketData.DESCRIPTOR.fields_by_name[f.name].number)
    pieces = {f.name: _piece(record_type, f) for f in by_number if f.name not in _TOGETHER}
    rare = [name for name in pieces if name in _RARE]
    usual = {name: piece for name, piece in pieces.items() if name not in _RARE}
    present = {
        name: piece.written
        for name, piece in usual.items()
        if name not in _NOW_AND_THEN and not isinstance(_type_of(record_type, name), VarTupleType)
    }
    flat = "".join(present.get(name, piece.conditional) for name, piece in usual.items())
    whole = "".join(piece.conditional for piece in pieces.values())
    inline = [f.name for f in fields if isinstance(f.type, UnionType) and _is_text(f.type)]
    inline += [f.name for f in fields if f.name in _INLINE]
    head = f"\\x08\\x{int(record_type.kind):02x}{{INSTRUMENT[exchange, symbol, venue_symbol, channel]}}"
    return (
        f"def encode(record):\n"
        f"    {', '.join(f.name for f in fields)} = astuple(record)\n"
        f"    try:\n"
        f"        if f'{''.join(f'{{{name}}}' for name in inline)}'.isascii():\n"
        f"            if {' or '.join(_RARE[name].format(name) for name in rare)}"
        f" or not ({' and '.join(filter(None, (usual[name].condition for name in present)))}):\n"
        f"                return f'''{head}{whole}'''.encode('latin-1')\n"
        f"            return f'''{head}{flat}'''.encode('latin-1')\n"
        f"    except (LookupError, OverflowError, UnicodeError, StructError):\n"
        f"        pass\n"
        f"    return by_library(record)\n"
    )


def _type_of(record_type: type[Record], name: str) -> object:
    return next(field.type for field in FIELDS[record_type] if field.name == name)


def _is_text(kind: UnionType) -> bool:
    return any(isinstance(t, StrType) for t in kind.types)


def _compiled(record_type: type[Record]) -> Callable[[Record], bytes]:
    names = {**_NAMES, "StructError": struct.error}
    exec(compile(_source_of(record_type), f"<encoder of {record_type.__name__}>", "exec"), names)  # noqa: S102
    return cast(Callable[[Record], bytes], names["encode"])


ENCODERS: dict[type, Callable[[Record], bytes]] = {t: _compiled(t) for t in RECORD_TYPES}
"""Record type → its encoder: what a loop over outcomes looks up once to tell records from the rest."""
