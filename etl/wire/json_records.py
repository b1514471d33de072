"""A message of the normalized topic → its record as JSON. Pure.

    {"kind":"trade","frame_index":0,"exchange":"binance","symbol":"BTC-USDT",…,"last_price":"97123.45","side":"buy"}

Fields by the names of the schema, in the order of their numbers; enums in lower case; decimals as the venue's text;
what was not said is absent. It goes from the message itself, not by a record: 5 µs a trade against 11.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from etl.model.records import RECORD_TYPES, Kind
from etl.wire.codec import parse

_encode: Callable[[object], bytes] = msgspec.json.Encoder().encode


def _enum_words() -> dict[str, dict[int, str]]:
    """By field and number, in the words of the records."""
    words: dict[str, dict[int, str]] = {"kind": {int(kind): kind.name.lower() for kind in Kind}}
    for record_type in RECORD_TYPES:
        for field in msgspec.inspect.type_info(record_type).fields:  # type: ignore[attr-defined]
            if isinstance(field.type, msgspec.inspect.EnumType):
                words[field.name] = {int(one): one.name.lower() for one in field.type.cls}  # type: ignore[call-overload]
    return words


_ENUMS = _enum_words()
_UNKNOWN = "unknown"
"""An enum's number that this version has no word for: it is told, the rest of the record is good."""


def fields_of(value: bytes) -> dict[str, Any]:
    """What the message says, by the names of its fields. Raises ``WireError``."""
    found: dict[str, Any] = {
        "kind": "",
        "frame_index": 0,
    }  # the one number whose 0 is a value and is not sent
    for field, content in parse(value).ListFields():
        name = field.name
        if name in _ENUMS:
            found[name] = _ENUMS[name].get(content, _UNKNOWN)
        elif isinstance(content, str | int):
            found[name] = content
        else:
            found[name] = list(content)
    return found


def json_of(value: bytes) -> bytes:
    """Raises ``WireError``."""
    return _encode(fields_of(value))
