"""``etl bench lake``: what it measures is whole, and small here."""

from __future__ import annotations

import json

import pytest

from etl.bench import lake


def test_it_measures_what_it_says(capsys: pytest.CaptureFixture[str]) -> None:
    lake.main(as_json=True, rows=2_400, symbols=5, rows_per_symbol=4, files=30, messages=30, quotes=300)
    result = json.loads(capsys.readouterr().out)
    assert (result["write"]["rows"], result["symbols"]["rows"], result["day"]["rows"]) == (30, 20, 2_400)
    assert result["day"]["bars_ms"]["median"] > 0
    assert result["log"]["files"] == 30
    assert result["day"]["lake_sum_ms"]["min"] > 0
    assert (result["asof"]["left_rows"], result["asof"]["symbols"]) == (100, 1_000)
    assert result["books"]["messages"] == 3
    assert result["symbols"]["one_symbol_ms"]["median"] > 0
    assert result["log"]["commit_ms"]["min"] <= result["log"]["commit_ms"]["max"]
