"""The queries that analysts are shown run as they stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from etl.settings import Settings
from etl.sinks.load import load_timescale
from etl.stores.migrate import migrate_timescale, statements
from etl.stores.query import query
from tests.support import stream
from tests.support.lake import export_records

QUERIES = Path(__file__).parents[2] / "sql" / "queries"
RECORDS = [stream.trade(5), stream.quote(0), stream.book(0), stream.gap(0)]


@pytest.mark.integration
def test_examples_for_timescale(settings_with: Callable[..., Settings]) -> None:
    settings = settings_with(kafka=True, timescale=True)
    migrate_timescale(settings)
    stream.publish(settings, *RECORDS)
    load_timescale(settings)
    for statement in statements((QUERIES / "timescale_examples.sql").read_text()):
        assert len(query(settings, "timescale", statement).rows) == 1, statement


def test_examples_for_the_lake(settings: Settings) -> None:
    export_records(settings, RECORDS)
    for statement in statements((QUERIES / "lake_examples.sql").read_text()):
        assert len(query(settings, "lake", statement).rows) >= 1, statement
