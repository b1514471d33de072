"""A simulated Alpaca: stocks.

    ws /alpaca/v2/{sip,iex,test}   connected → {"action":"auth"} → authenticated → {"action":"subscribe"} → subscription
    GET /alpaca/v2/stocks/{trades,quotes,bars}   several symbols, next_page_token
    GET /alpaca/v1/corporate-actions             splits, dividends, spin-offs, mergers

One connection per endpoint: a second one gets 406.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import OLDER_STAYS, Dialect
from etl.simulator.history import PRINTS, TOPS, Entry, FactKind
from etl.simulator.market import Instrument
from etl.simulator.paging import END_OF_TIME_NS, by_symbol_token
from etl.simulator.session import Session
from etl.simulator.splits import MERGERS, SPIN_OFFS, dividends_between, exchanges_between, splits_between
from etl.simulator.stocks import LISTED, PRICE_DIGITS, one_of, stock_words
from etl.simulator.truth import EMPTY, TruthEvent
from etl.simulator.venue import BAR, PRINT, TOP, Channel, Response, Venue
from etl.simulator.words import Form, read_time

CHANNELS = (
    "trades",
    "quotes",
    "bars",
    "updatedBars",
    "dailyBars",
    "statuses",
    "lulds",
    "corrections",
    "cancelErrors",
)
LETTERS = {"t": "trades", "q": "quotes", "b": "bars", "u": "updatedBars", "d": "dailyBars", "s": "statuses",
           "l": "lulds", "c": "corrections", "x": "cancelErrors", "o": "orderbooks"}  # fmt: skip
"""Of the types of events → the lists in subscriptions that they come of."""
INTERVALS = {"1Min": "1m", "1T": "1m", "5Min": "5m", "1Hour": "1h", "1Day": "1d"}
PAST: Mapping[str, FactKind] = {"trades": PRINTS, "quotes": TOPS}
SPLIT = '{"symbol":"$symbol","new_rate":$after,"old_rate":$before,"ex_date":"$day","process_date":"$day"}'
DIVIDEND = '{"symbol":"$symbol","rate":$amount,"special":false,"foreign":false,"ex_date":"$day","process_date":"$day"}'
SPIN_OFF = '{"source_symbol":"$symbol","source_rate":$before,"new_symbol":"$other","new_rate":$after,"ex_date":"$day","process_date":"$day"}'  # fmt: skip
MERGER = '{"acquiree_symbol":"$symbol","acquiree_rate":$before,"acquirer_symbol":"$other","acquirer_rate":$after,"effective_date":"$day","process_date":"$day"}'  # fmt: skip
ACTIONS = '{"corporate_actions":{%s},"next_page_token":null}'
ERROR = '[{"T":"error","code":%d,"msg":"%s"}]'

CONDITIONS = ('"@"', '"@","I"', '"@","F","T","I"')
TRADE = '"i":$number,"x":"$market","p":$price,"s":$size,"c":[$conditions],"z":"C","t":"$time"}'
QUOTE = '"bx":"$bid_market","bp":$bid,"bs":$bid_size,"ax":"$ask_market","ap":$ask,"as":$ask_size,"c":["R"],"z":"C","t":"$time"}'  # fmt: skip
BAR_TEXT = '"o":$open,"h":$high,"l":$low,"c":$close,"v":$volume,"t":"$time","n":$count,"vw":$vwap}'
TRADE_KEY = "$day/$market/$number"
QUOTE_KEY = "$time_ns/$bid/$bid_size/$bid_market/$ask/$ask_size/$ask_market/R/#"
"""No id: the content is the identity."""
BAR_KEY = "$interval/$start_ns"
ROWS: Mapping[str, Form] = {
    "trades": Form("trade", TRADE_KEY, "{" + TRADE, 1),
    "quotes": Form("quote", QUOTE_KEY, "{" + QUOTE, 1),
    "bars": Form("bar", BAR_KEY, "{" + BAR_TEXT, 1),
}


class Alpaca(Venue):
    exchange = "alpaca"
    symbols = LISTED
    words = stock_words("VQPKZDX", vwap_digits=6) | {"conditions": one_of(CONDITIONS)}
    events_per_frame_max = 4
    address: Address | None = Address(channel=("T",), symbol=("S",), needs=("S",), channels=LETTERS)
    lists: Sequence[str] = CHANNELS
    """Of symbols, that its subscription messages have."""
    past = ROWS
    past_path = "v2/stocks"
    dialect = Dialect(
        login="auth",
        secrets=("key", "secret"),
        rivals=OLDER_STAYS,
        replies={
            "greeting": '[{"T":"success","msg":"connected"}]',
            "welcome": '[{"T":"success","msg":"authenticated"}]',
            "already": ERROR % (403, "already authenticated"),
            "auth_failed": ERROR % (402, "auth failed"),
            "too_many": ERROR % (406, "connection limit exceeded"),
            "not_logged_in": ERROR % (401, "not authenticated"),
            "bad_request": ERROR % (400, "invalid syntax"),
            "unknown_action": ERROR % (400, "invalid syntax"),
            "slow_client": ERROR % (407, "slow client"),
            "error": ERROR % (500, "internal error"),
            "unknown_event": '[{"T":"zz","S":"AAPL","t":"$time"}]',
        },
    )
    channels: Mapping[str, Channel] = {
        "trades": Channel(PRINT, Form("trade", TRADE_KEY, '{"T":"t","S":"$symbol",' + TRADE, 1), 0.35),
        "quotes": Channel(TOP, Form("quote", QUOTE_KEY, '{"T":"q","S":"$symbol",' + QUOTE, 1), 0.65),
        "bars": Channel(BAR, Form("bar", BAR_KEY, '{"T":"b","S":"$symbol",' + BAR_TEXT, 1), interval="1m"),
    }

    def asked(self, request: Any) -> Sequence[str]:
        return [self.stream(symbol, channel) for channel in self.lists for symbol in request.get(channel, [])]

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        """All that is subscribed to now."""
        active: dict[str, list[str]] = {channel: [] for channel in self.lists}
        for stream in sorted(connection.streams):
            symbol, channel = self.split(stream)
            active[channel].append(symbol)
        return [msgspec.json.encode([{"T": "subscription", **active}])]

    def unlisted(self, symbol: str) -> Instrument:
        return Instrument(symbol, symbol.replace("/", "-"), PRICE_DIGITS, 0, 10_000)

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        prefix, _, kind = path.strip("/").rpartition("/")
        if (prefix, kind) == ("v1", "corporate-actions"):
            days = (now_ns, query["start"], query["end"])
            splits = splits_between(SPLIT, *days)
            groups = {
                "forward_splits": [row for split, row in splits if split.after > split.before],
                "reverse_splits": [row for split, row in splits if split.after < split.before],
                "cash_dividends": dividends_between(DIVIDEND, *days),
                "spin_offs": exchanges_between(SPIN_OFF, SPIN_OFFS, *days),
                "stock_mergers": exchanges_between(MERGER, MERGERS, *days),
            }
            told = ",".join(f'"{group}":[{",".join(rows)}]' for group, rows in groups.items() if rows)
            return Response(200, (ACTIONS % told).encode(), is_reference=True)
        if prefix != self.past_path or kind not in self.past:
            return Response(404, b'{"message":"endpoint not found."}')
        symbols = sorted(filter(None, query.get("symbols", "").split(",")))
        if not symbols:
            return Response(400, b'{"message":"symbols is required"}')
        interval = INTERVALS[query.get("timeframe", "1Min")]
        past = PAST.get(kind, interval_ns(interval))
        start_ns = read_time(query["start"]) if "start" in query else 0
        end_ns = read_time(query["end"]) + 1 if "end" in query else END_OF_TIME_NS

        def read(symbol: str, skip: int, limit: int) -> Sequence[Entry]:
            return session.history.between(symbol, past, start_ns, end_ns, skip, limit)

        limit = self.page_limit(query, 1_000, 10_000)
        pages, token = by_symbol_token(symbols, query.get("page_token", ""), limit, read)
        rows, events = [], list[TruthEvent]()
        for symbol, entries in pages.items():
            texts, found = self.rows(self.past[kind], symbol, entries, interval=interval)
            rows.append(f'"{symbol}":[{",".join(texts)}]')
            events += found
        following = f'"{token}"' if token else "null"
        body = f'{{"{kind}":{{{",".join(rows)}}},"next_page_token":{following}}}'
        return Response(200, body.encode(), events or [EMPTY])
