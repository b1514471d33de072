"""Members of events that no venue file knows."""

from __future__ import annotations

from collections import Counter

import pytest

from etl.adapter import unknown_fields
from etl.adapter.unknown_fields import UnknownFields, members_of
from etl.exchanges import known_fields, load
from tests.support import fixtures
from tests.support.known_fields import frames

KNOWN = {"AM": frozenset({"ev", "v"}), "bookTicker": frozenset({"u"}), "kline": frozenset({"e", "k", "k.t"})}


def counted(*texts: str) -> Counter[tuple[str, str]]:
    counts: Counter[tuple[str, str]] = Counter()
    unknown = UnknownFields(KNOWN, counts)
    for text in texts:
        unknown.look(text.encode())
    return counts


def test_a_new_member_is_counted_by_its_event() -> None:
    assert counted('[{"ev":"AM","v":1,"dv":"1.5"},{"ev":"AM","v":1}]', '[{"ev":"AM","dv":"2"}]') == {
        ("AM", "dv"): 2
    }


def test_a_type_may_be_called_just_that() -> None:
    counts: Counter[tuple[str, str]] = Counter()
    UnknownFields({"match": frozenset({"type", "price"})}, counts).look(
        b'{"type":"match","price":"1","fee":"0"}'
    )
    assert counts == {("match", "fee"): 1}


def test_an_event_without_a_type_goes_by_its_stream_and_members_inside_are_looked_at() -> None:
    assert counted('{"stream":"btcusdt@bookTicker","data":{"u":1,"x":2}}') == {("bookTicker", "x"): 1}
    assert counted('{"stream":"a@kline_1m","data":{"e":"kline","k":{"t":1,"n":2}}}') == {("kline", "k.n"): 1}
    assert counted('{"arg":{"channel":"kline","instId":"A"},"data":[{"e":1},{"n":2},[3]]}') == {
        ("kline", "n"): 1
    }
    assert counted('{"channel":"kline","type":"update","data":[{"n":2}]}') == {("kline", "n"): 1}
    assert counted('{"topic":"kline.1.BTCUSDT","data":[{"e":1},{"n":2}],"ts":7}') == {("kline", "n"): 1}
    counts: Counter[tuple[str, str]] = Counter()
    UnknownFields({"/market/level2": frozenset({"time"})}, counts).look(
        b'{"topic":"/market/level2:A.B-USDT","type":"message","data":{"time":1,"n":2}}'
    )
    assert counts == {("/market/level2", "n"): 1}
    assert not counted('{"arg":{"channel":7},"data":[{"n":2}]}', '{"arg":7,"data":[{"n":2}]}')


def test_members_of_rows_inside_of_events_are_looked_at_whatever_type_the_events_bear() -> None:
    """As Coinbase Advanced Trade sends them."""
    counts: Counter[tuple[str, str]] = Counter()
    known = frozenset({"type", "trades", "trades.price"})
    rows = '[{"price":"1"},{"price":"1","fee":"0"},{"price":"1","fee":"0"}]'
    UnknownFields({"market_trades": known}, counts).look(
        f'{{"channel":"market_trades","events":[{{"type":"update","trades":{rows},"new":1}}]}}'.encode()
    )
    assert counts == {("market_trades", "trades.fee"): 1, ("market_trades", "new"): 1}
    assert "trades.trade_id" in known_fields(load("coinbase_advanced"))["market_trades"]


def test_an_event_that_is_the_result_of_a_channel_goes_by_it_and_an_answer_is_none() -> None:
    """As Gate sends them."""
    counts: Counter[tuple[str, str]] = Counter()
    unknown = UnknownFields({"spot.trades": frozenset({"id"})}, counts)
    for event in ("update", "subscribe"):
        unknown.look(f'{{"channel":"spot.trades","event":"{event}","result":{{"id":1,"fee":"0"}}}}'.encode())
    assert counts == {("spot.trades", "fee"): 1}


def test_what_is_no_event_of_a_known_type_is_another_matter() -> None:
    assert not counted(
        "pong", "null", "[]", '[1,null,{"ev":5}]', '{"ev":"ZZ","a":1}', '{"result":null,"id":1}', "{", "\x80"
    )


def test_distinct_members_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unknown_fields, "UNKNOWN_FIELDS_MAX", 2)
    assert counted('[{"ev":"AM","a":1,"b":1,"c":1}]', '[{"ev":"AM","a":1,"c":1}]') == {
        ("AM", "a"): 2,
        ("AM", "b"): 1,
    }


def test_the_file_knows_all_that_the_fixtures_have() -> None:
    """``python -m tests.support.known_fields`` after a new fixture."""
    feeds = {fixtures.feed_of(path) for path in fixtures.paths()}
    known = {feed.__module__.rpartition(".")[2]: known_fields(feed) for feed in feeds}
    events = [(venue, *found) for venue, frame in frames() for found in members_of(frame)]
    assert len(events) > 500
    assert [one for one in events if one[2] not in known[one[0]][one[1]]] == []


def test_a_sister_in_the_same_file_knows_the_same() -> None:
    assert known_fields(load("polygon_crypto")) == known_fields(load("polygon"))
