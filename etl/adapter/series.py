"""Series: contracts that a venue lists and lets end one after another, subscribed to by how their names begin.

    KXBTC15M-*          as it is asked for: every contract whose name begins with ``KXBTC15M-``
    KXBTC15M-*%0/2      the share of the first of two workers, as subscriptions and positions have it

A contract is of the share that a hash of its name says, whoever asks and whenever. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING
from zlib import crc32

from msgspec import Struct

if TYPE_CHECKING:
    from etl.adapter.contract import Request

_SHARE = "*%"
STAR = "*"


class Contract(Struct, frozen=True):
    """What a list, or a message, says of one contract. ``opens_ns`` 0 = it is open, or nobody says when it will be."""

    venue_symbol: str
    opens_ns: int = 0
    is_over: bool = False


class Series(Struct, frozen=True):
    """How a venue's series are followed. ``requests`` are the first of those that list all contracts of a series
    (``KXBTC15M-``) which are open or will be, ``next_request`` gives the pages after each, ``read`` what a page names;
    it raises ``ValueError`` for one that is none. ``channel`` tells of contracts as they come and go. ``of`` gives of a
    symbol of ours the series (``KXBTC15M-``) with which it is kept, "" = by itself.

    The list is read each ``sweep_s``. A contract is subscribed to ``ahead_s`` before it opens, and let go once it has
    been over for ``kept_s``.
    """

    requests: Callable[[str], Sequence[Request]]
    read: Callable[[bytes], Iterable[Contract]]
    channel: str
    of: Callable[[str], str]
    sweep_s: float = 30.0
    ahead_s: float = 90.0
    kept_s: float = 120.0


class Share(Struct, frozen=True):
    """``prefix``: how the names of a series begin; ``index`` of ``count`` workers."""

    prefix: str
    index: int = 0
    count: int = 1

    def __str__(self) -> str:
        return f"{self.prefix}{_SHARE}{self.index}/{self.count}"

    def __contains__(self, venue_symbol: str) -> bool:
        """A share of the same series is in the whole of it alone."""
        if not venue_symbol.startswith(self.prefix):
            return False
        if self.count == 1:
            return True
        return not is_share(venue_symbol) and crc32(venue_symbol.encode()) % self.count == self.index


def is_share(venue_symbol: str) -> bool:
    return _SHARE in venue_symbol


def share_of(venue_symbol: str) -> Share:
    """Of a symbol that ``is_share``."""
    prefix, _, place = venue_symbol.partition(_SHARE)
    index, _, count = place.partition("/")
    return Share(prefix, int(index), int(count))
