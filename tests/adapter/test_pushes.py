"""Rows behind a head."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from etl.adapter import build, fields
from etl.adapter.build import Stream
from etl.adapter.contract import Rejected
from etl.adapter.dispatch import Reader
from etl.adapter.pushes import Pushes, Route, as_rows, read_each
from etl.model.codes import Code
from etl.model.records import Frame, Trade

HEAD = '{"arg":"BTC",'


class Row(msgspec.Struct, gc=False):
    i: int
    p: str


def read_row(frame: Frame, index: int, row: Row, stream: Stream) -> Trade:
    price, size = fields.two(row.p, "1")
    return build.trade(stream, frame, index, row.i, price, size, trade_id=str(row.i))


ROUTE = Route(Stream("x", "BTC", "BTC", "trades", 1), Reader(Row, read_row))


def frame(text: str) -> Frame:
    return Frame("x", "c", 1, "", 1, text.encode())


def ids(outcomes: list[Any]) -> list[Any]:
    return [getattr(one, "trade_id", None) or one.code for one in outcomes]


def test_a_head_is_known_once_it_was_learnt_and_its_rows_are_read_in_their_order() -> None:
    pushes, pushed = Pushes(), frame(HEAD + '"data":[{"i":1,"p":"5"},{"i":2,"p":"x"},{"i":3,"p":"6"}]}')
    assert pushes.rows(pushed) is None
    pushes.learn(HEAD, ROUTE)
    found = pushes.rows(pushed)
    assert found is not None
    assert ids(found[0].read(pushed, found[1])) == ["1", Code.DECIMAL_MALFORMED, "3"]


def test_another_head_and_a_frame_with_anything_wrong_are_left_to_the_slow_way() -> None:
    pushes = Pushes()
    pushes.learn(HEAD, ROUTE)
    for text in ('{"arg":"ETH","data":[]}', HEAD + '"data":[{"i":1}]}', HEAD + '"data":[', HEAD + "}", ""):
        assert pushes.rows(frame(text)) is None


def test_a_garbled_row_costs_itself_alone() -> None:
    array = Raw(b'[{"i":1,"p":"5"},{"i":"?"},7,{"i":3,"p":"6"}]')
    assert as_rows(array, ROUTE) is None
    outcomes = read_each(frame("{}"), array, ROUTE)
    assert ids(outcomes) == ["1", Code.FIELD_MALFORMED, Code.FIELD_MALFORMED, "3"]
    assert [one.index for one in outcomes if isinstance(one, Rejected)] == [1, 2]
