"""What both faces of Coinbase do alike: a message for each channel, and answers that list all that is granted."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar

from etl.adapter import build, fields
from etl.adapter.build import Stream, StreamCache, stream_of
from etl.adapter.contract import Credentials, Exchange, Fault, FaultKind, Outcome, Subscription
from etl.adapter.handshake import Grants, kind_of_words, told
from etl.model.instruments import Instruments
from etl.model.records import Bar, BarState, Frame, SizeUnit
from etl.model.times import NS_PER_S, NS_PER_US, interval_ns


class CoinbaseFamily(Exchange):
    default_symbols = ("BTC-USD", "ETH-USD", "SOL-USD")
    ignored_names: ClassVar[Mapping[str, str]] = {
        "subscriptions": "all that is subscribed to; told as READY once it is all that was asked for",
        "error": "the venue refuses something; told as a Fault",
        "empty": "a frame or a page without events",
    }
    intervals: ClassVar[Mapping[str, str]]
    """Of the channels, and of what is asked for, that give bars."""
    event_time_min_ns = 1_230_768_000_000_000_000  # 2009, bitcoin's first block

    def __init__(
        self, credentials: Credentials | None = None, instruments: Instruments | None = None
    ) -> None:
        super().__init__(credentials, instruments)
        self._known = StreamCache(self._stream)
        self._grants = Grants()
        self._asked: list[str] = []
        self._is_ready = False

    def _stream(self, place: tuple[str, str]) -> Stream:
        interval = self.intervals.get(place[1], "")
        return stream_of(self, *place, SizeUnit.BASE, interval=interval, key_unit_ns=NS_PER_US)

    def connect_url(self, base_url: str, subscription: Subscription) -> str:
        return base_url

    def subscribed(self, names: Iterable[str], symbols: Sequence[str]) -> Iterator[str]:
        """The messages that ask for these channels, each of all ``symbols``; the answers are awaited."""
        for name in names:
            self._asked += [f"{name}.{symbol}" for symbol in symbols]
            yield self.message("subscribe", name, symbols)

    def resubscribe(self, subscription: Subscription) -> Sequence[str]:
        return [
            self.message(action, name, subscription.symbols)
            for name in subscription.channels
            for action in ("unsubscribe", "subscribe")
        ]

    def message(self, action: str, channel: str, symbols: Sequence[str] = ()) -> str:
        raise NotImplementedError

    def unanswered(self) -> Sequence[str]:
        return self._grants.unanswered(self._asked)

    def granted(self, streams: Iterable[str]) -> Sequence[Outcome]:
        """An acknowledgement that lists these."""
        self._grants.grant(streams)
        was_ready = self._is_ready
        self._is_ready = was_ready or (bool(self._asked) and not self.unanswered())
        ready = Fault(FaultKind.READY, "subscriptions", "all acknowledged")
        return told("subscriptions", 0, ready if self._is_ready and not was_ready else None)


def bar(
    stream: Stream,
    frame: Frame,
    index: int,
    start_s: int,
    prices: Sequence[str],
    volume: str,
    publish_ns: int = 0,
) -> Bar:
    """Nothing says that a bar is over but the clock."""
    start_ns = fields.time_ns(start_s, NS_PER_S)
    is_over = start_ns + interval_ns(stream.interval) <= frame.receive_time_ns
    state = BarState.CLOSED if is_over else BarState.OPEN
    return build.bar(stream, frame, index, start_ns, state, prices, volume, publish_ns=publish_ns)


def refused(said: str) -> Sequence[Outcome]:
    return told("error", 0, Fault(kind_of_words(_FAULTS, said) or FaultKind.REQUEST, "error", said))


_FAULTS = (
    ("authentication", FaultKind.AUTHENTICATION),
    ("signature", FaultKind.AUTHENTICATION),
    ("jwt", FaultKind.AUTHENTICATION),
    ("rate limit", FaultKind.RATE_LIMIT),
    ("internal", FaultKind.TRANSIENT),
)
