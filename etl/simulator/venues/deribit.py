"""A simulated Deribit: perpetuals, options and spot.

ws /deribit    JSON-RPC: public/set_heartbeat, auth, subscribe, unsubscribe, test; ``raw`` channels for who has logged in. A
               channel that is refused refuses its whole message, one that does not exist is left out of the answer. Who
               does not answer test requests is cut off
GET /deribit/api/v2/public/{get_instruments,get_last_trades_by_instrument[_and_time],get_tradingview_chart_data}
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from etl.model.times import NS_PER_MS, interval_ns
from etl.simulator.address import Address
from etl.simulator.connection import Connection
from etl.simulator.dialect import Dialect
from etl.simulator.history import PRINTS
from etl.simulator.market import Instrument, decimal_text, number_text
from etl.simulator.paging import END_OF_TIME_MS
from etl.simulator.session import Session
from etl.simulator.venue import BAR, BEST, CHANGE, PRINT, TOP, Channel, Response, Venue, page
from etl.simulator.words import WORDS, Form, Words

TESTS, UNANSWERED_MAX = "tests", 2  # test requests that nobody has answered
ROWS_MAX, BARS_MAX = 1_000, 5_000
RESOLUTIONS = {"1": "1m", "5": "5m", "60": "1h"}
EXPIRY_MS, NEVER_MS = 1_813_910_400_000, 32_503_708_800_000
NAMES = {
    "trades": "trades.%s.raw", "book": "book.%s.raw", "ticker": "ticker.%s.raw",
    "trades.100ms": "trades.%s.100ms", "book.100ms": "book.%s.100ms", "ticker.100ms": "ticker.%s.100ms",
    "quote": "quote.%s", "chart.trades.1": "chart.trades.%s.1", "instrument.state": "instrument.state.%s",
}  # fmt: skip
"""Of the channels, as they are subscribed to."""
PATTERNS = {channel: re.compile(name.replace(".", r"\.") % "(.+)") for channel, name in NAMES.items()}


def levels(name: str, *, is_snapshot: bool) -> Callable[[Words], str]:
    """``["change",61837.5,10.0],…``"""

    def write(words: Words) -> str:
        return ",".join(
            f'["{"new" if is_snapshot else "change" if lots else "delete"}",{words.price(price)},{words.size(lots)}]'
            for price, lots in getattr(words.fact, name)
        )

    return write


def push(
    kind: str, key: str, data: str, unit_ns: int = NS_PER_MS, says: str = "", channel: str = "$name"
) -> Form:
    head = f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":'
    return Form(kind, key, f"{head}{data}}}}}", unit_ns, says)


TRADE = '{"trade_seq":$number,"trade_id":"$symbol-$number","timestamp":$ms,"tick_direction":2,"price":$price,"mark_price":$price,"instrument_name":"$symbol","index_price":$price,"direction":"$taker","contracts":1.0,"amount":$size}'
BOOK = '"timestamp":$ms,"instrument_name":"$symbol","change_id":$last,'
TOPS = '"best_bid_price":$bid,"best_bid_amount":$bid_size,"best_ask_price":$ask,"best_ask_amount":$ask_size}'
BAR_TEXT = (
    '{"volume":$volume,"tick":$start_ms,"open":$open,"low":$low,"high":$high,"cost":$turnover,"close":$close}'
)
TRADE_ROW = Form("trade", "$symbol-$number", TRADE, NS_PER_MS)
COLUMNS = "ticks", "open", "high", "low", "close", "volume", "cost"
BAR_ROW = Form("bar", "$interval/$start_ns", "$start_ms,$open,$high,$low,$close,$volume,$turnover", 1)
ANSWER = '{"jsonrpc":"2.0","result":%s,"usIn":1,"usOut":2,"usDiff":1,"testnet":false}'
STATS = push("stats", "ticker/${ms}000000/$digest", '{"timestamp":$ms,"state":"open","stats":{"volume":1.0,"low":null,"high":null},"open_interest":$bid_size,"mark_price":$bid,"instrument_name":"$symbol","index_price":$ask,"current_funding":0.0001,' + TOPS, says="$bid/$ask/$bid_size/0.0001")  # fmt: skip


def batched(suffix: str, interval: str) -> dict[str, Channel]:
    """The channels that come as things happen to who has logged in, and in batches to others."""
    change, snapshot = (f'{{"type":"{type_}",{BOOK}' for type_ in ("change", "snapshot"))
    return {
        f"trades{suffix}": Channel(PRINT, push("trade", "$symbol-$number", f"[{TRADE}]"), 0.4, is_counted=True),
        f"book{suffix}": Channel(
            CHANGE, push("book", f"book.{interval}/d/$last", change + '"prev_change_id":$previous,"bids":[$bids],"asks":[$asks]}'), 0.2, is_counted=True,
            opening=push("book", f"book.{interval}/s/$last", snapshot + '"bids":[$all_bids],"asks":[$all_asks]}'),
        ),
        f"ticker{suffix}": Channel(BEST, STATS, 0.05, opening=STATS),
    }  # fmt: skip


class Deribit(Venue):
    exchange = "deribit"
    symbols: Mapping[str, Instrument] = {
        symbol: Instrument(symbol, *facts)
        for symbol, facts in (
            ("BTC-PERPETUAL", ("BTC-USD-PERP", 1, 0, 923_000)),
            ("ETH-PERPETUAL", ("ETH-USD-PERP", 2, 0, 312_340)),
            ("BTC-25JUN27-100000-C", ("BTC-USD-20270625-100000-C", 4, 1, 1_639)),
            ("BTC-25JUN27-80000-P", ("BTC-USD-20270625-80000-P", 4, 1, 1_212)),
            ("BTC_USDC", ("BTC-USDC", 0, 4, 92_300)),
        )
    }
    address = Address(channel=("params", "channel"))
    words = WORDS | {
        "name": lambda words: NAMES[words["channel"]] % words["symbol"],
        "taker": lambda words: "buy" if words.fact.buyer_takes else "sell",
        "bids": levels("bids", is_snapshot=False),
        "asks": levels("asks", is_snapshot=False),
        "all_bids": levels("bids", is_snapshot=True),
        "all_asks": levels("asks", is_snapshot=True),
    }
    dialect = Dialect(
        action="method",
        subscribe="public/subscribe",
        unsubscribe="public/unsubscribe",
        heartbeat_s=10.0,
        replies={
            "heartbeat": '{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}',
            "bad_request": '{"jsonrpc":"2.0","error":{"code":-32700,"message":"Parse error"}}',
            "error": '{"jsonrpc":"2.0","error":{"code":11051,"message":"system_maintenance"}}',
            "unknown_event": '{"jsonrpc":"2.0","method":"subscription","params":{"channel":"mystery.BTC","data":{}}}',
        },
    )
    channels: Mapping[str, Channel] = {
        **batched("", "raw"),
        **batched(".100ms", "100ms"),
        "quote": Channel(TOP, push("quote", "$ms/$bid/$bid_size/$ask/$ask_size/#", '{"timestamp":$ms,"instrument_name":"$symbol",' + TOPS), 0.34),
        "chart.trades.1": Channel(BAR, push("bar", "$interval/$start_ns", BAR_TEXT, 1), interval="1m"),
        "instrument.state": Channel(BEST, push("status", "instrument.state/${ms}000000/$digest", '{"timestamp":$ms,"state":"open","instrument_name":"$symbol"}', says="open", channel="instrument.state.any.any"), 0.01),
    }  # fmt: skip

    def write(self, units: int, digits: int) -> str:
        text = number_text(units, digits)
        return text if "." in text else f"{text}.0"

    def stream(self, symbol: str, channel: str) -> str:
        return NAMES.get(channel, channel) % symbol

    def split(self, stream: str) -> tuple[str, str]:
        """A channel that is not known here goes by its own name, with ``%s`` for the symbol that stands second."""
        matches = ((pattern.fullmatch(stream), channel) for channel, pattern in PATTERNS.items())
        if found := next(((match[1], channel) for match, channel in matches if match), None):
            return found
        family, _, rest = stream.partition(".")
        symbol, dot, rest = rest.partition(".")
        return symbol, f"{family}.%s{dot}{rest}" if symbol else ""

    def unlisted(self, symbol: str) -> Instrument:
        """``ADA_USDC-PERPETUAL`` names both currencies, ``BTC-PERPETUAL`` counts in dollars."""
        unified = symbol.replace("_", "-") if "_" in symbol else symbol.replace("-", "-USD-", 1)
        return Instrument(symbol, unified if "-" in unified else f"{unified}-USD", 2, 0, 10_000)

    def expand(self, name: str) -> set[str]:
        """All instruments' states; the trades of all of a coin's options."""
        symbol, channel = self.split(name)
        kind, _, coin = symbol.partition(".")
        if not coin:
            return {name}
        options = [one for one in self.symbols if one.startswith(f"{coin}-") and one.count("-") == 3]
        streams = {self.stream(one, channel) for one in (options if kind == "option" else self.symbols)}
        return streams | ({name} if symbol in self.symbols else set())  # recorded under that name

    def stamped(self, connection: Connection, payload: bytes, stream: str) -> bytes:
        """What was asked for by the coin bears that name."""
        for wide in connection.counts:
            if stream in self.expand(wide) - {wide}:
                return payload.replace(b'"%b"' % stream.encode(), b'"%b"' % wide.encode(), 1)
        return payload

    # conversation

    def asked(self, request: Any) -> Sequence[str]:
        return [*request["params"].get("channels", ())]

    def subscribe(self, connection: Connection, names: Sequence[str]) -> None:
        granted = self._granted(connection, names)
        connection.counts.update({name: 0 for name in granted if self.expand(name) != {name}})
        super().subscribe(connection, granted)

    def _granted(self, connection: Connection, names: Sequence[str]) -> list[str]:
        if self._has_raw(names) and not connection.authenticated:
            return []
        return [name for name in names if all(map(self._is_listed, self.expand(name)))]

    @staticmethod
    def _has_raw(names: Sequence[str]) -> bool:
        return any(name.endswith(".raw") for name in names)

    def _is_listed(self, stream: str) -> bool:
        symbol, channel = self.split(stream)
        return symbol in self.symbols and channel in self.channels

    def acks(self, connection: Connection, action: str, request: Any) -> list[bytes]:
        result: Any = "ok"
        error: dict[str, Any] = {}
        if action == "public/auth":
            connection.authenticated = bool(request["params"].get("signature"))
            result = {"access_token": "t", "expires_in": 900, "refresh_token": "r", "token_type": "bearer"}
            error = {} if connection.authenticated else {"code": 13004, "message": "invalid_credentials"}
        elif action == "public/test":
            connection.counts[TESTS] = 0
            result = {"version": "1.2.26"}
        elif action == "public/unsubscribe":
            result = self.asked(request)
        elif action == "public/subscribe":
            result = self._granted(connection, self.asked(request))
            if self._has_raw(self.asked(request)) and not connection.authenticated:
                error = {"code": 13778, "message": "raw_subscriptions_not_available_for_unauthorized"}
        said = {"error": error} if error else {"result": result}
        times = {"usIn": 1, "usOut": 2, "usDiff": 1, "testnet": False}
        return [msgspec.json.encode({"jsonrpc": "2.0", "id": request.get("id"), **said, **times})]

    def beat(self, connection: Connection, now_ns: int) -> None:
        before = connection.heartbeat_ns
        super().beat(connection, now_ns)
        if connection.heartbeat_ns != before:
            connection.counts[TESTS] = connection.counts.get(TESTS, 0) + 1
            connection.closing = connection.counts[TESTS] > UNANSWERED_MAX

    # history

    def answer(self, path: str, query: Mapping[str, str], session: Session, now_ns: int) -> Response | None:
        method, symbol = path.rpartition("/")[2], query.get("instrument_name", "")
        first_ms, last_ms = (
            int(query.get(f"{end}_timestamp", bound))
            for end, bound in (("start", 0), ("end", END_OF_TIME_MS))
        )
        span_ns = first_ms * NS_PER_MS, (last_ms + 1) * NS_PER_MS
        if method == "get_instruments":
            listed = ",".join(map(_listed, self.symbols.values()))
            return Response(200, (ANSWER % f"[{listed}]").encode(), is_reference=True)
        if method == "get_tradingview_chart_data":
            interval = RESOLUTIONS[query["resolution"]]
            bars = session.history.between(symbol, interval_ns(interval), *span_ns, 0, BARS_MAX)
            rows, events = self.rows(BAR_ROW, symbol, bars, interval=interval)
            columns = zip(*(row.split(",") for row in rows), strict=True) if rows else [()] * len(COLUMNS)
            named = ",".join(
                f'"{name}":[{",".join(column)}]' for name, column in zip(COLUMNS, columns, strict=True)
            )
            return page(ANSWER % f'{{{named},"status":"{"ok" if rows else "no_data"}"}}', [], events)
        if not method.startswith("get_last_trades_by_instrument"):
            error = b'{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"}}'
            return Response(400, error)
        limit = self.page_limit({"limit": query.get("count", "10")}, 10, ROWS_MAX)
        if method.endswith("_and_time"):
            found = session.history.between(symbol, PRINTS, *span_ns, 0, limit + 1)
        else:
            found = session.history.from_number(symbol, PRINTS, int(query["start_seq"]), limit + 1)
        last = int(query.get("end_seq", END_OF_TIME_MS))
        found = [entry for entry in found if entry.number <= last]
        has_more = "true" if len(found) > limit else "false"
        text = ANSWER % f'{{"trades":[$rows],"has_more":{has_more}}}'
        return page(text, *self.rows(TRADE_ROW, symbol, found[:limit]))


def _listed(one: Instrument) -> str:
    base, counter, *expiry = one.unified.split("-")
    kind = "option" if len(expiry) > 1 else "future" if expiry else "spot"
    period, expires_ms = ("week", EXPIRY_MS) if kind == "option" else ("perpetual", NEVER_MS)
    step = decimal_text(1, one.size_digits)
    return (
        f'{{"instrument_name":"{one.symbol}","kind":"{kind}","base_currency":"{base}","counter_currency":"{counter}",'
        f'"quote_currency":"{counter}","settlement_period":"{period}","expiration_timestamp":{expires_ms},'
        f'"tick_size":{decimal_text(1, one.price_digits)},"min_trade_amount":{step},"is_active":true,"state":"open"}}'
    )
