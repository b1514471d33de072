"""What clients and the gateway say to each other over ``/v1/stream``: JSON texts; records alone may come as Protobuf.

These structs are the protocol: requests are decoded into them, answers encoded from them; ``/asyncapi.json`` is made of
them, and docs/gateway.md is held to them.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, structs

from etl.gateway.derivation import Derivation, make_plan
from etl.gateway.entry import JSON
from etl.gateway.selection import Selection, make_selection
from etl.model.derived import AnyDerived

REQUEST_BYTES_MAX = 1 << 20


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag=str.lower):
    pass


class Login(Request, frozen=True):
    """First, from a client that cannot send the header ``Authorization: Bearer TOKEN``: a browser."""

    token: str


class Selecting(Request, frozen=True):
    exchange: str | list[str] = []
    symbol: str | list[str] = []
    """Unified names; with a ``*`` at the end, all that begin so."""
    kind: str | list[str] = []
    """As records name their kind. Gaps and corrections of what is wanted always come."""

    def selection(self) -> Selection:
        """Raises ``UsageError``."""
        return make_selection(self.exchange, self.symbol, self.kind)


class Derive(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is made of the records on the way, of each instrument of the selection."""

    bars: str | list[str] = []
    """Of trades, by their length: ``5s``, ``15m``, ``4h``."""
    book: int = 0
    """So many levels of each side."""
    mid: bool = False
    """Mid and spread of the best bid and offer."""
    every_ms: int = 100
    """Levels, mid and spread are told at most so often, and only if they changed."""


class Subscribe(Selecting, frozen=True):
    """The first begins the stream; later ones add to it, from then on."""

    snapshot: bool = False
    """First what stands now, for a stream that begins now."""
    from_: str = msgspec.field(name="from", default="")
    """A cursor, or an ISO 8601 time by which records were received; "" = from now on."""
    to: str = ""
    """Records received before this time; with ``from``. The stream ends there."""
    speed: float = 0.0
    """Of the past: 1 = as it was received, 10 = ten times that, 0 = as fast as it is taken."""
    format: str = JSON
    derive: Derive | None = None
    """``kind`` then names what comes beside it; left out = gaps and corrections alone."""

    def selection(self) -> Selection:
        """Raises ``UsageError``."""
        only_gaps = ["gap"] if self.derive and not self.kind else self.kind
        return make_selection(self.exchange, self.symbol, only_gaps)

    def derivation(self) -> Derivation | None:
        """Raises ``UsageError``."""
        if self.derive is None:
            return None
        bars = [self.derive.bars] if isinstance(self.derive.bars, str) else self.derive.bars
        plan = make_plan(bars, self.derive.book, self.derive.mid, self.derive.every_ms)
        instruments = make_selection(self.exchange, self.symbol)
        return Derivation(plan, structs.replace(instruments, kinds=plan.kinds()))


class Unsubscribe(Selecting, frozen=True):
    """Takes back a selection that was subscribed to with the same words."""


AnyRequest = Login | Subscribe | Unsubscribe
REQUESTS: tuple[type[Request], ...] = (Login, Subscribe, Unsubscribe)


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("_")


class Answer(Struct, frozen=True, kw_only=True, tag_field="type", tag=_snake):
    pass


class Subscribed(Answer, frozen=True):
    cursor: str
    """Where the stream begins."""


class Unsubscribed(Answer, frozen=True):
    cursor: str


class Snapshot(Answer, frozen=True):
    """What stands at ``cursor``: the newest record of each instrument, kind and, of bars and books, channel."""

    cursor: str
    records: list[msgspec.Raw]


class Records(Answer, frozen=True):
    """In the order of the topic: per instrument that in which it was received. Each has its place, ``at``, beside the
    fields of docs/topics.md."""

    cursor: str
    """After the last of them: ``from`` this, the stream goes on without a hole or a double."""
    records: list[msgspec.Raw]


class Derived(Answer, frozen=True):
    """What ``derive`` asked for. It comes before the records that it was made of, so that ``cursor`` stands before
    them."""

    cursor: str
    records: list[AnyDerived]


class Live(Answer, frozen=True):
    """The past is told: from here on records come as they are received."""

    cursor: str


class Heartbeat(Answer, frozen=True):
    cursor: str
    time_ns: int


class Lagging(Answer, frozen=True):
    """So much waits to be sent to this client; beyond ``buffer_bytes_max`` it is cut off."""

    buffered_bytes: int
    buffer_bytes_max: int


class CutOff(Answer, frozen=True):
    """The last: come back ``from`` this cursor."""

    cursor: str
    reason: str


class Lost(Answer, frozen=True):
    """The topic no longer has these offsets of a partition; what comes is what follows them."""

    partition: int
    from_offset: int
    to_offset: int
    """The last that is lost."""


class End(Answer, frozen=True):
    """``to`` is reached."""

    cursor: str


class Error(Answer, frozen=True):
    """What was asked is not done; ``code`` for programs. The connection ends unless the stream had begun."""

    code: str
    message: str


ANSWERS: tuple[type[Answer], ...] = (
    Subscribed, Unsubscribed, Snapshot, Records, Derived, Live, Heartbeat, Lagging, CutOff, Lost, End, Error,
)  # fmt: skip

_encoder = msgspec.json.Encoder()
decode_request = msgspec.json.Decoder(AnyRequest).decode


def encode_answer(answer: Answer) -> bytes:
    return _encoder.encode(answer)
