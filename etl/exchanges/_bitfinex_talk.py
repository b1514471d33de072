"""What Bitfinex says of a connection, as objects with an ``event``, and what it is sent.

info (the venue's greeting) · conf (which numbers its frames bear) · subscribed, one answer a channel
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from urllib.parse import parse_qsl, urlencode

import msgspec
from msgspec import Struct

from etl.adapter.contract import Behind, Context, Fault, FaultKind, Ignored, Outcome, Reply, Subscription
from etl.adapter.fields import FieldFault, Id, whole
from etl.adapter.handshake import Answers
from etl.exchanges import _bitfinex_channels as channels
from etl.exchanges._bitfinex_channels import LIQUIDATIONS, LeftAside, Subscribed
from etl.model.codes import Code

VERSION = 2
WITH_TIME, WITH_NUMBER, WITH_CHECKSUMS, IN_BULK = 32_768, 65_536, 131_072, 536_870_912
FLAGS = WITH_TIME | WITH_NUMBER | WITH_CHECKSUMS
MAINTENANCE_WAIT_S, RATE_WAIT_S = 30.0, 60.0
CHANNELS_MAX = 1_000
"""Of one connection, that are remembered: the venue has given 25 to 250."""
RESTARTS, MAINTENANCE_OVER = 20_051, 20_061
ALREADY_SUBSCRIBED = 10_301
FAULTS: Mapping[int, FaultKind] = {
    10_100: FaultKind.AUTHENTICATION,
    10_114: FaultKind.AUTHENTICATION,
    10_305: FaultKind.SUBSCRIPTION_LIMIT,
    11_000: FaultKind.TRANSIENT,
    11_010: FaultKind.RATE_LIMIT,
    20_051: FaultKind.SHUTDOWN,
    20_060: FaultKind.TRANSIENT,
}
"""What else there is calls what we sent wrong."""
OF_A_STREAM = (FaultKind.REQUEST, FaultKind.SUBSCRIPTION_LIMIT)

Stream = tuple[str, str]
"""Channel and symbol, "" where it is of all."""


class Platform(Struct, gc=False):
    status: int = 1
    """0 = maintenance."""


class Event(Struct, gc=False):
    event: str
    code: int = 0
    msg: str = ""
    version: int = VERSION
    platform: Platform | None = None
    status: str = ""
    flags: int | None = None
    channel: str = ""
    chanId: Id | None = None
    symbol: str = ""
    key: str = ""
    prec: str = ""
    freq: str = ""
    len: str | int = ""

    @property
    def stream(self) -> Stream:
        return channels.named(self.channel, self.symbol, self.key, self.prec, self.freq, str(self.len))


class Talk:
    """Of one connection. ``made`` makes the channel of an answer, and may raise one of ``UNREADABLE``."""

    def __init__(self, made: Callable[[str, str], Subscribed]) -> None:
        self.flags = 0
        """Those in force."""
        self.subscribed: dict[int, Subscribed] = {}
        self._made = made
        self._answers = Answers()
        self._asked: list[Stream] = []
        self._symbols: tuple[str, ...] = ()

    # what to send

    def open(self, subscription: Subscription) -> list[str]:
        self._symbols = subscription.symbols
        self._asked = streams_of(subscription)
        self._answers.ask(self._asked)
        conf = msgspec.json.encode({"event": "conf", "flags": FLAGS}).decode()
        return [conf, *(_subscribe(stream) for stream in self._asked)]

    def resubscribe(self, streams: Sequence[Stream]) -> list[str]:
        numbers = {(one.name, one.symbol): number for number, one in self.subscribed.items()}
        leaves = [{"event": "unsubscribe", "chanId": numbers[each]} for each in streams if each in numbers]
        return [
            *(msgspec.json.encode(each).decode() for each in leaves),
            *(_subscribe(each) for each in streams),
        ]

    def unanswered(self) -> Sequence[str]:
        return self._answers.unanswered()

    # what is said

    def learn(self, endpoint: str) -> None:
        """From what lies beside a frame whose channel is not known (``Context``): the flags and channels in force. May
        raise one of ``UNREADABLE``."""
        told = dict(parse_qsl(endpoint.partition("#")[2]))
        if "flags" not in told:
            return
        self.flags = whole(told.pop("flags"))
        for number, stream in told.items():
            name, _, symbol = stream.partition("/")
            if whole(number) not in self.subscribed:
                self._know(whole(number), name, symbol)

    def _context(self) -> Context:
        streams = {str(number): f"{one.name}/{one.symbol}" for number, one in self.subscribed.items()}
        return Context(urlencode({"flags": str(self.flags), **streams}, safe="/:"))

    def _know(self, number: int, name: str, symbol: str) -> None:
        self.subscribed.pop(number, None)
        self.subscribed[number] = self._made(name, symbol)
        if len(self.subscribed) > CHANNELS_MAX:
            del self.subscribed[next(iter(self.subscribed))]

    def take(self, event: Event) -> list[Outcome]:
        """May raise one of ``UNREADABLE``."""
        return [Ignored(event.event), *_SAID[event.event](self, event)]

    def _info(self, event: Event) -> Iterator[Outcome]:
        """``{"event":"info","version":2,"serverId":"…","platform":{"status":1}}``, ``{"event":"info","code":20051,
        "msg":"Stopping"}``"""
        if event.version != VERSION:
            yield Fault(
                FaultKind.REQUEST, "version", f"the venue speaks version {event.version}, we {VERSION}"
            )
        elif event.platform is not None and not event.platform.status:
            yield Fault(FaultKind.TRANSIENT, "maintenance", "the platform is shut", MAINTENANCE_WAIT_S)
        elif event.code == RESTARTS:
            yield Fault(FaultKind.SHUTDOWN, str(event.code), event.msg)
        elif event.code == MAINTENANCE_OVER:
            yield from self._begin_anew()

    def _begin_anew(self) -> Iterator[Outcome]:
        """After a maintenance the venue has lost its state: what its channels gave meanwhile is not known."""
        known = (one for one in self.subscribed.values() if not isinstance(one, LeftAside))
        streams = [(one.name, one.symbol) for one in known]
        for name, symbol in streams:
            for each in (symbol,) if symbol else self._symbols:
                yield Behind(each, name, "maintenance: what it gave before its end is not known")
        yield from map(Reply, self.resubscribe(streams))

    def _conf(self, event: Event) -> Iterator[Outcome]:
        """``{"event":"conf","status":"OK","flags":65536}``"""
        if event.status == "OK":
            self.flags = FLAGS if event.flags is None else event.flags
            yield self._context()
        else:
            yield Fault(FaultKind.REQUEST, "conf", f"{event.status} {event.msg}")

    def _granted(self, event: Event) -> Iterator[Outcome]:
        """``{"event":"subscribed","channel":"book","chanId":232957,"symbol":"tTESTBTC:TESTUSD","prec":"P0","freq":"F0",
        "len":"100","pair":"TESTBTC:TESTUSD"}``. What was asked for in other words (a ``prec`` that the venue does not
        know is P0 to it) is no grant."""
        if event.chanId is None:
            raise FieldFault(Code.FIELD_MISSING, "an answer without the channel's number")
        name, symbol = stream = event.stream
        self._know(event.chanId, name, symbol)
        yield self._context()
        if stream not in self._asked and (other := self._asked_of(event)) is not None:
            reason = f"{other[0]} of {symbol} was asked for, {name} is what it gives"
            yield from self._answers.refuse(*other, Fault(FaultKind.REQUEST, "subscribed", reason))
        elif (ready := self._answers.grant(*stream)) is not None:
            yield ready

    def _left(self, event: Event) -> Iterator[Outcome]:
        """``{"event":"unsubscribed","status":"OK","chanId":232957}``"""
        if event.chanId in self.subscribed:
            del self.subscribed[event.chanId]
            yield self._context()

    def _refused(self, event: Event) -> Iterator[Outcome]:
        """``{"event":"error","msg":"symbol: invalid","code":10300,"channel":"trades","symbol":"tFOO","pair":"FOO"}``"""
        kind = FAULTS.get(event.code, FaultKind.REQUEST)
        fault = Fault(kind, str(event.code), event.msg, RATE_WAIT_S if kind is FaultKind.RATE_LIMIT else 0.0)
        stream = event.stream if event.stream in self._asked else self._asked_of(event)
        if stream is not None and event.code == ALREADY_SUBSCRIBED:
            ready = self._answers.grant(*stream)
            yield from (ready,) if ready else ()
        elif stream is not None and kind in OF_A_STREAM:
            yield from self._answers.refuse(*stream, fault)
        elif event.code != ALREADY_SUBSCRIBED:
            yield fault

    def _said_nothing(self, event: Event) -> Iterator[Outcome]:
        yield from ()

    def _asked_of(self, event: Event) -> Stream | None:
        """What was asked for of the same family and symbol."""
        wanted = event.channel, event.stream[1]
        return next(((name, of) for name, of in self._asked if (name.partition(".")[0], of) == wanted), None)


_SAID: Mapping[str, Callable[[Talk, Event], Iterator[Outcome]]] = {
    "info": Talk._info,
    "conf": Talk._conf,
    "subscribed": Talk._granted,
    "unsubscribed": Talk._left,
    "error": Talk._refused,
    "pong": Talk._said_nothing,
}
KNOWN = _SAID.keys()


def streams_of(subscription: Subscription) -> list[Stream]:
    """One message each; liquidations are of all symbols."""
    streams = [
        (name, "" if name == LIQUIDATIONS else symbol)
        for name in subscription.channels
        for symbol in subscription.symbols
    ]
    return list(dict.fromkeys(streams))


def _subscribe(stream: Stream) -> str:
    return msgspec.json.encode({"event": "subscribe", **channels.asked(*stream)}).decode()
