"""A simulated Bitfinex.

ws /bitfinex   {"event":"conf","flags":229376}, {"event":"subscribe","channel":"trades","symbol":"tBTCUSD"}, {"event":"ping"}:
               channels have numbers, which beat before the subscription is answered; each array has the connection's
               next number. Trades come twice (te, tu), books by the level, with a checksum behind each change
GET /bitfinex/v2/{trades/tBTCUSD,candles/trade:1m:tBTCUSD}/hist, /v2/conf/…
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, NS_PER_S, interval_ns
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.frame_faults import Outgoing
from etl.simulator.history import PRINTS, History
from etl.simulator.market import Instrument, Listing
from etl.simulator.paging import END_OF_TIME_MS
from etl.simulator.session import Item, Session, SyntheticSession
from etl.simulator.truth import IGNORED, PLACED, TruthEvent
from etl.simulator.venue import BAR, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.venues._bitfinex_words import BITFINEX_WORDS, shortest
from etl.simulator.words import Form, Template

FIRST_CHANNEL = 200_001
STREAMS_MAX, REPLAYED, ROWS_MAX = 25, 30, 10_000
BEAT = '[%d,"hb",SEQ,%d]'
OPENED_MS = 1_795_963_800_000
AGAIN, CHECKSUM = TruthEvent(IGNORED, "tu", ""), TruthEvent(IGNORED, "checksum", "")
HISTORY = re.compile(r"/v2/(trades|candles)/(?:trade:(\w+):)?(t[^/]+)/hist")
ROW = "[$number,$ms,$amount,$price]"
TWICE = Template(f'[CHAN,"tu",{ROW},SEQ,$ms]')
CHECK = Template('[CHAN,"cs",$checksum,SEQ,$ms]')


class Bitfinex(Venue):
    exchange = "bitfinex"
    symbols: Mapping[str, Instrument] = {
        "tBTCUSD": Instrument("tBTCUSD", "BTC-USD", 0, 8, 92_310),
        "tETHUSD": Instrument("tETHUSD", "ETH-USD", 1, 6, 31_234),
        "tSOLUSD": Instrument("tSOLUSD", "SOL-USD", 2, 4, 13_841),
    }
    words = BITFINEX_WORDS
    separator = "|"
    dialect = Dialect(
        action="event",
        heartbeat_s=15.0,
        replies={
            "greeting": '{"event":"info","version":2,"serverId":"083bd8d4-aca7-4690-a573-eabfc8103de8","platform":{"status":1}}',
            "bad_request": '{"event":"error","msg":"event: invalid","code":10000}',
            "shutdown": '{"event":"info","code":20051,"msg":"Stopping. Please try to reconnect"}',
            "unknown_event": '{"event":"mystery"}',
        },
    )
    channels: Mapping[str, Channel] = {
        "trades": Channel(PRINT, Form("trade", "$number", f'[CHAN,"te",{ROW},SEQ,$ms]', NS_PER_MS), 0.4, is_counted=True),
        "book": Channel(CHANGE, Form("book", PLACED, "[CHAN,$level,SEQ,$ms]", NS_PER_MS), 0.3, is_counted=True, opening=Form("book", PLACED, "[CHAN,[$levels],SEQ,$ms]", NS_PER_MS)),
        "ticker": Channel(TOP, Form("quote", PLACED, "[CHAN,[$bid,$bid_size,$ask,$ask_size,0,0,$bid,1,$ask,$bid,null],SEQ,$ms]", NS_PER_MS), 0.2),
        "candles.1m": Channel(BAR, Form("bar", "$interval/$start_ns", "[CHAN,[$start_ms,$open,$close,$high,$low,$volume],SEQ,$now_ms]", 1), interval="1m"),
    }  # fmt: skip
    trade_row = Form("trade", "$number", ROW, NS_PER_MS)
    bar_row = Form("bar", "$interval/$start_ns", "[$start_ms,$open,$close,$high,$low,$volume]", 1)

    def __init__(self, exchange: str) -> None:
        super().__init__(exchange)
        self._numbers: dict[str, int] = {}

    def write(self, units: int, digits: int) -> str:
        return shortest(units, digits)

    # conversation

    def number(self, stream: str) -> int:
        """Of the stream's channel."""
        return self._numbers.setdefault(self.whole(stream), FIRST_CHANNEL + len(self._numbers))

    def whole(self, stream: str) -> str:
        """The channel that carries the stream."""
        return stream

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        """Objects have no number."""
        if b",SEQ," not in payload:
            return payload
        connection.counts[""] = connection.counts.get("", 0) + 1
        payload = payload.replace(b"[CHAN,", b"[%d," % self.number(stream), 1)
        return payload.replace(b",SEQ,", b",%d," % connection.counts[""], 1)

    def beat(self, connection: Connection, now_ns: int) -> None:
        if now_ns - connection.heartbeat_ns < self.dialect.heartbeat_s * NS_PER_S:
            return
        connection.heartbeat_ns = now_ns
        numbers = sorted({self.number(stream) for stream in connection.streams})
        connection.outbox += [(BEAT % (number, now_ns // NS_PER_MS)).encode() for number in numbers]

    def asked(self, request: Any) -> Sequence[str]:
        """A channel that is left is named by its number."""
        if request["event"] == "unsubscribe":
            return [stream for stream, number in self._numbers.items() if number == request["chanId"]]
        if request["event"] != "subscribe":
            return []
        channel, key = request["channel"], request.get("key", "")
        if channel == "candles":
            _, interval, symbol = key.split(":", 2)
            return [self.stream(symbol, f"candles.{interval}")]
        if channel == "status":
            kind, _, symbol = key.partition(":")
            return [self.stream(symbol, f"status.{kind}")]
        return [self.stream(request["symbol"], channel)]

    def subscribe(self, connection: Connection, names: Sequence[str]) -> None:
        held = {self.whole(stream) for stream in connection.streams}
        listed = [name for name in names if all(map(self._is_listed, self.expand(name)))]
        super().subscribe(connection, listed[: STREAMS_MAX - len(held)])

    def _is_listed(self, stream: str) -> bool:
        symbol, channel = self.split(stream)
        return symbol in self.symbols and channel in self.channels

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        if action == "conf":
            return [msgspec.json.encode({"event": "conf", "status": "OK", "flags": request["flags"]})]
        if action == "ping":
            return [msgspec.json.encode({"event": "pong", "ts": OPENED_MS, "cid": request.get("cid")})]
        if action == "unsubscribe":
            return [
                msgspec.json.encode({"event": "unsubscribed", "status": "OK", "chanId": request["chanId"]})
            ]
        if action != "subscribe":
            return [b'{"event":"error","msg":"event: unknown","code":10000}']
        (stream,) = self.asked(request)
        if not self.expand(stream) <= connection.streams:
            is_listed = all(map(self._is_listed, self.expand(stream)))
            code, said = (10_305, "subscribe: limit") if is_listed else (10_300, "symbol: invalid")
            return [msgspec.json.encode({**request, "event": "error", "msg": said, "code": code})]
        number = self.number(stream)
        answer = msgspec.json.encode({**request, "event": "subscribed", "chanId": number})
        return [(BEAT % (number, OPENED_MS)).encode(), answer]

    # the market

    def draw(
        self, listing: Listing, channel: str, time_ns: int, streams: frozenset[str], history: History
    ) -> list[Item]:
        """Trades twice; of a change each level by itself, and the checksum behind the last."""
        symbol, draws = listing.instrument.symbol, self.channels[channel].draws
        if draws == PRINT:
            items = super().draw(listing, channel, time_ns, streams, history)
            last = history.last(symbol, PRINTS, 1)[0].fact
            again = TWICE(self.words_of(symbol, last)).encode()
            return [each for item in items for each in (item, Item(item.stream, again, AGAIN))]
        if draws != CHANGE:
            return super().draw(listing, channel, time_ns, streams, history)
        stream, levels = self.stream(symbol, channel), listing.change(time_ns).by_level()
        check = CHECK(self.words_of(symbol, listing.best(time_ns), listing=listing)).encode()
        return [
            *(self._item(symbol, channel, stream, each, listing=listing) for each in levels),
            Item(stream, check, CHECKSUM),
        ]

    def opening(self, stream: str, session: Session, now_ns: int) -> list[Outgoing]:
        """The last trades in one frame, the newest first."""
        symbol, name = self.split(stream)
        if self.channels[name].draws != PRINT or not isinstance(session, SyntheticSession):
            return super().opening(stream, session, now_ns)
        last = session.history.last(symbol, PRINTS, REPLAYED)[::-1]
        rows, events = self.rows(self.trade_row, symbol, last)
        items = [Item(stream, row.encode(), event) for row, event in zip(rows, events, strict=True)]
        text = f"[CHAN,[{','.join(rows)}],SEQ,{(now_ns + session.skew_ns) // NS_PER_MS}]"
        return [Outgoing(items, text.encode())] if items else []

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        if path.startswith("/v2/conf/"):
            pairs = [symbol.removeprefix("t") for symbol in self.symbols]
            return Response(200, msgspec.json.encode([pairs, [["UST", "USDt"]]]), is_reference=True)
        asked = HISTORY.fullmatch(path)
        if asked is None or asked[3] not in self.symbols:
            return Response(500, b'["error",10020,"symbol: invalid"]')
        start_ns = int(query.get("start", 0)) * NS_PER_MS
        end_ns = (int(query.get("end", END_OF_TIME_MS - 1)) + 1) * NS_PER_MS
        kind, form, interval = (interval_ns(asked[2]), self.bar_row, asked[2]) if asked[2] else (PRINTS, self.trade_row, "")  # fmt: skip
        limit = self.page_limit(query, 125, ROWS_MAX)
        found = session.history.between(asked[3], kind, start_ns, end_ns, 0, limit)
        return page("[$rows]", *self.rows(form, asked[3], found, interval=interval))
