from __future__ import annotations

import pytest

from etl import settings as settings_module
from etl.sinks.clickhouse_batch import PartitionId
from etl.sinks.clickhouse_positions import Positions
from etl.transports import kafka_group
from etl.transports.kafka_group import KafkaGroup
from tests.support.clickhouse_sink import Nobody
from tests.support.fenced_broker import fenced_broker


def test_a_broker_that_names_no_broker_does_not_end_the_sink_that_looks_at_its_topics(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The client's ``describe_cluster`` aborts the process there."""
    monkeypatch.setattr(kafka_group, "REQUEST_TIMEOUT_S", 0.3)
    with fenced_broker("market-data.normalized") as broker:
        settings = settings_module.make(kafka_url=f"127.0.0.1:{broker.port}")
        group = KafkaGroup(settings, "sink", Nobody(), session_timeout_ms=3_000, fetched_bytes_max=1 << 20)
        held = PartitionId("cluster", "market-data.normalized", 0, "id")
        positions = Positions(settings, group)
        assert positions.made_anew([held]) == set()
        broker.is_fenced = True
        assert positions.made_anew([held]) == set()
        group.close()
