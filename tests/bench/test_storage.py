"""``etl bench storage``: what it leaves out is said, and what it measures is whole."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from etl.bench import storage
from etl.model.records import Record
from etl.settings import Settings
from tests.support import stream


def write(file: Path, receive_time_ns: int, frame: str) -> None:
    line = {"receive_time_ns": receive_time_ns, "kind": "ws", "frame": frame}
    file.write_text(json.dumps(line) + "\n")


def test_a_recording_that_cannot_be_measured_is_left_out_with_its_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "nowhere.jsonl", 1, "{}")
    write(tmp_path / "polygon.jsonl", 0, "[]")
    write(tmp_path / "binance.jsonl", 1, '{"result":null,"id":1}')
    assert list(storage.each_recorded(tmp_path, "all")) == []
    shown = capsys.readouterr()
    assert (shown.out + shown.err).splitlines() == [
        "binance.jsonl: left out, it has no trades, quotes or books",
        "nowhere.jsonl: left out, there is no such venue here",
        "polygon.jsonl: left out, its frames have no time of receipt",
    ]


def test_without_recordings_one_line_says_that_nothing_is_measured(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    storage.main(recordings=tmp_path, venues="all")
    shown = capsys.readouterr()
    assert shown.out + shown.err == f"{tmp_path}: no recording of all venues; nothing is measured\n"


@pytest.mark.integration
def test_the_tables_give_what_was_sent_and_ids_that_are_uuids_cost_more_than_numbers(
    settings_with: Callable[..., Settings],
) -> None:
    records: list[Record] = [
        make(number) for make in (stream.trade, stream.quote, stream.book) for number in range(300)
    ]
    found = dict(storage.measured(settings_with(clickhouse=True), [("binance", records)]))["binance"]
    assert found["rows"] == {"trades": 300, "quotes": 300, "book_levels": 900}
    assert found["columns"]["trades"]["key_number"] < 2 < 16 < found["uuid_ids"]["as_stored"]
