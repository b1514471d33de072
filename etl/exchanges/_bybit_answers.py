"""What Bybit answers to requests and subscriptions: its instrument list, and what its refusals mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import count

import msgspec
from msgspec import Raw, Struct

from etl.adapter.contract import Fault, FaultCode, FaultKind, Outcome, Reply
from etl.adapter.fields import ABSENT, MS_MAX, Name, inside, listing, text_of
from etl.adapter.handshake import told
from etl.model.instruments import Instrument
from etl.model.times import NS_PER_MS

BAN_S = 600.0
"""After too many requests of one address, whatever they ask for."""
FAULT_CODES = (
    FaultCode(403, FaultKind.ENTITLEMENT, "country"),  # US and mainland China
    FaultCode(403, FaultKind.BANNED, wait_s=BAN_S),  # "access too frequent", or nothing at all
    FaultCode(429, FaultKind.TRANSIENT, "system level frequency protection"),
)


class _Steps(Struct, frozen=True, gc=False):
    tickSize: str = ""
    qtyStep: str = ""
    basePrecision: str = ""


class _Listed(Struct, gc=False):
    symbol: Name
    baseCoin: Name
    quoteCoin: Name
    settleCoin: str = ""
    contractType: str = ""
    optionsType: str = ""
    deliveryTime: str = "0"
    launchTime: str = "0"
    status: str = ""
    priceFilter: _Steps = _Steps()
    lotSizeFilter: _Steps = _Steps()


class _Result(Struct, gc=False):
    category: str
    list: Sequence[_Listed]
    nextPageCursor: str = ""


class _Answer(Struct, gc=False):
    result: _Result


def instruments_of(payload: bytes) -> Iterable[Instrument]:
    """``{"result":{"category":"linear","list":[{"symbol":"BTCUSDT","contractType":"LinearPerpetual","baseCoin":"BTC",
    "quoteCoin":"USDT","settleCoin":"USDT","deliveryTime":"0",…}],"nextPageCursor":""}}``"""
    result = listing(payload, _Answer).result
    for item in result.list:
        steps = item.priceFilter.tickSize, item.lotSizeFilter.qtyStep or item.lotSizeFilter.basePrecision
        yield Instrument(
            item.symbol,
            _unified(result.category, item),
            *steps,
            expires_ns=_told_ms(item.deliveryTime) * NS_PER_MS,
            settle=item.settleCoin,
            status=item.status,
            listed_ns=_told_ms(item.launchTime) * NS_PER_MS,
        )


def _told_ms(text: str) -> int:
    """0 = none."""
    time_ms = int(text) if text.isdecimal() else 0
    return time_ms if time_ms <= MS_MAX else 0


def _unified(category: str, item: _Listed) -> str:
    """The day of a delivery comes from its time, never from the letters of the symbol; a perpetual that is taken off
    the list has such a time too. What USDC and USDT contracts differ in is the coin that settles them."""
    if category == "spot":
        return f"{item.baseCoin}-{item.quoteCoin}"
    pair = f"{item.baseCoin}-{item.quoteCoin if category == 'inverse' else item.settleCoin}"
    if "Perpetual" in item.contractType:
        return f"{pair}-PERP"
    time_ms = _told_ms(item.deliveryTime)
    if not time_ms:
        return item.symbol
    dated = f"{pair}-{datetime.fromtimestamp(time_ms / 1_000, UTC):%Y%m%d}"
    if not item.optionsType:
        return dated
    parts = item.symbol.split("-")
    return f"{dated}-{parts[2]}-{item.optionsType[0]}" if len(parts) >= 4 else item.symbol


def cursor_of(payload: bytes) -> str:
    """Of the next page of the instrument list, "" after the last. Raises ``ValueError`` if it is not one."""
    return listing(payload, _Answer).result.nextPageCursor


class Requests:
    """The subscriptions of one connection and what became of them. The venue answers each request, not each topic, in
    a form by its market; only some echo the request's number, and all answer in their order."""

    def __init__(self) -> None:
        self._numbers = count(1)
        self._asked: dict[str, list[str]] = {}
        self._is_ours = self._is_ready = False
        """Whether anything was asked here (no: frames of a tape), and whether that was told as ready."""

    def message(self, action: str, topics: Sequence[str]) -> str:
        number = str(next(self._numbers))
        if action == "subscribe":
            self._is_ours = True
            self._asked[number] = list(topics)
        return msgspec.json.encode({"req_id": number, "op": action, "args": topics}).decode()

    def unanswered(self) -> list[str]:
        return [topic for topics in self._asked.values() for topic in topics]

    def take(self, answer: Mapping[str, Raw]) -> list[Outcome]:
        """``{"success":true,"ret_msg":"subscribe","conn_id":"…","req_id":"1","op":"subscribe"}``, of options
        ``{"success":true,"conn_id":"…","data":{"failTopics":[],"successTopics":[…]},"type":"COMMAND_RESP"}``.

        What is refused with others is asked for again by itself: nobody says whether its neighbours go on."""
        topics = self._asked.pop(text_of(answer.get("req_id", ABSENT)) or next(iter(self._asked), ""), [])
        failed = _texts(inside(answer.get("data", ABSENT)).get("failTopics", ABSENT))
        reason = text_of(answer.get("ret_msg", ABSENT))
        if bytes(answer.get("success", ABSENT)) != b"true":
            if len(topics) > 1:
                again = (Reply(self.message("subscribe", [topic])) for topic in topics)
                return told("subscription_reply", 0, *again)
            failed = topics or [reason]
        if failed:
            kind = FaultKind.RATE_LIMIT if "10429" in reason else FaultKind.REQUEST
            names = [topic.rpartition(".") for topic in failed if topic in topics]
            fault = Fault(
                kind, "subscribe", reason or ", ".join(failed),
                channels=tuple(dict.fromkeys(channel for channel, _, _ in names)),
                symbols=tuple(dict.fromkeys(symbol for _, _, symbol in names)),
            )  # fmt: skip
            return told("subscription_reply", 0, fault, self._ready() if topics else None)
        return told("subscription_reply", 0, self._ready())

    def _ready(self) -> Fault | None:
        if self._asked or self._is_ready:
            return None
        self._is_ready = self._is_ours
        return Fault(FaultKind.READY, "subscribe", "")


def _texts(raw: Raw) -> list[str]:
    try:
        return msgspec.json.decode(raw, type=list[str])
    except msgspec.MsgspecError:
        return []


def fault_of(code: int, reason: str) -> Fault:
    """Of ``{"retCode":10006,"retMsg":"Too many visits!",…}``, which comes with status 200."""
    kind = _FAULTS.get(code, FaultKind.REQUEST)
    return Fault(kind, str(code), reason, BAN_S if kind is FaultKind.BANNED else 0.0)


_FAULTS = {
    **dict.fromkeys((429, 10000, 10016, 10019), FaultKind.TRANSIENT),
    **dict.fromkeys((10006, 10429, 20003), FaultKind.RATE_LIMIT),
    10008: FaultKind.BANNED,
    **dict.fromkeys((10005, 10009, 10024), FaultKind.ENTITLEMENT),
    **dict.fromkeys((-2015, 10003, 10004, 10007, 10010, 33004), FaultKind.AUTHENTICATION),
}
