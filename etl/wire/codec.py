"""Record ↔ the bytes of a message. Pure.

``encode`` checks nothing but the shape; which decimals a store can hold is validation's question.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgspec
from google.protobuf.message import DecodeError

from etl.errors import WireError
from etl.records import RECORD_TYPES, Kind, Quarantined, Record, Severity, Source
from etl.wire import market_data_pb2 as pb

MarketData: Any = pb.MarketData  # type: ignore[attr-defined]
QuarantinedMessage: Any = pb.Quarantined  # type: ignore[attr-defined]

_TYPE_BY_KIND: dict[int, type[Record]] = {int(t.kind): t for t in RECORD_TYPES}


def encode(record: Record) -> bytes:
    """``record`` as a serialised ``MarketData``."""
    fields = {name: getattr(record, name) for name in record.__struct_fields__}
    message = MarketData(
        kind=int(record.kind), **{name: value for name, value in fields.items() if value is not None}
    )
    return cast(bytes, message.SerializeToString())


def decode(data: bytes) -> Record:
    """The record that ``data`` carries. Raises ``WireError``."""
    message = MarketData()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError(f"not a MarketData message: {error}") from None
    record_type = _TYPE_BY_KIND.get(message.kind)
    if record_type is None:
        raise WireError(f"MarketData of unknown kind {message.kind}")
    return record_type(**{name: read(message) for name, read in _READERS[record_type]})


def encode_quarantined(item: Quarantined) -> bytes:
    fields = {name: getattr(item, name) for name in Quarantined.__struct_fields__}
    return cast(bytes, QuarantinedMessage(**fields).SerializeToString())


def decode_quarantined(data: bytes) -> Quarantined:
    """Raises ``WireError``."""
    message = QuarantinedMessage()
    try:
        message.ParseFromString(data)
    except DecodeError as error:
        raise WireError(f"not a Quarantined message: {error}") from None
    fields = {name: getattr(message, name) for name in Quarantined.__struct_fields__}
    fields["severity"] = Severity(fields["severity"])
    fields["source"] = Source(fields["source"])
    return Quarantined(**fields)


def _reader(field: msgspec.inspect.Field) -> Callable[[Any], Any]:
    """How to take ``field`` out of a message: optional → None where absent, repeated → tuple, enum → enum."""
    name, kind = field.name, field.type
    if isinstance(kind, msgspec.inspect.UnionType):
        return lambda message: getattr(message, name) if message.HasField(name) else None
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return lambda message: tuple(getattr(message, name))
    if isinstance(kind, msgspec.inspect.EnumType):
        enum = kind.cls
        return lambda message: enum(getattr(message, name))
    return lambda message: getattr(message, name)


_READERS: dict[type[Record], list[tuple[str, Callable[[Any], Any]]]] = {
    record_type: [
        (field.name, _reader(field))
        for field in cast(msgspec.inspect.StructType, msgspec.inspect.type_info(record_type)).fields
    ]
    for record_type in RECORD_TYPES
}

KIND_NAMES: dict[Kind, str] = {kind: kind.name.lower() for kind in Kind}
