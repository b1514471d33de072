"""The buffer of one partition: when a batch is due, how it is cut, and when reading has to wait."""

from __future__ import annotations

from etl.sinks.clickhouse_batch import BY_BLOCKS, Batch, Intent, PartitionId
from etl.sinks.clickhouse_partition import Limits, Partition

PARTITION_ID = PartitionId("cluster", "topic", 3, "topic-id")
LIMITS = Limits(rows_max=4, bytes_max=100, linger_s=1.0)
NOW_S, TIME_S = 50.0, 1_700_000_000.0


def partition(*values: bytes, start: int = 10, found: Intent | None = None) -> Partition:
    made = Partition(PARTITION_ID, start, found, LIMITS)
    for number, value in enumerate(values):
        made.buffer(start + number, value, NOW_S)
    return made


def cut(held: Partition, now_s: float = NOW_S) -> Batch:
    return held.cut(held.rows_due(now_s), now_s, TIME_S, lambda values: BY_BLOCKS)


def test_a_batch_is_due_when_it_is_full_or_its_oldest_message_has_waited() -> None:
    assert partition().rows_due(NOW_S + 9) == 0
    few = partition(b"a", b"b")
    assert [few.rows_due(NOW_S + waited_s) for waited_s in (0.0, 0.999, 1.0)] == [0, 0, 2]
    assert partition(*[b"a"] * 5).rows_due(NOW_S) == 4
    assert partition(b"x" * 60, b"x" * 40, b"x").rows_due(NOW_S) == 2
    assert partition(b"x" * 60, b"x" * 41).rows_due(NOW_S) == 1
    assert partition(b"x" * 500, b"x").rows_due(NOW_S) == 1


def test_batches_follow_one_another_and_one_is_under_way_at_a_time() -> None:
    held = partition(*[bytes([n]) for n in range(6)])
    first = cut(held)
    intent = Intent(topic_id="topic-id", start=10, end=14, rows=4, time_s=TIME_S, v=BY_BLOCKS)
    assert (first.intent, first.offsets, first.intended) == (intent, [10, 11, 12, 13], False)
    assert held.rows_due(NOW_S + 9) == 0
    held.stored(NOW_S + 2)
    assert (held.start, held.settled()) == (14, Intent(topic_id="topic-id", start=14, end=14))
    second = cut(held, NOW_S + 9)
    assert (second.intent.start, second.intent.end, second.values) == (14, 16, [b"\x04", b"\x05"])
    assert held.empty


def test_an_intent_found_is_cut_with_its_own_bounds_once_all_of_it_is_read() -> None:
    found = Intent(topic_id="topic-id", start=10, end=13, rows=3, time_s=1.0)
    held = partition(b"a", b"b", found=found)
    assert held.rows_due(NOW_S + 9) == 0
    held.buffer(12, b"c", NOW_S)
    held.buffer(13, b"d", NOW_S)
    batch = cut(held)
    assert (batch.intent, batch.values, batch.intended) == (found, [b"a", b"b", b"c"], True)
    assert batch.token(0, 3) == "cluster/topic-id/3/10/13/v3"
    assert batch.token(1, 2) == "cluster/topic-id/3/11/12/v3"


def test_what_retention_took_frees_a_partition_of_the_intent_it_found() -> None:
    held = partition(found=Intent(topic_id="topic-id", start=10, end=13, rows=3, time_s=1.0))
    held.pass_over(12)
    held.buffer(12, b"c", NOW_S)
    batch = cut(held, NOW_S + 1)
    assert (batch.intent.start, batch.intent.end, batch.intended) == (10, 13, False)


def test_an_intent_of_larger_batches_is_read_to_its_end_and_cut_whole() -> None:
    found = Intent(topic_id="topic-id", start=10, end=30, rows=20, time_s=TIME_S)
    held = partition(*[b"x"] * 19, found=found)
    assert (held.full, held.rows_due(NOW_S)) == (False, 0)
    held.buffer(29, b"x", NOW_S)
    assert (held.full, held.rows_due(NOW_S)) == (True, 20)
    assert cut(held).intent == found


def test_reading_waits_at_two_batches_and_goes_on_below_one() -> None:
    held = partition(*[b"a"] * 7)
    assert (held.full, held.roomy) == (False, False)
    held.buffer(17, b"a", NOW_S)
    assert held.full
    cut(held)
    assert (held.full, held.roomy) == (False, False)
    held.stored(NOW_S)
    cut(held)
    assert held.roomy
