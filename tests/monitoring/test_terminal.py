from __future__ import annotations

from etl.embedded.status import DONE, FAILED, RUNNING, STARTING, WAITING, PartState
from etl.model.times import NS_PER_S
from etl.monitoring.terminal import waits


def test_what_is_waited_for_is_told_with_its_seconds_and_what_comes_behind_it() -> None:
    now_ns = 1_000 * NS_PER_S
    parts = [
        PartState("kafka", "", state=RUNNING),
        PartState("topics", "", state=STARTING, since_ns=now_ns - 3 * NS_PER_S),
        PartState("clickhouse", "", state=STARTING, since_ns=now_ns - 12 * NS_PER_S),
        PartState("migrate", "", state=WAITING),
        PartState("stream-binance", "", state=WAITING),
        PartState("mailbox", "", state=FAILED),
        PartState("airflow-bootstrap", "", state=DONE),
    ]
    assert waits(parts, now_ns) == [
        "waits for topics (3 s), clickhouse (12 s)",
        "then migrate, stream-binance",
        "not running: mailbox",
    ]
    assert waits([parts[0], parts[-1]], now_ns) == []
