"""More of the catalogue: frames of every feed and of history pages, garbled as text, so that it need not be JSON.

Each row changes one place of one event; that event is caught under its code, and what stands beside it in the frame
comes out as from the frame without the corruption.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from etl import exchanges
from etl.adapter.contract import Rejected
from etl.model.records import Frame, Record, Severity
from etl.validation import Checker

CLOSED = (
    '{"stream":"btcusdt@kline_1m","data":{"e":"kline","E":1723161300000,"s":"BTCUSDT","k":{"t":1723161240000,"T":172316129'
    '9999,"s":"BTCUSDT","i":"1m","f":1,"L":9,"o":"61800.0","c":"61837.6","h":"61850.0","l":"61790.0","v":"12.5","n":9,"x":'
    'true,"q":"772970.375","V":"6.0","Q":"371025.78","B":"0"}}}'
)
FRAMES: dict[str, tuple[str, int, str, str]] = {
    "binance trade": ("binance", 1_723_161_254_087, "", (
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161255343,"s":"BTCUSDT","t":3735683259,"p":"61837.63000000",'
        '"q":"0.02000000","T":1723161255342,"m":true,"M":true}}')),
    "binance quote": ("binance", 1_723_161_254_087, "", (
        '{"stream":"btcusdt@bookTicker","data":{"u":50093239212,"s":"BTCUSDT","b":"61837.63","B":"3.78","a":"61837.64",'
        '"A":"1.54"}}')),
    "binance kline": ("binance", 1_723_161_300_100, "", CLOSED),
    "binance depth": ("binance", 1_723_161_254_087, "", (
        '{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1723161255308,"s":"BTCUSDT","U":50093239203,"u":50093'
        '239207,"b":[["55653.87","0.0"]],"a":[["61838.04","0.3"],["61844.30","0.4"]]}}')),
    "binance trades page": ("binance", 1_723_161_254_087, "/api/v3/historicalTrades?symbol=BTCUSDT", (
        '[{"id":28457,"price":"61837.1","qty":"12.0","quoteQty":"48.0","time":1723161243342,"isBuyerMaker":true,"isBestMatch":'
        'true},{"id":28458,"price":"61837.2","qty":"1.0","quoteQty":"48.0","time":1723161244342,"isBuyerMaker":true,'
        '"isBestMatch":true}]')),
    "usdm trade": ("binance_usdm", 1_723_161_255_254, "", (
        '{"stream":"btcusdt@trade","data":{"e":"trade","E":1723161256523,"T":1723161256523,"s":"BTCUSDT","t":5266583939,'
        '"p":"61800.20","q":"0.015","X":"MARKET","m":true}}')),
    "usdm quote": ("binance_usdm", 1_723_161_255_254, "", (
        '{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":5123107839020,"s":"BTCUSDT","b":"61800.20","B":"2.507",'
        '"a":"61800.30","A":"2.510","T":1723161256313,"E":1723161256313}}')),
    "usdm depth": ("binance_usdm", 1_723_161_255_254, "", (
        '{"stream":"btcusdt@depth@0ms","data":{"e":"depthUpdate","E":1723161256403,"T":1723161256403,"s":"BTCUSDT","U":512310'
        '7842733,"u":5123107846634,"pu":5123107842679,"b":[["5000.00","2.341"]],"a":[["61800.30","0.5"]]}}')),
    "usdm mark prices": ("binance_usdm", 1_723_161_255_254, "", (
        '{"stream":"!markPrice@arr@1s","data":[{"e":"markPriceUpdate","E":1723161255000,"s":"BTCUSDT","p":"61794.15","i":'
        '"61784.62","P":"61784.25","r":"0.00038167","T":1723190400000},{"e":"markPriceUpdate","E":1723161255000,"s":"ETHUSDT",'
        '"p":"2594.15","i":"2584.62","P":"2584.25","r":"0.0001","T":1723190400000}]}')),
    "polygon": ("polygon", 1_651_684_260_100, "", (
        '[{"ev":"AM","sym":"AMZN","v":4110,"av":9470157,"op":160.1,"vw":161.5,"o":161.4,"c":161.6,"h":161.9,"l":161.2,"a":161.1'
        ',"z":685,"s":1651684200000,"e":1651684260000},{"ev":"A","sym":"AMZN","v":410,"av":9470157,"op":160.1,"vw":161.5,"o":'
        '161.4,"c":161.6,"h":161.9,"l":161.2,"a":161.1,"z":685,"s":1651684259000,"e":1651684260000},{"ev":"LULD","T":"AMZN",'
        '"h":170.1,"l":150.2,"i":[21],"z":3,"t":1651684252683,"q":290317},{"ev":"T","sym":"AMZN","i":"72815","x":12,"p":161.87'
        ',"s":1,"c":[14,37,41],"t":1651684259536,"q":4009408,"z":3}]')),
    "polygon trades page": ("polygon", 1_651_684_260_100, "/v3/trades/AAPL", (
        '{"results":[{"conditions":[12,37],"exchange":11,"id":"183276","participant_timestamp":1651181822461636600,"price":'
        '156.43,"sequence_number":7179341,"sip_timestamp":1651181822461979400,"size":10,"tape":3},{"conditions":[12,37],'
        '"exchange":11,"id":"183277","participant_timestamp":1651181822461636600,"price":156.44,"sequence_number":7179342,'
        '"sip_timestamp":1651181822462979400,"size":20,"tape":3}],"status":"OK"}')),
    "polygon bars page": ("polygon", 1_651_684_260_100, "/v2/aggs/ticker/AAPL/range/1/minute/1/2", (
        '{"ticker":"AAPL","results":[{"v":955,"vw":158.6,"o":158.2,"c":156.8,"h":162.3,"l":156.7,"t":1651003200000,"n":89},'
        '{"v":955,"vw":158.6,"o":158.2,"c":156.8,"h":162.3,"l":156.7,"t":1651003260000,"n":89}],"status":"OK"}')),
    "crypto": ("polygon_crypto", 1_610_462_411_200, "", (
        '[{"ev":"XT","pair":"BTC-USD","p":33021.9,"t":1610462007425,"s":0.01616617,"c":[2],"i":"14272084","x":3,"r":'
        '1610462007576},{"ev":"XQ","pair":"BTC-USD","bp":33052.79,"bs":0.48,"ap":33073.19,"as":0.601,"t":1610462411115,"x":1,'
        '"r":1610462411128},{"ev":"XA","pair":"BTC-USD","v":951.6,"vw":33000.1,"z":73,"o":33000,"c":33010,"h":33020,"l":32990,'
        '"s":1610462340000,"e":1610462400000}]')),
    "options": ("polygon_options", 1_644_506_128_400, "", (
        '[{"ev":"T","sym":"O:SPY241220P00720000","x":65,"p":9.54,"s":1,"c":[233],"t":1644506128333,"q":651921857},{"ev":"Q",'
        '"sym":"O:SPY241220P00720000","bx":302,"ax":302,"bp":9.71,"ap":9.81,"bs":17,"as":24,"t":1644506128351,"q":844090872}]')),
    "alpaca": ("alpaca", 1_680_782_100_000, "", (
        '[{"T":"b","S":"AAPL","o":162.9,"h":163.1,"l":162.8,"c":163.0,"v":49378,"t":"2023-04-06T11:54:00Z","n":10,"vw":162.95},'
        '{"T":"t","S":"AAPL","i":628,"x":"K","p":162.92,"s":3,"c":["@"],"z":"C","t":"2023-04-06T11:54:26.838232225Z"},{"T":"l",'
        '"S":"AAPL","u":170.5,"d":150.5,"i":"B","t":"2023-04-06T11:54:26Z","z":"C"},{"T":"c","S":"AAPL","x":"K","oi":628,"op":'
        '162.92,"os":3,"oc":["@"],"ci":629,"cp":162.9,"cs":4,"cc":["@"],"z":"C","t":"2023-04-06T11:54:27Z"}]')),
    "alpaca page": ("alpaca", 1_680_782_100_000, "/v2/stocks/trades?symbols=AAPL", (
        '{"trades":{"AAPL":[{"t":"2022-03-09T05:00:02.183Z","x":"D","p":159.07,"s":1,"c":["@"],"i":151,"z":"C"},{"t":'
        '"2022-03-09T05:00:02.184Z","x":"D","p":159.08,"s":1,"c":["@"],"i":152,"z":"C"}]},"next_page_token":null}')),
}  # fmt: skip

CATALOGUE: list[tuple[str, str, str, int, str]] = [
    # frame, what is replaced (first occurrence), by what, the event's place, code
    ("binance trade", '"E":1723161255343', '"E":1', 0, "time_implausible"),
    ("binance trade", '"E":1723161255343', '"E":9223372036000', 0, "time_implausible"),
    ("binance trade", '"T":1723161255342', '"T":1723161255342.5', 0, "field_malformed"),
    ("binance trade", '"T":1723161255342', '"T":true', 0, "field_malformed"),
    ("binance trade", '"T":1723161255342', '"T":"2024-08-08T23:54:15Z"', 0, "field_malformed"),
    ("binance trade", '"T":1723161255342', '"T":-2082844800000', 0, "time_out_of_range"),
    ("binance trade", '"61837.63000000"', '"061837.63000000"', 0, "decimal_malformed"),
    ("binance trade", '"61837.63000000"', '"0x10"', 0, "decimal_malformed"),
    ("binance trade", '"61837.63000000"', '"1e400"', 0, "decimal_malformed"),
    ("binance trade", '"61837.63000000"', '"61837.63 "', 0, "decimal_malformed"),
    ("binance trade", '"61837.63000000"', '"٦١٨٣٧"', 0, "decimal_malformed"),
    ("binance trade", '"61837.63000000"', "NaN", 0, "decimal_malformed"),
    ("binance trade", '"61837.63000000"', "[[[[1]]]]", 0, "field_malformed"),
    ("binance trade", '"s":"BTCUSDT"', '"s":""', 0, "symbol_missing"),
    ("binance trade", '"s":"BTCUSDT"', '"s":"ETHUSDT"', 0, "symbol_mismatch"),
    ("binance trade", "btcusdt@trade", "btcusdt@trade ", 0, "unknown_message"),
    ("binance trade", "}}", '}}{"stream":"btcusdt@trade"}', 0, "undecodable"),
    ("binance trade", '{"stream', '\ufeff{"stream', 0, "undecodable"),
    ("binance trade", '"m":true', '"m":1', 0, "field_malformed"),
    ("binance quote", '"b":"61837.63"', '"b":"0"', 0, "price_not_positive"),
    ("binance kline", '"E":1723161300000', '"E":9223372036000', 0, "time_implausible"),
    ("binance kline", '"v":"12.5"', '"v":"12500"', 0, "volume_inconsistent"),
    ("binance kline", '"q":"772970.375"', '"q":"-772970.375"', 0, "size_negative"),
    ("binance kline", '"V":"6.0"', '"V":"60.0"', 0, "volume_inconsistent"),
    ("binance kline", '"c":"61837.6"', '"c":"61950"', 0, "ohlc_inconsistent"),
    ("binance depth", "@depth@100ms", "@depth@100msé", 0, "unknown_message"),
    ("binance depth", '"E":1723161255308', '"E":1723161255', 0, "event_time_before_market"),
    ("binance trades page", '"price":"61837.1"', '"price":NaN', 0, "decimal_malformed"),
    ("binance trades page", '"id":28457', '"id":-28457', 0, "integer_overflow"),
    ("binance trades page", '"time":1723161243342', '"time":1723161243', 0, "event_time_before_market"),
    ("usdm trade", '"p":"61800.20"', '"p":"-61800.20"', 0, "price_not_positive"),
    ("usdm trade", '"T":1723161256523', '"T":1723161256', 0, "event_time_before_market"),
    ("usdm trade", '"t":5266583939', '"t":18446744073709551616', 0, "integer_overflow"),
    ("usdm quote", '"A":"2.510"', '"A":"-2.510"', 0, "size_negative"),
    ("usdm quote", '"E":1723161256313', '"E":1723161', 0, "time_implausible"),
    ("usdm quote", '"u":5123107839020', '"u":null', 0, "field_malformed"),
    ("usdm depth", '"5000.00"', '"0"', 0, "price_not_positive"),
    ("usdm depth", '["5000.00","2.341"]', '["5000.00"]', 0, "levels_uneven"),
    ("usdm mark prices", '"p":"61794.15"', '"p":"-61794.15"', 0, "price_not_positive"),
    ("usdm mark prices", '"p":"61794.15"', '"p":Infinity', 0, "decimal_malformed"),
    ("usdm mark prices", '"r":"0.00038167"', '"r":"38.167"', 0, "funding_implausible"),
    ("usdm mark prices", '"T":1723190400000', '"T":1723190400', 0, "time_implausible"),
    ("polygon", '"h":161.9', '"h":161.0', 0, "ohlc_inconsistent"),
    ("polygon", '"v":4110', '"v":-4110', 0, "size_negative"),
    ("polygon", '"v":4110', '"v":NaN', 0, "decimal_malformed"),
    ("polygon", '"s":1651684200000', '"s":1651684200', 0, "event_time_before_market"),
    ("polygon", '"s":1651684200000', '"s":10413792000000', 0, "time_out_of_range"),
    ("polygon", '"o":161.4', '"o":0', 0, "price_not_positive"),
    ("polygon", '"c":161.6', '"c":null', 0, "price_missing"),
    ("polygon", '"h":170.1,"l":150.2', '"h":150.2,"l":170.1', 2, "bands_reversed"),
    ("polygon", '"l":150.2', '"l":-150.2', 2, "price_not_positive"),
    ("polygon", '"p":161.87', '"p":1e400', 3, "decimal_malformed"),
    ("polygon", '"p":161.87', '"p":-Infinity', 3, "decimal_malformed"),
    ("polygon", '"p":161.87', '"p":0161.87', 3, "decimal_malformed"),
    ("polygon", '"s":1,"c"', '"s":0x01,"c"', 3, "decimal_malformed"),
    ("polygon", '"q":4009408', '"q":-4009408', 3, "integer_overflow"),
    ("polygon", '"sym":"AMZN","i"', '"sym":"AM\\u0000ZN","i"', 3, "symbol_malformed"),
    ("polygon", '"sym":"AMZN","i"', '"sym":"AM ZN","i"', 3, "symbol_malformed"),
    ("polygon", '"sym":"AMZN","i"', '"sym":"","i"', 3, "symbol_missing"),
    ("polygon", '"t":1651684259536', '"t":"1651684259536"', 3, "field_malformed"),
    ("polygon trades page", '"price":156.43', '"price":-156.43', 0, "price_not_positive"),
    ("polygon trades page", '"price":156.43', '"price":NaN', 0, "decimal_malformed"),
    ("polygon trades page", '"participant_timestamp":1651181822461636600', '"participant_timestamp":1651181822', 0,
     "time_implausible"),
    ("polygon trades page", '"sip_timestamp":1651181822461979400', '"sip_timestamp":1651181822461', 0,
     "event_time_before_market"),
    ("polygon bars page", '"l":156.7', '"l":256.7', 0, "ohlc_inconsistent"),
    ("polygon bars page", '"v":955', '"v":-955', 0, "size_negative"),
    ("crypto", '"p":33021.9', '"p":0', 0, "price_not_positive"),
    ("crypto", '"t":1610462007425', '"t":1610462007', 0, "event_time_before_market"),
    ("crypto", '"r":1610462007576', '"r":9000000000000', 0, "time_implausible"),
    ("crypto", '"bs":0.48', '"bs":-0.48', 1, "size_negative"),
    ("crypto", '"l":32990', '"l":-32990', 2, "price_not_positive"),
    ("options", '"p":9.54', '"p":-9.54', 0, "price_not_positive"),
    ("options", '"s":1,', '"s":9999999999999,', 0, "size_implausible"),
    ("options", '"ap":9.81', '"ap":-9.81', 1, "price_not_positive"),
    ("alpaca", '"h":163.1', '"h":160.1', 0, "ohlc_inconsistent"),
    ("alpaca", '"v":49378', '"v":-49378', 0, "size_negative"),
    ("alpaca", '"t":"2023-04-06T11:54:00Z"', '"t":"1601-04-06T11:54:00Z"', 0, "time_out_of_range"),
    ("alpaca", '"p":162.92', '"p":NaN', 1, "decimal_malformed"),
    ("alpaca", '"i":628', '"i":-628', 1, "integer_overflow"),
    ("alpaca", "26.838232225Z", "26.838232225+99:00", 1, "field_malformed"),
    ("alpaca", '"t":"2023-04-06T11:54:26.838232225Z"', '"t":1680782066', 1, "field_malformed"),
    ("alpaca", '"u":170.5,"d":150.5', '"u":150.5,"d":170.5', 2, "bands_reversed"),
    ("alpaca", '"cp":162.9', '"cp":-162.9', 3, "price_not_positive"),
    ("alpaca", '"cs":4', '"cs":-4', 3, "size_negative"),
    ("alpaca page", '"p":159.07', '"p":Infinity', 0, "decimal_malformed"),
    ("alpaca page", '"t":"2022-03-09T05:00:02.183Z"', '"t":"0000-03-09T05:00:02.183Z"', 0, "field_malformed"),
]  # fmt: skip


def outcomes(frame: str, text: str) -> list[Any]:
    """Records that pass, or the first code of what is caught, in the frame's order."""
    feed, receive_ms, endpoint, _ = FRAMES[frame]
    exchange = exchanges.load(feed)
    checker = Checker(exchange, judge_lateness=False)
    found: list[Any] = []
    payload = text.encode()
    for outcome in exchange().parse(Frame(feed, "c", 1, endpoint, receive_ms * 1_000_000, payload)):
        if isinstance(outcome, Rejected):
            found.append(str(outcome.code))
        elif isinstance(outcome, Record):
            hard = [f.code for f in checker.check(outcome) if f.severity is Severity.HARD]
            found.append(hard[0] if hard else outcome)
    return found


@pytest.mark.parametrize("frame", FRAMES)
def test_the_frame_without_a_corruption_is_clean(frame: str) -> None:
    found = outcomes(frame, FRAMES[frame][3])
    assert found
    assert all(isinstance(item, Record) for item in found), found


@pytest.mark.parametrize(("frame", "old", "new", "place", "code"), CATALOGUE)
def test_one_corrupt_place_costs_its_event_under_its_code(
    frame: str, old: str, new: str, place: int, code: str
) -> None:
    text = FRAMES[frame][3]
    assert old in text
    clean = outcomes(frame, text)
    found = outcomes(frame, re.sub(re.escape(old), lambda _: new, text, count=1))
    assert found[place] == code
    assert found[:place] + found[place + 1 :] == clean[:place] + clean[place + 1 :]
