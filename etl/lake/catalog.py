"""What exists in the lake: a log of commits beside the data. The catalog, not the directory, says what is there.

    _catalog/00000000000000000007.json              commit 7: files added and removed, offsets, planned ranges
    _catalog/00000000000000000007.checkpoint.json   the whole state after commit 7, so that readers start there

A commit is one object that is created only if its number is free: it switches files and offsets together, and of
two writers that began from the same state one fails. Readers see whole commits only.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from etl.errors import StoreError
from etl.lake.storage import Storage

FOLDER = "_catalog"
COMMITS_PER_CHECKPOINT = 20
CHECKPOINTS_KEPT = 2


class Range(Struct, frozen=True):
    """Offsets [start, end) of one partition of the topic."""

    partition: int
    start: int
    end: int


class File(Struct, frozen=True, omit_defaults=True):
    """One Parquet file. Times are the least and greatest of its rows, ns; offsets are what it was made from.

    ``compaction`` is 0 for an exported file; files of one compaction share its number, and no identity. ``wide_rows``
    is how many rows hold a value that its column is too narrow for; ``wide_scales`` how many digits behind the point
    such values have, by column; ``layout``: by which layout it is.
    """

    path: str
    table: str
    exchange: str
    symbol: str
    date: str
    rows: int
    bytes: int
    time_ns_min: int
    time_ns_max: int
    key_time_ns_min: int
    key_time_ns_max: int
    partition: int
    start: int
    end: int
    compaction: int = 0
    wide_rows: int = msgspec.field(default=0, name="beyond")
    wide_scales: dict[str, int] = {}
    layout: int = 1


class Removed(Struct, frozen=True):
    """A file no longer in the catalog, still there for readers of an older state until its grace is over."""

    path: str
    removed_time_ns: int


class Commit(Struct, frozen=True, omit_defaults=True):
    version: int
    time_ns: int
    added: tuple[File, ...] = ()
    removed: tuple[str, ...] = ()
    deleted: tuple[str, ...] = ()
    topic: str = ""
    topic_id: str = ""
    offsets: dict[int, int] = {}
    leader_epochs: dict[int, int] = {}
    planned: tuple[Range, ...] = ()
    """Offsets and planned ranges are those of ``topic_id``; without one, those of every topic stay as they are."""


class State(Struct, omit_defaults=True):
    """The lake after commit ``version``; 0 is the empty lake. ``topics`` are names by topic id, in the order of their
    first export; ``offsets`` the next to export, by topic id and partition; ``leader_epochs`` under which leader the
    message before it came."""

    version: int = 0
    time_ns: int = 0
    files: dict[str, File] = {}
    removed: dict[str, Removed] = {}
    topics: dict[str, str] = {}
    offsets: dict[str, dict[int, int]] = {}
    leader_epochs: dict[str, dict[int, int]] = {}
    planned: dict[str, tuple[Range, ...]] = {}

    def apply(self, commit: Commit) -> None:
        assert commit.version == self.version + 1, (commit.version, self.version)
        self.version, self.time_ns = commit.version, commit.time_ns
        for path in commit.removed:
            self.removed[path] = Removed(path, commit.time_ns)
            del self.files[path]
        for file in commit.added:
            self.files[file.path] = file
            self.removed.pop(file.path, None)
        for path in commit.deleted:
            del self.removed[path]
        if commit.topic_id:
            self.topics.setdefault(commit.topic_id, commit.topic)
            self.offsets.setdefault(commit.topic_id, {}).update(commit.offsets)
            self.leader_epochs.setdefault(commit.topic_id, {}).update(commit.leader_epochs)
            self.planned[commit.topic_id] = commit.planned

    def generation(self, topic_id: str) -> int:
        """0 for the first topic of its name, 1 for the one made anew after it, and so on."""
        name = self.topics[topic_id]
        return [other for other, of in self.topics.items() if of == name].index(topic_id)

    def of(self, table: str) -> list[File]:
        """The files of ``table``, in the order in which their rows came."""
        files = (file for file in self.files.values() if file.table == table)
        return sorted(files, key=lambda f: (f.exchange, f.symbol, f.date, f.partition, f.start, f.path))

    def tables(self) -> list[str]:
        return sorted({file.table for file in self.files.values()})


class Catalog:
    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def read(self) -> State:
        """The state after the last commit."""
        names = self._storage.names(FOLDER)
        state = State()
        checkpoints = [name for name in names if name.endswith(".checkpoint.json")]
        if checkpoints:
            state = msgspec.json.decode(self._storage.get(f"{FOLDER}/{checkpoints[-1]}"), type=State)
        while (name := f"{state.version + 1:020d}.json") in names:
            state.apply(msgspec.json.decode(self._storage.get(f"{FOLDER}/{name}"), type=Commit))
        return state

    def commit(
        self,
        state: State,
        *,
        added: Iterable[File] = (),
        removed: Iterable[str] = (),
        deleted: Iterable[str] = (),
        topic: str = "",
        topic_id: str = "",
        offsets: dict[int, int] | None = None,
        leader_epochs: dict[int, int] | None = None,
        planned: Sequence[Range] = (),
    ) -> None:
        """The switch: bring ``state``, and the lake, to the next version.

        Raises ``StoreError`` if another writer was there first; then nothing changed.
        """
        commit = Commit(
            version=state.version + 1,
            time_ns=time.time_ns(),
            added=tuple(added),
            removed=tuple(removed),
            deleted=tuple(deleted),
            topic=topic,
            topic_id=topic_id,
            offsets=offsets or {},
            leader_epochs=leader_epochs or {},
            planned=tuple(planned),
        )
        name = f"{FOLDER}/{commit.version:020d}.json"
        if not self._storage.put_new(name, msgspec.json.encode(commit)):
            raise StoreError(f"lake: commit {commit.version} exists already; another writer runs")
        state.apply(commit)
        if commit.version % COMMITS_PER_CHECKPOINT == 0:
            self._checkpoint(state)

    def _checkpoint(self, state: State) -> None:
        """Write the whole state; drop the commits and checkpoints that no reader needs any more."""
        self._storage.put(f"{FOLDER}/{state.version:020d}.checkpoint.json", msgspec.json.encode(state))
        oldest_kept = state.version - CHECKPOINTS_KEPT * COMMITS_PER_CHECKPOINT
        for name in self._storage.names(FOLDER):
            if int(name.partition(".")[0]) <= oldest_kept:
                self._storage.delete(f"{FOLDER}/{name}")
