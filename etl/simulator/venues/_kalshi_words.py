"""What a simulated Kalshi says, and how it writes it."""

from __future__ import annotations

from collections.abc import Mapping

from etl.model.times import NS_PER_MS, NS_PER_S, NS_PER_US
from etl.simulator.truth import PLACED
from etl.simulator.venue import CHANGE, PRINT, TOP, Channel
from etl.simulator.words import WORDS, Form, Words, levels, prices, sizes, time_text

BOOK, LIFECYCLE = "orderbook_delta", "market_lifecycle_v2"
DOLLAR = 10_000  # ticks
COUNTED = b'"sid":0,"seq":0'  # in place of the numbers that a message gets on its connection
TRADE = '"trade_id":"$uuid","yes_price_dollars":"$price","no_price_dollars":"$no_price","count_fp":"$size","taker_side":"$taker","taker_outcome_side":"$taker","taker_book_side":"$taker_side","is_block_trade":false'  # fmt: skip
BAR = '{"end_period_ts":$end_s,"yes_bid":{},"yes_ask":{},"price":{"open_dollars":"$open","high_dollars":"$high","low_dollars":"$low","close_dollars":"$close"},"volume_fp":"$volume","open_interest_fp":"0.00"}'  # fmt: skip

LIFE = '{"type":"market_lifecycle_v2","sid":0,"seq":0,"msg":{"event_type":"$event","market_ticker":"$symbol","open_ts":$opens_s,"close_ts":$closes_s,"result":"$result","determination_ts":$at_s}}'  # fmt: skip
ROW = '{{"ticker":"{}","status":"{}","open_time":"{}","close_time":"{}"}}'


def uuid(words: Words) -> str:
    digits = f"{words.fact.number:032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))


def counted(kind: str, key: str, tag: str, msg: str, unit_ns: int) -> Form:
    text = f'{{"type":"{tag}","sid":0,"seq":0,"msg":{{"market_ticker":"$symbol",{msg}}}}}'
    return Form(kind, key, text, unit_ns)


KALSHI_WORDS = WORDS | {
    "uuid": uuid,
    "no_price": lambda words: words.price(DOLLAR - words.fact.price),
    "taker": lambda words: "yes" if words.fact.buyer_takes else "no",
    "taker_side": lambda words: "bid" if words.fact.buyer_takes else "ask",
    "seconds": lambda words: words["time_ns"] // NS_PER_S,
    "time_us": lambda words: time_text(words["time_ns"] // NS_PER_US * NS_PER_US),
    "end_s": lambda words: words.fact.end_ns // NS_PER_S,
    "leg": lambda words: "yes" if words.fact.side == "bid" else "no",
    "level": prices("price"),
    "delta": sizes("delta"),
    "yes": levels("bids", is_ascending=True),
    "no": levels("asks", is_ascending=True),
}
CHANNELS: Mapping[str, Channel] = {
    "trade": Channel(PRINT, counted("trade", "$uuid", "trade", TRADE + ',"ts":$seconds,"ts_ms":$ms', NS_PER_MS), 0.4),
    "ticker": Channel(TOP, Form("quote", PLACED, '{"type":"ticker","sid":0,"msg":{"market_ticker":"$symbol","yes_bid_dollars":"$bid","yes_ask_dollars":"$ask","yes_bid_size_fp":"$bid_size","yes_ask_size_fp":"$ask_size","ts":$seconds,"ts_ms":$ms}}', NS_PER_MS), 0.35),
    BOOK: Channel(
        CHANGE, counted("book", PLACED, BOOK, '"price_dollars":"$level","delta_fp":"$delta","side":"$leg","ts":"$time_us"', NS_PER_US), 0.25,
        opening=counted("book", PLACED, "orderbook_snapshot", '"yes_dollars_fp":[$yes],"no_dollars_fp":[$no]', 0),
    ),
    LIFECYCLE: Channel("", Form("status", f"{LIFECYCLE}/$at_ns/$digest", LIFE, 1, "$event/$opens_s/$closes_s/$result//")),
}  # fmt: skip
TRADE_ROW = Form("trade", "$uuid", "{" + TRADE + ',"ticker":"$symbol","created_time":"$time_us"}', NS_PER_MS)
BAR_ROW = Form("bar", "1m/$start_ns", BAR, 1)
