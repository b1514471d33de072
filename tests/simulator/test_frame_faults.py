"""What a broken frame is made of: it must be no message for any parser, or the truth about it is false."""

from __future__ import annotations

import random

import msgspec
import pytest
from google.protobuf.message import DecodeError

from etl.exchanges import _mexc_pb2
from etl.simulator.frame_faults import FRAME_FAULTS, Fault, Outgoing

TRADE = _mexc_pb2.Wrapper(channel="spot@public.aggre.deals", symbol="BTCUSDT", send_time=1_796_022_572_061)
TRADES = [
    {"T": "t", "S": "BTC/USD", "i": 7, "p": 61_837.64},
    {"T": "t", "S": "ETH/USD", "i": 8, "p": 2_685.13},
]


@pytest.mark.parametrize("kind", ["garble", "cut"])
@pytest.mark.parametrize(
    ("payload", "parse", "error"),
    [
        (b'{"e":"trade","s":"BTCUSDT","t":7}', msgspec.json.decode, msgspec.DecodeError),
        (TRADE.SerializeToString(), _mexc_pb2.Wrapper.FromString, DecodeError),
        (msgspec.msgpack.encode(TRADES), msgspec.msgpack.decode, msgspec.DecodeError),
    ],
    ids=["json", "protobuf", "messagepack"],
)
def test_a_broken_frame_is_no_message_whatever_it_was(kind: str, payload: bytes, parse, error) -> None:  # type: ignore[no-untyped-def]
    assert parse(payload)
    fault = Fault(kind=kind)
    for seed in range(200):
        withheld, broken = FRAME_FAULTS[kind](Outgoing((), payload), fault, 0, random.Random(seed))
        assert (withheld.payload, withheld.is_sent, broken.is_sent) == (payload, False, True)
        with pytest.raises(error):
            parse(broken.payload)
