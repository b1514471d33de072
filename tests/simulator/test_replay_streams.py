"""What a replayed recording gives to whom, and in which order."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from etl.simulator.connection import Connection
from etl.simulator.feed import Feed
from etl.simulator.pace import Pace
from etl.simulator.protobuf import protobuf
from etl.simulator.serve import Options, make_feed
from etl.simulator.server import Server

MS = 1_000_000
BEGIN_NS = 1_700_000_000_000 * MS
NOW_NS = 5_000 * MS


class Client(Connection):
    """``heard`` may be shared with others: what went out, in order."""

    def __init__(self, heard: list[str], path: str = "") -> None:
        super().__init__(path)
        self.heard = heard
        self.has_room = True

    def write(self, payloads: Sequence[bytes]) -> None:
        self.heard += [payload.decode() for payload in payloads]

    @property
    def unread_bytes(self) -> int:
        return 0 if self.has_room else 2 << 20


def write_session(folder: Path, venue: str, frames: Sequence[tuple[int, str]]) -> None:
    """Frames by milliseconds after the beginning."""
    lines = [
        json.dumps({"receive_time_ns": BEGIN_NS + ms * MS, "kind": "ws", "frame": text})
        for ms, text in frames
    ]
    (folder / f"{venue}.jsonl").write_text("\n".join(lines))


def options(folder: Path, *venues: str, speed: float = 1.0) -> Options:
    return Options(
        exchanges=venues,
        state_path=folder,
        recordings=folder,
        pace=Pace(venues, BEGIN_NS, speed),
        by_stream=True,
    )


OKX_ACK = '{"event":"subscribe","arg":{"channel":"trades","instId":"BTC-USDT"},"connId":"1"}'
OKX_FRAMES = [
    '{{"arg":{{"channel":"{}","instId":"{}"}},"data":[{{"px":"1","ts":"1"}}]}}'.format(*place)
    for place in (("trades", "BTC-USDT"), ("trades", "ADA-USDT"), ("tickers", "BTC-USDT"))
]
KRAKEN_FRAMES = [
    '{{"channel":"{}","type":"update","data":[{{"symbol":"{}","price":0.50}}]}}'.format(*place)
    for place in (("trade", "BTC/USD"), ("trade", "ADA/USD"), ("ticker", "BTC/USD"))
]
KRAKEN_PAIRS = '{"channel":"instrument","type":"snapshot","data":{"assets":[],"pairs":[]}}'
V1_FRAMES = [
    '[1,[["5.10","1.0","1.5","b","l",""]],"trade","XBT/USD"]',
    '[2,[["0.50","1.0","1.5","b","l",""]],"trade","ADA/USD"]',
    '[3,{"a":[["5.2","1.0","1.5"]],"c":"9"},"book-25","XBT/USD"]',
]
COINBASE_FRAMES = [
    '{"type":"match","trade_id":1,"product_id":"BTC-USD"}',
    '{"type":"last_match","trade_id":2,"product_id":"ADA-USD"}',
    '{"type":"l2update","product_id":"BTC-USD","changes":[]}',
]
BYBIT_FRAMES = [
    f'{{"topic":"{topic}","ts":1,"data":[]}}'
    for topic in ("publicTrade.BTCUSDT", "publicTrade.ADAUSDT", "orderbook.200.BTCUSDT")
]
KRAKEN_STATUS = '{"channel":"status","type":"update","data":[{"system":"online"}]}'
COINBASE_ACK = '{"type":"subscriptions","channels":[]}'
COINBASE_SUBSCRIBE = '{"type":"subscribe","product_ids":["%s-USD"],"channels":["%s"]}'
OPTION_FRAMES = [
    f'{{"topic":"publicTrade.{coin}","ts":1,"data":[{{"s":"{coin}-25DEC26-100-C-USDT","p":"1"}}]}}'
    for coin in ("BTC", "SOL")
]
V1_SUBSCRIBE = '{"event":"subscribe","pair":["%s"],"subscription":{"name":"%s"%s}}'
CASES = {
    "okx": (
        [OKX_ACK, *OKX_FRAMES, "pong"],
        ['{"op":"subscribe","args":[{"channel":"trades","instId":"ADA-USDT"},{"channel":"tickers","instId":"BTC-USDT"}]}'],
        OKX_FRAMES[1:],
    ),
    "kraken": (
        [KRAKEN_STATUS, '{"channel":"heartbeat"}', *KRAKEN_FRAMES, KRAKEN_PAIRS],
        ['{"method":"subscribe","params":{"channel":"trade","symbol":["ADA/USD"]}}'],
        [KRAKEN_FRAMES[1], KRAKEN_PAIRS],
    ),
    "kraken_v1": (
        ['{"event":"systemStatus","status":"online"}', '{"event":"heartbeat"}', *V1_FRAMES],
        [V1_SUBSCRIBE % ("ADA/USD", "trade", ""), V1_SUBSCRIBE % ("XBT/USD", "book", ',"depth":25')],
        V1_FRAMES[1:],
    ),
    "coinbase": (
        [COINBASE_ACK, *COINBASE_FRAMES, '{"type":"heartbeat","product_id":"BTC-USD","sequence":9}'],
        [COINBASE_SUBSCRIBE % ("ADA", "matches"), COINBASE_SUBSCRIBE % ("BTC", "level2_batch")],
        COINBASE_FRAMES[1:],
    ),
    "bybit_option": (
        ['{"success":true,"conn_id":"1","type":"COMMAND_RESP"}', *OPTION_FRAMES],
        ['{"op":"subscribe","args":["publicTrade.SOL"]}'],
        OPTION_FRAMES[1:],
    ),
    "bybit": (
        ['{"success":true,"ret_msg":"","conn_id":"1","op":"subscribe"}', *BYBIT_FRAMES],
        ['{"op":"subscribe","args":["publicTrade.ADAUSDT","orderbook.200.BTCUSDT"]}'],
        BYBIT_FRAMES[1:],
    ),
}  # fmt: skip


def push(channel: str, data: str) -> str:
    return f'{{"jsonrpc":"2.0","method":"subscription","params":{{"channel":"{channel}","data":{data}}}}}'


def protobuf_text(channel: str) -> str:
    """Of fields whose numbers are text too."""
    return protobuf({"3": "X", "6": 7, "13": {"1": [{"1": "0.50"}]}, "1": channel}).decode()


DERIBIT_FRAMES = [
    push("trades.ADA_USDC-PERPETUAL.100ms", '[{"price":0.50}]'),
    push("book.BTC-PERPETUAL.100ms", '{"change_id":2}'),
    push("trades.option.BTC.100ms", '[{"instrument_name":"BTC-25JUN27-100000-C"}]'),
    push("perpetual.BTC-PERPETUAL.100ms", '{"interest":0.01}'),
    push("trades.BTC-PERPETUAL.100ms", '[{"price":1.50}]'),
]
DERIBIT_SUBSCRIBE = '{"jsonrpc":"2.0","id":1,"method":"public/subscribe","params":{"channels":[%s]}}'
GATE_FRAMES = [
    '{{"time":1,"channel":"spot.{}","event":"update","result":{{{}}}}}'.format(*place)
    for place in (
        ("trades", '"id":1,"currency_pair":"ADA_USDT","price":"0.50"'),
        ("order_book_update", '"s":"ADA_USDT","U":1,"u":2,"b":[],"a":[]'),
        ("candlesticks", '"n":"5m_BTC_USDT","c":"1.50"'),
        ("trades", '"id":2,"currency_pair":"BTC_USDT","price":"1.50"'),
    )
]
GATE_SUBSCRIBE = '{"time":1,"channel":"spot.%s","event":"subscribe","payload":[%s]}'
COIN_FRAMES = [
    '{{"channel":"{}","data":{}}}'.format(*place)
    for place in (
        ("trades", '[{"coin":"ADA","px":"0.50"},{"coin":"ADA","px":"0.51"}]'),
        ("candle", '{"s":"ADA","i":"5m","c":"0.50"}'),
        ("l2Book", '{"coin":"BTC","levels":[[],[]],"fast":true}'),
        ("l2Book", '{"coin":"BTC","levels":[[],[]]}'),
        ("bbo", '{"coin":"BTC","bbo":[]}'),
    )
]
COIN_SUBSCRIBE = '{"method":"subscribe","subscription":{%s}}'
CONTRACT_FRAMES = [
    '{{"symbol":"{}","data":{},"channel":"push.{}","ts":1}}'.format(*place)
    for place in (
        ("ADA_USDT", '[{"p":0.50}]', "deal"), ("BTC_USDT", '{"interval":"Min5","c":1.50}', "kline"),
        ("BTC_USDT", '[{"p":1.50}]', "deal"),
    )
]  # fmt: skip
MEXC_FRAMES = [
    protobuf_text(f"spot@public.{name}")
    for name in (
        "aggre.deals.v3.api.pb@100ms@ADAUSDT", "kline.v3.api.pb@BTCUSDT@Min5", "aggre.deals.v3.api.pb@100ms@BTCUSDT",
    )
]  # fmt: skip
ALPACA_MIXED = (
    '[{"T":"t","S":"AAPL","p":1.50,"c":["@"]}, {"T":"t","S":"IBM","p":0.50},{"T":"q","S":"IBM","bp":0.50}]'
)
POLYGON_MIXED = (
    '[{"ev":"T","sym":"AAPL","p":1.50},{"ev":"T","sym":"IBM","p":0.50},{"ev":"AM","sym":"IBM","c":0.50}]'
)
CASES |= {
    "deribit": (
        ['{"jsonrpc":"2.0","id":1,"result":["trades.BTC-PERPETUAL.100ms"]}',
         '{"jsonrpc":"2.0","method":"heartbeat","params":{"type":"test_request"}}', *DERIBIT_FRAMES],
        [DERIBIT_SUBSCRIBE % '"trades.ADA_USDC-PERPETUAL.100ms","book.BTC-PERPETUAL.100ms"',
         DERIBIT_SUBSCRIBE % '"trades.option.BTC.100ms","perpetual.BTC-PERPETUAL.100ms"'],
        DERIBIT_FRAMES[:4],
    ),
    "gate": (
        ['{"time":1,"channel":"spot.trades","event":"subscribe","result":{"status":"success"}}',
         '{"time":1,"channel":"spot.pong","event":"","result":null}', *GATE_FRAMES],
        [GATE_SUBSCRIBE % ("trades", '"ADA_USDT"'), GATE_SUBSCRIBE % ("order_book_update", '"ADA_USDT","100ms"'),
         GATE_SUBSCRIBE % ("candlesticks", '"5m","BTC_USDT"')],
        GATE_FRAMES[:3],
    ),
    "hyperliquid": (
        ['{"channel":"subscriptionResponse","data":{"method":"subscribe","subscription":{"coin":"BTC"}}}',
         '{"channel":"pong"}', *COIN_FRAMES],
        [COIN_SUBSCRIBE % '"type":"trades","coin":"ADA"',
         COIN_SUBSCRIBE % '"type":"candle","coin":"ADA","interval":"5m"',
         COIN_SUBSCRIBE % '"type":"l2Book","coin":"BTC","fast":true'],
        COIN_FRAMES[:3],
    ),
    "mexc_contract": (
        ['{"channel":"rs.sub.deal","data":"success","ts":1}', '{"channel":"pong","data":1,"ts":1}', *CONTRACT_FRAMES],
        ['{"method":"sub.deal","param":{"symbol":"ADA_USDT"}}',
         '{"method":"sub.kline","param":{"symbol":"BTC_USDT","interval":"Min5"}}'],
        CONTRACT_FRAMES[:2],
    ),
    "mexc": (
        ['{"id":0,"code":0,"msg":"spot@public.aggre.deals.v3.api.pb@100ms@BTCUSDT"}', *MEXC_FRAMES],
        ['{"method":"SUBSCRIPTION","params":["spot@public.aggre.deals.v3.api.pb@100ms@ADAUSDT",'
         '"spot@public.kline.v3.api.pb@BTCUSDT@Min5"]}'],
        MEXC_FRAMES[:2],
    ),
    "alpaca": (
        ['[{"T":"success","msg":"authenticated"}]', '[{"T":"subscription","trades":["AAPL"]}]', ALPACA_MIXED,
         '[{"T":"q","S":"IBM","bp":0.51}]', '[{"T":"q","S":"AAPL","bp":1.51}]'],
        ['{"action":"auth","key":"k","secret":"s"}', '{"action":"subscribe","trades":["IBM"],"quotes":["IBM"]}'],
        ['[{"T":"t","S":"IBM","p":0.50},{"T":"q","S":"IBM","bp":0.50}]', '[{"T":"q","S":"IBM","bp":0.51}]'],
    ),
    "polygon": (
        ['[{"ev":"status","status":"auth_success","message":"authenticated"}]', POLYGON_MIXED,
         '[{"ev":"T","sym":"AAPL","p":1.51}]'],
        ['{"action":"auth","params":"k"}', '{"action":"subscribe","params":"T.*,AM.IBM"}'],
        [POLYGON_MIXED, '[{"ev":"T","sym":"AAPL","p":1.51}]'],
    ),
}  # fmt: skip


@pytest.mark.parametrize("venue", CASES)
def test_a_client_gets_what_it_subscribed_to_byte_for_byte_and_no_other_clients_answers(
    tmp_path: Path, venue: str
) -> None:
    frames, requests, wanted = CASES[venue]
    write_session(tmp_path, venue, [(number, text) for number, text in enumerate(frames)])
    feed = make_feed(options(tmp_path, venue), venue)
    spoken: list[str] = []
    client = Client(spoken)
    client.heartbeat_ns = NOW_NS + 1_000 * MS  # the venue's own are another test's
    feed.opened(client, NOW_NS)
    for request in requests:
        feed.received(client, request, NOW_NS)
    feed.carry_out(NOW_NS)
    heard: list[str] = []
    client.heard = heard
    for ms in (0, 100):
        feed.tick(NOW_NS + ms * MS)
    assert heard == wanted
    refusals = ("error", '"success":false', "not supported")
    assert spoken
    assert not any(word in text for text in spoken for word in refusals)


VENUES: Mapping[str, tuple[str, str]] = {
    "okx": (
        '{"op":"subscribe","args":[{"channel":"trades","instId":"BTC-USDT"}]}',
        '{"arg":{"channel":"trades","instId":"BTC-USDT"},"data":[{"n":%d}]}',
    ),
    "kraken": (
        '{"method":"subscribe","params":{"channel":"trade","symbol":["BTC/USD"]}}',
        '{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","n":%d}]}',
    ),
    "bybit": (
        '{"op":"subscribe","args":["publicTrade.BTCUSDT"]}',
        '{"topic":"publicTrade.BTCUSDT","data":[{"n":%d}]}',
    ),
}


def three_venues(folder: Path, speed: float) -> tuple[Server, list[int], dict[str, Client], list[str]]:
    """Sixty frames in bursts of uneven length, one a millisecond; the order of numbers is that of receipt."""
    names = list(VENUES)
    owners = [names[number * number // 7 % 3] for number in range(60)]
    for name, (_, frame) in VENUES.items():
        own = [(number, frame % number) for number, owner in enumerate(owners) if owner == name]
        write_session(folder, name, own)
    chosen, clock = options(folder, *names, speed=speed), [NOW_NS]
    heard: list[str] = []
    feeds: dict[str, Feed] = {name: make_feed(chosen, name) for name in names}
    server = Server(feeds, pace=chosen.pace, clock=lambda: clock[0])
    clients = {name: Client(heard, "public") for name in names}
    for name, feed in feeds.items():
        feed.opened(clients[name], NOW_NS)
        feed.received(clients[name], VENUES[name][0], NOW_NS)
    return server, clock, clients, heard


def numbers(heard: Sequence[str]) -> list[int]:
    return [int(text.rpartition('"n":')[2].rstrip("}]")) for text in heard if '"n":' in text]


def test_a_client_of_kucoin_gets_the_topics_that_it_named(tmp_path: Path) -> None:
    """It asks for a ticket first."""
    told = [
        f'{{"topic":"/market/{topic}","type":"message","subject":"s","data":{{"price":"0.50"}}}}'
        for topic in ("match:ADA-USDT", "candles:BTC-USDT_5min", "match:BTC-USDT", "level2:ADA-USDT")
    ]
    said = ['{"id":"1","type":"welcome"}', '{"id":"2","type":"ack"}', '{"id":"3","type":"pong"}']
    write_session(tmp_path, "kucoin", [*enumerate([*said, *told])])
    feed = make_feed(options(tmp_path, "kucoin"), "kucoin")
    feed.answer("/api/v1/bullet-public", "", {}, NOW_NS)
    spoken: list[str] = []
    client = Client(spoken)
    client.query = {"token": "1"}
    feed.opened(client, NOW_NS)
    for topic in ("/market/match:ADA-USDT,ETH-USDT", "/market/candles:BTC-USDT_5min"):
        feed.received(client, f'{{"id":"1","type":"subscribe","topic":"{topic}","response":true}}', NOW_NS)
    feed.carry_out(NOW_NS)
    assert [text for text in spoken if "error" in text] == []
    client.heard = []
    for ms in (0, 100):
        feed.tick(NOW_NS + ms * MS)
    assert client.heard == told[:2]


@pytest.mark.parametrize("speed", [1, 1_000_000])
def test_frames_of_several_venues_go_out_in_the_order_of_receipt(tmp_path: Path, speed: float) -> None:
    server, clock, _, heard = three_venues(tmp_path, speed)
    server.tick()
    assert numbers(heard) == [0]
    clock[0] += 20 * MS
    server.tick()
    assert numbers(heard) == list(range(21 if speed == 1 else 60))
    clock[0] += 100 * MS
    server.tick()
    assert numbers(heard) == list(range(60))


def test_a_client_that_does_not_read_holds_the_clock_and_nobody_overtakes_it(tmp_path: Path) -> None:
    server, clock, clients, heard = three_venues(tmp_path, 1_000_000)
    server.tick()
    clients["kraken"].has_room = False
    for _ in range(3):
        clock[0] += 20 * MS
        server.tick()
    early = numbers(heard)
    clients["kraken"].has_room = True
    server.tick()
    clock[0] += 20 * MS
    server.tick()
    assert early == list(range(len(early)))
    assert 1 < len(early) < 60
    assert numbers(heard) == list(range(60))


def test_it_waits_for_a_client_of_every_venue(tmp_path: Path) -> None:
    server, clock, clients, heard = three_venues(tmp_path, 1)
    server.feeds["bybit"].state = "waiting"
    clock[0] += 100 * MS
    server.tick()
    assert numbers(heard) == []
    server.feeds["bybit"].received(clients["bybit"], VENUES["bybit"][0], clock[0])
    server.tick()
    assert numbers(heard) == [0]
