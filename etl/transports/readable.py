"""Reading over what cannot be used: whatever lies on a topic, its readers go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from etl.errors import WireError

_Message = TypeVar("_Message")
_Read = TypeVar("_Read")

_log = logging.getLogger(__name__)


def readable(messages: Iterable[_Message], read: Callable[[_Message], _Read], reader: str) -> Iterator[_Read]:
    """What ``read`` makes of each message. Those for which it raises ``WireError`` are passed over and counted, and
    told in one line at the end: it is for the stores' sinks, which read everything once, to quarantine them."""
    count, first = 0, ""
    try:
        for message in messages:
            try:
                found = read(message)
            except WireError as error:
                count, first = count + 1, first or str(error)
                continue
            yield found
    finally:
        if count:
            _log.warning("%s: %d messages passed over, the first: %.200s", reader, count, first)
