"""The options stream is msgpack; it is read as the JSON it stands for. Numbers are binary there: theirs is the shortest
text that means the same."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
from msgspec import Raw
from msgspec.msgpack import Ext

from etl.adapter.fields import INT64_MAX, UNREADABLE, FieldFault
from etl.model.codes import Code
from etl.model.times import NS_PER_S

_elements = msgspec.msgpack.Decoder(list[Raw]).decode
_event = msgspec.msgpack.Decoder(dict[str, str | int | float | bool | Ext | list[str] | None]).decode


def json_of(payload: bytes) -> bytes:
    """The same events; one that cannot be told becomes ``null``, which is no event either. Raises one of
    ``UNDECODABLE`` for what is no array in msgpack."""
    return b"[" + b",".join(map(_json_of_event, _elements(payload))) + b"]"


def _json_of_event(packed: Raw) -> bytes:
    try:
        event = _event(packed)
        return msgspec.json.encode({name: _jsonable(value) for name, value in event.items()})
    except UNREADABLE:
        return b"null"


def _jsonable(value: object) -> object:
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return _rfc3339_of(value) if isinstance(value, Ext) else value


def _rfc3339_of(extension: Ext) -> str:
    """A timestamp: type -1, 32, 64 or 96 bits."""
    data = bytes(extension.data)
    if extension.code != -1 or len(data) not in (4, 8, 12):
        raise FieldFault(Code.UNDECODABLE, f"msgpack extension {extension.code} of {len(data)} bytes")
    if len(data) == 12:
        seconds, fraction = int.from_bytes(data[4:], signed=True), int.from_bytes(data[:4])
    else:
        number = int.from_bytes(data)
        seconds, fraction = (number & (1 << 34) - 1, number >> 34) if len(data) == 8 else (number, 0)
    if not 0 <= seconds <= INT64_MAX // NS_PER_S:
        raise FieldFault(Code.TIME_OUT_OF_RANGE, f"time {seconds} s")
    return rfc3339(seconds * NS_PER_S + fraction)


def rfc3339(ns: int) -> str:
    seconds, fraction = divmod(ns, NS_PER_S)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{fraction:09d}Z"
