"""The venue of ``docs/adding_a_venue.md`` is one."""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from etl.adapter.contract import Exchange, Fault, FaultKind, Ignored, Rejected, Subscription
from etl.model.codes import Code
from etl.model.instruments import Instruments
from etl.model.records import Frame, Kind, Record, Side, Trade

GUIDE = (Path(__file__).parents[2] / "docs" / "adding_a_venue.md").read_text()
TRADES = "https://api.acme.example/v1/trades?symbol=BTC-USD"
CODE = re.findall(r"```python\n(.*?)```", GUIDE, re.S)
EVENT = re.findall(r"```json\n(.*?)\n```", GUIDE, re.S)


@pytest.fixture(scope="module")
def acme(tmp_path_factory: pytest.TempPathFactory) -> Iterator[type[Exchange]]:
    (code,) = CODE
    path = tmp_path_factory.mktemp("venue") / "acme_of_the_guide.py"
    path.write_text(code)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules[path.stem] = importlib.util.module_from_spec(spec)  # where msgspec looks for names
    spec.loader.exec_module(module)
    yield module.Acme
    del sys.modules[path.stem]


def parsed(venue: type[Exchange], *payloads: str, endpoint: str = "") -> list[Any]:
    parser = venue(
        instruments=Instruments(venue.read_instruments(b'[{"name":"BTC-USD","base":"BTC","quote":"USD"}]'))
    )
    return [
        outcome
        for number, payload in enumerate(payloads, 1)
        for outcome in parser.parse(Frame("acme", "c", number, endpoint, 9, payload.encode()))
    ]


def test_the_message_of_the_guide_is_a_trade_on_either_path(acme: type[Exchange]) -> None:
    (event,) = EVENT
    slow, fast = parsed(acme, event, event)
    assert isinstance(slow, Trade)
    assert (slow.symbol, slow.record_key, slow.sequence, slow.side) == ("BTC-USD", "7", 7, Side.SELL)
    assert (slow.event_time_ns, slow.last_price, slow.volume) == (
        1_760_000_000_000_000_000,
        "61837.63",
        "0.02",
    )
    assert (fast.frame_sequence, fast.record_key) == (2, "7")
    row = event.partition('"data":')[2][:-1]
    (again,) = parsed(acme, f"[{row}]", endpoint=TRADES)
    assert (again.record_key, again.key_time_ns) == (slow.record_key, slow.key_time_ns)


def test_what_the_venue_says_of_itself_is_told(acme: type[Exchange]) -> None:
    assert parsed(acme, '{"op":"subscribed"}') == [
        Ignored("subscribed"),
        Fault(FaultKind.READY, "subscribed", ""),
    ]
    ignored, fault = parsed(acme, '{"error":{"reason":"too many requests"}}')
    assert (ignored.name, fault.kind) == ("error", FaultKind.RATE_LIMIT)
    assert parsed(acme, "[]", endpoint=TRADES) == [Ignored("empty")]
    (unknown,) = parsed(acme, '{"unheard":"of"}')
    assert isinstance(unknown, Rejected)
    assert unknown.code is Code.UNKNOWN_MESSAGE


def test_its_requests_go_on_to_the_end(acme: type[Exchange]) -> None:
    parser = acme()
    (first,) = parser.history_requests(Kind.TRADE, "BTC-USD", 0, 0)
    page = [{"id": number, "ts": number + 1} for number in range(1_000)]
    frame = Frame("acme", "c", 1, "", 9, str(page).replace("'", '"').encode())
    second = parser.next_request(first, frame)
    assert second is not None
    assert second.path == "/v1/trades?symbol=BTC-USD&limit=1000&from_id=1000"
    assert parser.open(Subscription(("BTC-USD",), ("trades",)), 0) == [
        '{"op":"subscribe","topics":["trades.BTC-USD"]}'
    ]
    assert not any(isinstance(outcome, Record) for outcome in parsed(acme, EVENT[0][:-9]))
