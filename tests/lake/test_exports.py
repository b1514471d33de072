from __future__ import annotations

from pathlib import Path

import pytest

from etl.errors import StoreError
from etl.lake.exports import COMMITS_PER_CHECKPOINT, FOLDER, ExportLog, Exports, Range
from etl.lake.storage import LocalStorage


@pytest.fixture
def storage(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "lake")


def test_an_empty_place_has_no_exports(storage: LocalStorage) -> None:
    assert ExportLog(storage).read() == Exports()


def test_offsets_end_the_plan_of_their_topic_and_of_no_other(storage: LocalStorage) -> None:
    log = ExportLog(storage)
    state = log.read()
    log.commit(state, "topic", "t", planned=[Range(0, 0, 5)])
    log.commit(state, "topic", "u", planned=[Range(0, 0, 7)])
    log.commit(state, "topic", "t", offsets={0: 5}, leader_epochs={0: 2}, until_ns=9)
    after = log.read()
    assert (after.offsets, after.planned) == ({"t": {0: 5}, "u": {}}, {"t": (), "u": (Range(0, 0, 7),)})
    assert (after.leader_epochs["t"], after.until_ns) == ({0: 2}, {"t": 9})
    assert after == state


def test_topics_made_anew_and_topics_renamed_have_generations_of_their_own(storage: LocalStorage) -> None:
    log = ExportLog(storage)
    state = log.read()
    for name, topic_id in (("topic", "t"), ("topic", "u"), ("renamed", "v"), ("topic", "t")):
        log.commit(state, name, topic_id, offsets={0: 1})
    assert [log.read().generation(topic_id) for topic_id in ("t", "u", "v")] == [0, 1, 2]


def test_of_two_writers_from_one_state_the_second_fails_and_changes_nothing(storage: LocalStorage) -> None:
    log = ExportLog(storage)
    first, second = log.read(), log.read()
    log.commit(first, "topic", "t", offsets={0: 1})
    with pytest.raises(StoreError, match="commit 1 exists already; another writer runs"):
        log.commit(second, "topic", "t", offsets={0: 2})
    assert log.read().offsets == {"t": {0: 1}}


def test_the_state_is_the_same_through_checkpoints_as_from_every_commit(storage: LocalStorage) -> None:
    log = ExportLog(storage)
    state = log.read()
    log.commit(state, "topic", "t", offsets={0: 1})
    waiting = followed = log.read()
    for number in range(COMMITS_PER_CHECKPOINT * 4 + 3):
        log.commit(state, "topic", "t", offsets={number % 4: number})
        followed = log.later(followed)
        assert log.read() == followed == state
    assert log.later(followed) is followed
    assert (waiting.version, waiting.offsets) == (1, {"t": {0: 1}})
    assert log.later(waiting) == state  # what he wants next is dropped
    names = storage.names(FOLDER)
    assert len(names) <= 3 * COMMITS_PER_CHECKPOINT
    assert names[0].startswith(f"{COMMITS_PER_CHECKPOINT * 2 + 1:020d}")


def test_a_commit_cut_short_is_not_seen(storage: LocalStorage) -> None:
    log = ExportLog(storage)
    state = log.read()
    log.commit(state, "topic", "t", offsets={0: 1})
    Path(storage.url, FOLDER, f".{2:020d}.json.abc.partial").write_bytes(b'{"version":2,')
    assert log.read() == state
    log.commit(state, "topic", "t", offsets={0: 2})
    assert log.read().version == 2


def test_a_history_from_elsewhere_is_taken_over_once(storage: LocalStorage) -> None:
    log = ExportLog(storage)
    begun = Exports(topics={"t": "topic"}, offsets={"t": {0: 5}}, planned={"t": (Range(0, 5, 9),)})
    log.begin(begun)
    assert log.read() == begun
    with pytest.raises(StoreError, match="exports already"):
        log.begin(Exports())
    log.commit(begun, "topic", "t", offsets={0: 9})
    assert (log.read().version, log.read().offsets, log.read().planned) == (2, {"t": {0: 9}}, {"t": ()})
