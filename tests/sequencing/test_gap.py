"""Gaps that a message can hold."""

from __future__ import annotations

import msgspec
import pytest

from etl.exchanges import load
from etl.model.records import GapKind, Quote, Trade
from etl.sequencing.continuity import Continuity
from etl.sequencing.gap import SEQUENCE_MAX
from etl.wire.codec import decode, encode
from tests.support import stream


@pytest.mark.parametrize("record", [stream.trade(1), stream.quote(1)], ids=["counted", "timed"])
@pytest.mark.parametrize("behind", [0, 1])
def test_a_loss_behind_the_last_id_there_is_begins_at_no_id(record: Trade | Quote, behind: int) -> None:
    continuity = Continuity(load("binance"), declares_start=False)
    continuity.observe(msgspec.structs.replace(record, sequence=SEQUENCE_MAX - behind))
    (gap,) = continuity.lost(GapKind.DISCONNECT, "gone", 2_000_000_000_000_000_000)
    assert gap.from_sequence == (SEQUENCE_MAX if behind else None)
    assert decode(encode(gap)) == gap
