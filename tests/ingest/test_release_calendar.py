"""Series come by the calendar of their releases, over the network from the simulated source, into the topics."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
import pytest

from etl.embedded.ports import free_ports
from etl.ingest.backfill_jobs import day_of
from etl.ingest.release_calendar import refresh
from etl.model.records import Observation
from etl.model.times import NS_PER_DAY, parse_ns
from etl.settings import Settings
from etl.transports.kafka import ensure_topics
from tests.ingest.test_backfill import published, serving
from tests.support import fred


@pytest.mark.integration
def test_all_vintages_come_once_and_then_only_what_had_a_release(
    settings_with: Callable[..., Settings],
) -> None:
    (port,) = free_ports(1)
    settings = settings_with(kafka=True, venues="fred", simulator_port=port, backfill_series="GDP,UNRATE")
    ensure_topics(settings)
    now_ns = time.time_ns()
    today = day_of(now_ns)
    last = max(one.from_day for one in fred.simulated().vintages("UNRATE", today))
    with serving(settings):
        assert sorted(refresh(settings, now_ns)) == ["GDP", "UNRATE"]
        first = published(settings)
        path = settings.state_path / "observations" / "fred.json"
        assert msgspec.json.decode(path.read_bytes()) == {"GDP": today, "UNRATE": today}
        path.write_bytes(msgspec.json.encode({"GDP": day_of(now_ns + NS_PER_DAY), "UNRATE": last}))
        assert list(refresh(settings, now_ns)) == ["UNRATE"]
    seen = {one.connection_id for one in first}
    again = [one for one in published(settings) if one.connection_id not in seen]
    assert again
    assert {(one.symbol, one.publish_time_ns >= parse_ns(last)) for one in again} == {("UNRATE", True)}
    for series in ("GDP", "UNRATE"):
        span = parse_ns("1900-01-01"), now_ns - now_ns % NS_PER_DAY + NS_PER_DAY
        _, truth, _ = fred.backfilled(series, fred.simulated(), span, today)
        came = [one for one in first if one.symbol == series]
        assert all(isinstance(one, Observation) for one in came)
        assert sorted(one.record_key for one in came) == sorted(event.record_key for event in truth)
    assert "demo-key" not in str(first), "no endpoint or record holds the key"
