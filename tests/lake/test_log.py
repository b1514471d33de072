"""The log of a Delta table, in a folder and in a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from msgspec import structs

from etl.errors import StoreError
from etl.lake.bucket import ObjectStorage
from etl.lake.delta import Add
from etl.lake.log import COMMITS_PER_CHECKPOINT, LAST_CHECKPOINT, Conflict, DeltaLog
from etl.lake.storage import LocalStorage, Storage
from tests.support.bucket import running_bucket

TABLE = "tables/trades"
LOG = f"{TABLE}/_delta_log"
FIELDS = [pa.field("exchange", pa.string()), pa.field("date", pa.date32()), pa.field("price", pa.int64())]


@pytest.fixture(params=["folder", "bucket"])
def storage(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Storage]:
    if request.param == "folder":
        yield LocalStorage(tmp_path / "lake")
        return
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with running_bucket() as (address, _):
        yield ObjectStorage(f"s3://lake/prefix?scheme=http&endpoint_override={address}&region=us-east-1")


def add(number: int) -> Add:
    place: dict[str, str | None] = {"exchange": "binance", "date": "2024-08-08"}
    path = f"exchange=binance/date=2024-08-08/0-{number}-{number + 1}.parquet"
    return Add(path, place, 100, 1_700_000_000_000, True, '{"numRecords":10}', {"layout": "3"})


def test_files_and_progress_are_in_one_commit(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    assert (snapshot.version, snapshot.adds) == (-1, {})
    log.commit(snapshot, FIELDS, added=[add(0)], txns={"t/0": 10})
    log.commit(snapshot, FIELDS, added=[add(1)], txns={"t/0": 20})
    after = log.read()
    assert after == snapshot
    assert (after.version, list(after.adds.values()), after.done("t/0")) == (1, [add(0), add(1)], 20)
    assert after.done("t/1") == 0
    lines = storage.get(f"{LOG}/{1:020d}.json").splitlines()
    assert [next(iter(json.loads(line))) for line in lines] == ["commitInfo", "txn", "add"]


def test_what_is_only_added_conflicts_with_nothing(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    first, second = log.read(), log.read()
    log.commit(first, FIELDS, added=[add(0)], txns={"t/0": 1})
    log.commit(second, FIELDS, added=[add(1)], txns={"t/1": 1})
    log.commit(first, FIELDS, added=[add(2)])
    assert list(first.adds.values()) == [add(0), add(1), add(2)]
    assert log.read() == first
    assert second.version == 1


def test_of_two_that_move_one_application_the_second_changes_nothing(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    first, second = log.read(), log.read()
    log.commit(first, FIELDS, added=[add(0)], txns={"t/0": 10})
    with pytest.raises(Conflict, match="another writer runs: trades: t/0 went from 0 to 10"):
        log.commit(second, FIELDS, added=[add(0)], txns={"t/0": 10})
    assert log.read() == first


def test_of_two_that_remove_one_file_the_second_changes_nothing(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    first = log.read()
    log.commit(first, FIELDS, added=[add(0), add(1)])
    second = log.read()
    log.commit(first, FIELDS, added=[add(2)], removed=[add(0).path, add(1).path], operation="OPTIMIZE")
    with pytest.raises(Conflict, match="was removed meanwhile"):
        log.commit(second, FIELDS, added=[add(3)], removed=[add(1).path], operation="OPTIMIZE")
    assert log.read() == first
    assert list(first.adds) == [add(2).path]
    assert list(first.removes) == [add(0).path, add(1).path]


def test_a_file_that_comes_back_is_there_and_not_removed(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    log.commit(snapshot, FIELDS, added=[add(0)])
    log.commit(snapshot, FIELDS, removed=[add(0).path])
    log.commit(snapshot, FIELDS, added=[add(0)])
    assert (list(log.read().adds), log.read().removes) == ([add(0).path], {})


def test_the_state_is_the_same_through_checkpoints_as_from_every_commit(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    for number in range(COMMITS_PER_CHECKPOINT * 2 + 3):
        removed = [add(number - 1).path] if number % 3 == 2 else []
        log.commit(snapshot, FIELDS, added=[add(number)], removed=removed, txns={f"t/{number % 4}": number})
        log.checkpoint_if_due(snapshot)
    assert log.read() == snapshot
    last = json.loads(storage.get(f"{LOG}/{LAST_CHECKPOINT}"))
    assert last["version"] == COMMITS_PER_CHECKPOINT * 2
    earlier = log.read(3)
    assert (earlier.version, list(earlier.adds)) == (3, [add(0).path, add(2).path, add(3).path])
    with pytest.raises(StoreError, match="no version 99"):
        log.read(99)


def test_what_came_since_is_all_that_is_read(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    log, asked = DeltaLog(storage, TABLE), list[str]()
    snapshot = log.read()
    assert log.later(snapshot) is snapshot
    log.commit(snapshot, FIELDS, added=[add(0)])
    before = log.read()
    log.commit(snapshot, FIELDS, added=[add(1)], removed=[add(0).path], txns={"t/0": 7})
    log.commit(snapshot, FIELDS, added=[add(2)])
    get = type(storage).get

    def noted(at: Storage, path: str) -> bytes:
        data = get(at, path)
        asked.append(path.rpartition("/")[2])
        return data

    with monkeypatch.context() as patch:
        patch.setattr(type(storage), "get", noted)
        after = log.later(before)
        assert asked == [f"{1:020d}.json", f"{2:020d}.json"]
        assert log.later(after) is after
    assert len(asked) == 2
    assert after == snapshot == log.read()
    assert (before.version, list(before.adds), before.txns) == (0, [add(0).path], {})
    storage.put(f"{LOG}/{3:020d}.json", b'{"commitInfo":{}}\n{"add":{"pa')  # a writer dies in it
    assert log.later(after) is after


def test_who_waited_until_the_log_dropped_what_he_wants_reads_all(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("etl.lake.log.COMMITS_KEPT", 3)
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    log.commit(snapshot, FIELDS, added=[add(0)])
    before = log.read()
    for number in range(1, COMMITS_PER_CHECKPOINT + 2):
        log.commit(snapshot, FIELDS, added=[add(number)])
        log.checkpoint_if_due(snapshot)
    assert f"{1:020d}.json" not in storage.names(LOG)
    assert log.later(before) == snapshot
    assert before.version == 0


def test_a_checkpoint_forgets_what_was_removed_before_its_limit(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    log.commit(snapshot, FIELDS, added=[add(0), add(1)])
    log.commit(snapshot, FIELDS, removed=[add(0).path])
    log.checkpoint(snapshot, 0)
    assert list(log.read().removes) == [add(0).path]
    log.checkpoint(snapshot, 1 << 60)
    assert (log.read().removes, list(log.read().adds)) == ({}, [add(1).path])


def test_a_column_more_is_metadata_alone_and_a_column_less_nothing(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    log.commit(snapshot, FIELDS, added=[add(0)])
    made = snapshot.metadata
    more = [*FIELDS, pa.field("size", pa.int64())]
    log.commit(snapshot, more, added=[add(1)])
    log.commit(snapshot, FIELDS, added=[add(2)])
    metadata = log.read().metadata
    assert made is not None
    assert metadata == structs.replace(made, schema_string=metadata.schema_string if metadata else "")
    assert metadata is not None
    assert [field["name"] for field in json.loads(metadata.schema_string)["fields"]] == [
        "exchange", "date", "price", "size",
    ]  # fmt: skip


def test_a_table_that_asks_for_more_than_we_know_is_refused(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    log.commit(log.read(), FIELDS, added=[add(0)])
    storage.put(f"{LOG}/{1:020d}.json", b'{"protocol":{"minReaderVersion":3,"minWriterVersion":7}}\n')
    with pytest.raises(StoreError, match="Delta reader 3, writer 7"):
        log.read()


@pytest.mark.parametrize("torn", [b"", b'{"add":{"path":"exchange=b', b'{"commitInfo":{}}\n{"add":{"pa'])
def test_a_last_commit_of_which_a_part_is_missing_never_was(storage: Storage, torn: bytes) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    log.commit(snapshot, FIELDS, added=[add(0)])
    storage.put(f"{LOG}/{1:020d}.json", torn)
    assert log.read() == snapshot
    assert log.repair() == [f"{1:020d}.json"]
    assert log.repair() == []
    log.commit(snapshot, FIELDS, added=[add(1)])
    assert (log.read().version, list(log.read().adds)) == (1, [add(0).path, add(1).path])


@pytest.mark.parametrize("torn", [b"", b"PAR1", None])
def test_a_checkpoint_that_cannot_be_read_is_passed_over_and_repaired(
    storage: Storage, torn: bytes | None
) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    for number in range(COMMITS_PER_CHECKPOINT + 2):
        log.commit(snapshot, FIELDS, added=[add(number)])
        log.checkpoint_if_due(snapshot)
    name = f"{COMMITS_PER_CHECKPOINT:020d}.checkpoint.parquet"
    if torn is None:
        storage.delete(f"{LOG}/{name}")
    else:
        storage.put(f"{LOG}/{name}", torn)
    assert log.read() == snapshot
    assert log.repair() == ([LAST_CHECKPOINT] if torn is None else [name, LAST_CHECKPOINT])
    assert log.repair() == []
    assert log.read() == snapshot
    import deltalake

    if isinstance(storage, LocalStorage):  # a reader that begins at ``_last_checkpoint``
        table = deltalake.DeltaTable(f"{storage.url}/{TABLE}")
        assert (table.version(), len(table.file_uris())) == (snapshot.version, len(snapshot.adds))


def test_a_commit_that_is_missing_in_the_middle_is_an_error(storage: Storage) -> None:
    log = DeltaLog(storage, TABLE)
    snapshot = log.read()
    for number in range(3):
        log.commit(snapshot, FIELDS, added=[add(number)])
    storage.delete(f"{LOG}/{1:020d}.json")
    with pytest.raises(StoreError, match="commit 1 is missing"):
        log.read()
