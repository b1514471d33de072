"""What a feed asks its venue's history for, asked of the simulator: the same events as the stream's, page by page."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from etl.adapter.contract import Exchange
from etl.exchanges import alpaca, load, polygon
from etl.model.records import Frame, Kind, Record, Source
from tests.support.serving import receive_bytes, simulator

FRAMES = 120
PAGE_ROWS = 7


@pytest.mark.parametrize(("name", "module"), [("polygon", polygon), ("alpaca", alpaca)])
def test_pages_of_history_give_each_event_of_the_stream_once_under_its_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, module: ModuleType
) -> None:
    monkeypatch.setattr(module, "PAGE_ROWS_MAX", PAGE_ROWS)
    live, past = asyncio.run(_stream_and_history(tmp_path, name))
    for kind in (Kind.TRADE, Kind.QUOTE):
        sent = [record for record in live if record.kind is kind]
        got = [
            record for record in past if record.kind is kind and record.key_time_ns <= live[-1].key_time_ns
        ]
        assert len(sent) > 3 * PAGE_ROWS
        assert _identities(got)[: len(sent)] == _identities(sent)


def _identities(records: list[Record]) -> list[tuple[str, str, int]]:
    return [(record.symbol, record.record_key, record.key_time_ns) for record in records]


async def _stream_and_history(state_path: Path, name: str) -> tuple[list[Record], list[Record]]:
    async with simulator(state_path, name) as client:
        socket = await client.log_in(name)
        frames = await receive_bytes(socket, FRAMES)
        live = _records(load(name)(), name, [(frame, "") for frame in frames])
        start_ns, end_ns = live[0].event_time_ns, live[-1].event_time_ns + 1
        past: list[Record] = []
        for kind in (Kind.TRADE, Kind.QUOTE):
            past += _records(load(name)(), name, await _pages(client, name, kind, start_ns, end_ns))
        return live, past


def _records(parser: Exchange, name: str, frames: list[tuple[bytes, str]]) -> list[Record]:
    outcomes = [
        outcome
        for number, (payload, endpoint) in enumerate(frames, 1)
        for outcome in parser.parse(Frame(name, "c", number, endpoint, 1, payload, Source.STREAM))
    ]
    return [outcome for outcome in outcomes if isinstance(outcome, Record) and outcome.kind is not Kind.BAR]


async def _pages(client: Any, name: str, kind: Kind, start_ns: int, end_ns: int) -> list[tuple[bytes, str]]:
    parser, pages = load(name)(), []
    (request,) = parser.history_requests(kind, "AAPL", start_ns, end_ns)
    following: Any = request
    while following is not None:
        url = f"http://{client.address}/{name}{following.path}"
        async with client.http.get(url) as answer:
            payload = await answer.read()
        pages.append((payload, url))
        following = parser.next_request(following, Frame(name, "c", len(pages), url, 1, payload))
    assert len(pages) > 3
    return pages
