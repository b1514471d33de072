"""docs/lake.md: what it shows runs, and the tables it names are the tables there are."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import Path

import pytest

from etl import settings as settings_module
from etl.lake import IncompleteWarning
from etl.lake.query import connect
from etl.model.tables import KIND_BY_TABLE
from etl.settings import Settings
from tests.support import stream
from tests.support.lake import export_records

TEXT = (Path(__file__).parents[2] / "docs" / "lake.md").read_text()


def test_the_tables_named_are_the_tables_there_are() -> None:
    (names,) = re.findall(r"Tables: `([a-z_ ]+)`", TEXT)
    assert set(names.split()) == KIND_BY_TABLE.keys()


def test_the_examples_run(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    export_records(settings, [stream.trade(0), stream.trade(1, symbol="20240101", last_price="2")])
    for name, value in settings_module.as_environment(settings).items():
        monkeypatch.setenv(name, value)
    by_platform, by_readers, by_lake = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    names: dict[str, object] = {"LAKE": settings.lake_path}
    exec(by_platform, names)
    assert list(names["frame"]["last_price"]) == [Decimal(61837)]  # type: ignore[index]
    exec(by_readers, names)
    assert sorted(row[0] for row in names["rows"]) == ["20240101", "BTC-USDT"]  # type: ignore[attr-defined]
    assert list(names["frame"]["last_price"]) == [Decimal(61837)]  # type: ignore[index]
    assert names["last"].item() == Decimal(61837)  # type: ignore[attr-defined]
    with pytest.warns(IncompleteWarning, match="nobody has told"):
        exec(by_lake, names)
    assert names["by_side"].rows() == [("sell", Decimal("0.02"))]  # type: ignore[attr-defined]
    assert names["spread"]["bid_source"].to_list() == [None]  # type: ignore[index]
    (sql,) = re.findall(r'--store lake "(.*?)"', TEXT)
    with connect(settings) as lake:
        assert sorted(lake.execute(sql).fetchall()) == [
            ("20240101", 1, Decimal("0.04")),
            ("BTC-USDT", 1, Decimal("1236.74")),
        ]
