from __future__ import annotations

from pathlib import Path

import pytest
from msgspec import structs

from etl.errors import StoreError
from etl.lake.catalog import COMMITS_PER_CHECKPOINT, FOLDER, Catalog, File, Range, State
from etl.lake.storage import LocalStorage


def file(number: int, **values: object) -> File:
    made = File(
        f"data/trades/{number}.parquet", "trades", "binance", "BTC-USDT", "2024-08-08", 10, 100, 1, 2, 1, 2, 0,
        number, number + 1,
    )  # fmt: skip
    return structs.replace(made, **values)


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "lake")


def test_an_empty_place_is_an_empty_lake(storage: LocalStorage) -> None:
    assert Catalog(storage).read() == State()


def test_files_and_offsets_switch_together(storage: LocalStorage) -> None:
    catalog = Catalog(storage)
    state = catalog.read()
    catalog.commit(state, topic_id="t", planned=[Range(0, 0, 5)])
    assert catalog.read().files == {}
    assert catalog.read().planned == {"t": (Range(0, 0, 5),)}
    catalog.commit(state, added=[file(0)], topic_id="t", offsets={0: 5})
    after = catalog.read()
    assert (list(after.files.values()), after.offsets, after.planned) == ([file(0)], {"t": {0: 5}}, {"t": ()})
    assert after == state


def test_of_two_writers_from_one_state_the_second_fails_and_changes_nothing(storage: LocalStorage) -> None:
    catalog = Catalog(storage)
    first, second = catalog.read(), catalog.read()
    catalog.commit(first, added=[file(1)])
    with pytest.raises(StoreError, match="commit 1 exists already"):
        catalog.commit(second, added=[file(2)])
    assert list(catalog.read().files.values()) == [file(1)]


def test_a_commit_that_says_nothing_of_plans_keeps_them(storage: LocalStorage) -> None:
    catalog = Catalog(storage)
    state = catalog.read()
    catalog.commit(state, topic_id="t", planned=[Range(0, 0, 5)])
    catalog.commit(state, added=[file(1)])
    assert catalog.read().planned == {"t": (Range(0, 0, 5),)}


def test_the_state_is_the_same_through_checkpoints_as_from_every_commit(storage: LocalStorage) -> None:
    catalog = Catalog(storage)
    state = catalog.read()
    for number in range(COMMITS_PER_CHECKPOINT * 4 + 3):
        removed = [file(number - 1).path] if number % 3 == 2 else []
        catalog.commit(
            state, added=[file(number)], removed=removed, topic_id="t", offsets={number % 4: number}
        )
        assert catalog.read() == state
    names = storage.names(FOLDER)
    assert len(names) <= 3 * COMMITS_PER_CHECKPOINT
    assert names[0].startswith(f"{COMMITS_PER_CHECKPOINT * 2 + 1:020d}")


def test_a_commit_cut_short_is_not_seen(storage: LocalStorage) -> None:
    catalog = Catalog(storage)
    state = catalog.read()
    catalog.commit(state, added=[file(1)])
    partial = Path(storage.url, FOLDER, f".{2:020d}.json.abc.partial")
    partial.write_bytes(b'{"version":2,')
    assert catalog.read() == state
    catalog.commit(state, added=[file(2)])
    assert len(catalog.read().files) == 2
