"""The lake at one commit of each table: its files to look up, and up to when it is complete. Pure."""

from __future__ import annotations

from collections.abc import Collection

from etl.errors import StoreError
from etl.lake.catalog import File, State, changes, file_of
from etl.lake.delta import Snapshot
from etl.lake.derived import EXPIRED, made_from
from etl.lake.exports import UNTIL
from etl.lake.lookup import Lookup
from etl.model.times import as_ns


class View:
    """``complete_until_ns``: what was published before then is there, None = nobody has told."""

    def __init__(self, state: State, complete_until_ns: int | None) -> None:
        self.state = state
        self.complete_until_ns = complete_until_ns
        self._lookups: dict[str, Lookup] = {}
        self._bars_until: dict[tuple[str, tuple[str, ...]], int | None] = {}

    def lookup(self, table: str) -> Lookup:
        if table not in self._lookups:
            self._lookups[table] = Lookup(table, self.state.of(table))
        return self._lookups[table]

    def follow(self, before: View) -> None:
        """Take over the look-ups that ``before``, an older view of the same lake, has made, with what came since."""
        for table, lookup in before._lookups.items():
            added, removed = changes(table, before.state.tables[table], self.state.tables[table])
            self._lookups[table] = lookup.changed(added, removed) if added or removed else lookup

    def bars_until(self, table: str, exchanges: tuple[str, ...]) -> int | None:
        """Up to when ``table``, made of the trades, is complete: to the first day of which trades came since, or the
        files were compacted; () = of all exchanges. Bars that outlived their trades are what they were."""
        asked = (table, exchanges)
        if asked not in self._bars_until:  # it goes through all files of trades
            self._bars_until[asked] = _bars_until(self, table, exchanges)
        return self._bars_until[asked]

    def version(self, table: str) -> int:
        """-1 = there is no such table yet."""
        return self.state.tables[table].version if table in self.state.tables else -1

    def versions(self) -> dict[str, int]:
        """Of the tables that there are."""
        return {table: at.version for table, at in self.state.tables.items() if at.version >= 0}


def _bars_until(view: View, table: str, exchanges: Collection[str]) -> int | None:
    until = view.complete_until_ns
    days: dict[tuple[str, str], list[File]] = {}
    for file in view.lookup("trades").files:
        if not exchanges or file.exchange in exchanges:
            days.setdefault((file.exchange, file.date), []).append(file)
    made = {(file.exchange, file.date): file.made_from.get("trades") for file in view.lookup(table).files}
    stale = [
        date
        for (exchange, date), files in days.items()
        if made.get((exchange, date)) not in (EXPIRED, made_from(files))
    ]
    if until is None or not stale:
        return until
    return min(until, as_ns(min(stale)))


def newest(state: State, topic: str) -> View:
    """``topic`` is the one that the tables are made of. A topic that was made anew has taken nothing from the lake, so
    that what an older one was complete until still holds."""
    exports = state.exports
    until = [exports.until_ns.get(topic_id, 0) for topic_id, name in exports.topics.items() if name == topic]
    return View(state, max(until, default=0) or None)


def older(table: str, current: Snapshot, snapshot: Snapshot, pinned: set[str]) -> View:
    """``table`` at an older commit. Raises ``StoreError`` if files of it have been deleted since."""
    doubtful = [
        add for path, add in snapshot.adds.items() if path not in current.adds and path not in current.removes
    ]
    if gone := [add for add in doubtful if file_of(table, add).path not in pinned]:
        of = f"{table}: {len(gone)} files of version {snapshot.version}"
        raise StoreError(f"lake: {of} have been deleted since; pin what shall stay")
    until = max((txn.version for name, txn in snapshot.txns.items() if name.startswith(UNTIL)), default=0)
    return View(state_of({table: snapshot}), until or None)


def state_of(tables: dict[str, Snapshot]) -> State:
    files = (file_of(table, add) for table, snapshot in tables.items() for add in snapshot.adds.values())
    return State(tables=tables, files={file.path: file for file in files})
