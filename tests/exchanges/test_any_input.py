"""Whatever arrives, every feed's ``parse`` gives typed results; also what no mutated frame would look like."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from etl.adapter.contract import Ignored, Outcome, Rejected
from etl.exchanges import load, names
from etl.model.records import Frame, Record

FIELDS = [
    *(
        "ev",
        "e",
        "T",
        "S",
        "s",
        "sym",
        "pair",
        "p",
        "t",
        "i",
        "x",
        "q",
        "c",
        "z",
        "bp",
        "as",
        "o",
        "h",
        "l",
        "b",
        "a",
        "u",
    ),
    *(
        "stream",
        "data",
        "results",
        "ticks",
        "last",
        "ticker",
        "status",
        "trades",
        "quotes",
        "bars",
        "message",
        "symbol",
    ),
]
TAGS = (
    "T",
    "Q",
    "AM",
    "XT",
    "LULD",
    "status",
    "t",
    "q",
    "b",
    "o",
    "x",
    "c",
    "error",
    "trade",
    "depthUpdate",
    "kline",
)
ENDPOINTS = (
    "",
    "https://x/v3/trades/AAPL?limit=1",
    "https://x/v2/stocks/bars?symbols=A",
    "/api/v3/klines?symbol=BTCUSDT",
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=6), children, max_size=4)
    ),
    max_leaves=12,
)
EVENTS = st.dictionaries(st.sampled_from(FIELDS), JSON | st.sampled_from(TAGS), max_size=8)


@pytest.mark.parametrize("name", names())
@settings(max_examples=60, deadline=None)
@given(
    message=st.lists(EVENTS | JSON, max_size=3) | EVENTS,
    endpoint=st.sampled_from(ENDPOINTS),
    cut=st.integers(0, 200),
)
def test_any_json_or_msgpack_gives_typed_results(name: str, message: object, endpoint: str, cut: int) -> None:
    payload, packed = msgspec.json.encode(message), packed_form(message)
    for text in (payload, payload[:cut], packed, packed[:cut]):
        assert_typed(name, text, endpoint)


@pytest.mark.parametrize("name", names())
@settings(max_examples=60, deadline=None)
@given(payload=st.binary(max_size=60), endpoint=st.sampled_from(ENDPOINTS))
def test_any_bytes_give_typed_results(name: str, payload: bytes, endpoint: str) -> None:
    assert_typed(name, payload, endpoint)


def assert_typed(name: str, payload: bytes, endpoint: str) -> None:
    outcomes = load(name)().parse(Frame(name, "c", 1, endpoint, 1, payload))
    assert any(isinstance(outcome, Record | Rejected | Ignored) for outcome in outcomes)
    assert all(isinstance(outcome, Outcome) for outcome in outcomes)


def packed_form(message: object) -> bytes:
    try:
        return msgspec.msgpack.encode(message)
    except OverflowError:
        return b"\x91\x80"  # msgpack has no room for the integer
