"""What a venue says of a connection, by tables: its steps, its refusals, its errors.

A control message is an event that is left aside under its name (``Ignored``), with what follows from it beside it: the
next thing to send, or a ``Fault``.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from msgspec.structs import replace

from etl.adapter.contract import Fault, FaultKind, Ignored, Outcome, Reply, Subscription

Step = Callable[[Subscription], Reply] | FaultKind | None
"""What a word of the venue calls for: something to send, a ``Fault`` to tell, or nothing."""


class Handshake:
    """The conversation of one connection. ``steps``: word → what it calls for. ``READY`` is told once; nothing is sent
    where nobody subscribed, as when raw frames are read."""

    def __init__(self, steps: Mapping[str, Step]) -> None:
        self._steps = steps
        self._is_ready = False
        self.subscription: Subscription | None = None

    def knows(self, word: str) -> bool:
        return word in self._steps

    def take(self, name: str, word: str, reason: str = "", index: int = 0) -> list[Outcome]:
        """The control message called ``name``, whose ``word`` is one of the steps."""
        step, said = self._steps[word], None
        if isinstance(step, FaultKind):
            was_ready, self._is_ready = self._is_ready, self._is_ready or step is FaultKind.READY
            said = None if was_ready and step is FaultKind.READY else Fault(step, word, reason)
        elif step is not None and self.subscription is not None:
            return told(name, index, step(self.subscription))
        return told(name, index, said)


class Grants:
    """What became of each stream of a subscription, on one connection, where the venue answers them one by one. A
    stream is a channel and a symbol, ``Q.AAPL``, or ``Q.*``; what is refused is refused by channel."""

    def __init__(self) -> None:
        self._streams: set[str] = set()
        self._granted: set[str] = set()
        self._refused: set[str] = set()

    def grant(self, streams: Iterable[str]) -> None:
        for stream in streams:
            self._streams.add(stream)
            self._granted.add(_channel_of(stream))

    def refuse(self, streams: Iterable[str], asked: Collection[str], fault: Fault) -> Fault | None:
        """``fault`` told of the channels of these alone, ``None`` where they were told before. Told of the whole
        connection where none that was ``asked`` is left, and where it names none before any was granted."""
        named = [channel for stream in streams if (channel := _channel_of(stream)) in asked]
        if not named:
            named = (
                [channel for channel in asked if channel not in self._granted] if self._granted else [*asked]
            )
        new = tuple(dict.fromkeys(channel for channel in named if channel not in self._refused))
        self._refused.update(new)
        if not new:
            return None
        is_all = not self._granted and self._refused.issuperset(asked)
        return fault if is_all else replace(fault, channels=new)

    def unanswered(self, asked: Iterable[str]) -> list[str]:
        """The streams that were ``asked`` for and neither granted nor refused."""
        return [
            stream
            for stream in asked
            if (channel := _channel_of(stream)) not in self._refused
            and stream not in self._streams
            and f"{channel}.*" not in self._streams
        ]


class Answers:
    """What became of each (channel, venue symbol) of a subscription, on one connection, where the venue answers and
    refuses them one by one. ``READY`` is told with the last answer, unless all were refused: then that refusal is of
    the whole connection."""

    def __init__(self) -> None:
        self._left: dict[tuple[str, str], None] = {}
        self._is_any_granted = False

    def ask(self, streams: Iterable[tuple[str, str]]) -> None:
        self._left.update(dict.fromkeys(streams))

    def grant(self, channel: str, symbol: str) -> Fault | None:
        """``READY``, if that was the last answer."""
        self._is_any_granted = True
        return self._ready() if self._answered(channel, symbol) else None

    def refuse(self, channel: str, symbol: str, fault: Fault) -> list[Fault]:
        """``fault`` told of this stream alone, and ``READY`` before it, if that was the last answer."""
        of_one = replace(fault, channels=(channel,), symbols=(symbol,))
        if not self._answered(channel, symbol):
            return [of_one]
        return [self._ready(), of_one] if self._is_any_granted else [fault]

    def unanswered(self) -> list[str]:
        return [f"{channel} of {symbol}" if symbol else channel for channel, symbol in self._left]

    def _answered(self, channel: str, symbol: str) -> bool:
        """Whether nothing is left now, and something was."""
        return self._left.pop((channel, symbol), True) is None and not self._left

    @staticmethod
    def _ready() -> Fault:
        return Fault(FaultKind.READY, "subscribed", "")


def _channel_of(stream: str) -> str:
    return stream.partition(".")[0]


def told(name: str, index: int, *said: Reply | Fault | None) -> list[Outcome]:
    """The control message called ``name``, with what it says or calls for."""
    return [Ignored(name, index), *(one for one in said if one is not None)]


def kind_of_words(words: Sequence[tuple[str, FaultKind]], said: str) -> FaultKind | None:
    """The first of ``words`` (small letters, the more telling first) that occurs in what the venue said."""
    text = said.lower()
    return next((kind for part, kind in words if part in text), None)
