"""Pins: named states of the whole lake that stay readable, for backtests that can be run again.

    _pins/{name}.json              versions, when it was made, up to when it is complete: written last
    _pins/{name}/{table}.parquet   the table's files, as a checkpoint of its log

A pin has its own list of files, for the logs forget what they no longer need. No vacuum deletes a file that a pin
names.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct, structs

from etl.errors import StoreError, UsageError
from etl.lake import delta
from etl.lake.catalog import Catalog
from etl.lake.storage import Storage
from etl.lake.view import View, state_of

FOLDER = "_pins"
NAME_MAX = 100
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9._-]{{0,{NAME_MAX - 1}}}").fullmatch
_SUFFIX = ".json"


class Pin(Struct, frozen=True):
    """``versions`` by table; ``complete_until_ns`` as ``View`` has it."""

    name: str
    made_ns: int
    complete_until_ns: int | None
    versions: dict[str, int]


def write(storage: Storage, name: str, view: View, now_ns: int) -> Pin:
    """Raises ``UsageError`` for a name that is taken or none, ``StoreError`` if files of ``view`` are gone already."""
    if not _NAME(name):
        raise UsageError(f"{name!r:.120}: not a pin's name: letters, digits, '.', '_' and '-'")
    pin = Pin(name, now_ns, view.complete_until_ns, view.versions())
    if f"{name}{_SUFFIX}" in storage.names(FOLDER):
        raise UsageError(f"lake: there is a pin {name} already")
    for table in pin.versions:
        own = structs.replace(view.state.tables[table], removes={})
        storage.put(_path(name, table), delta.checkpoint(own)[0])
    if not storage.put_new(f"{FOLDER}/{name}{_SUFFIX}", msgspec.json.encode(pin)):
        raise UsageError(f"lake: there is a pin {name} already")
    gone = _gone(storage, view)
    if gone:
        delete(storage, name)
        raise StoreError(f"lake: {gone} files of what was to be pinned have been deleted; refresh, then pin")
    return pin


def _gone(storage: Storage, view: View) -> int:
    """Of a view that is old: how many files of it a vacuum has deleted."""
    doubtful = view.state.files.keys() - Catalog(storage).read().files.keys()
    folders = {path.rpartition("/")[0] for path in doubtful}
    there = {f"{folder}/{name}" for folder in folders for name in storage.names(folder)}
    return len(doubtful - there)


def pins(storage: Storage) -> list[Pin]:
    """By name."""
    names = (name for name in storage.names(FOLDER) if name.endswith(_SUFFIX))
    return [msgspec.json.decode(storage.get(f"{FOLDER}/{name}"), type=Pin) for name in names]


def read(storage: Storage, name: str) -> View:
    """Raises ``UsageError`` for a name that no pin has."""
    found = {pin.name: pin for pin in pins(storage)}
    if name not in found:
        raise UsageError(f"lake: no pin {name}; there are {', '.join(found) or 'none'}")
    return _view(storage, found[name])


def delete(storage: Storage, name: str) -> None:
    """What no table has any more goes with a vacuum. Raises ``UsageError`` for a name that no pin has."""
    known = [pin for pin in pins(storage) if pin.name == name]
    if not known:
        raise UsageError(f"lake: no pin {name}")
    storage.delete(f"{FOLDER}/{name}{_SUFFIX}")
    for table in known[0].versions:
        storage.delete(_path(name, table))


def pinned(storage: Storage) -> set[str]:
    """The paths of all files that a pin names."""
    return set(_paths(storage, pins(storage)))


def _paths(storage: Storage, some: Iterable[Pin]) -> Iterator[str]:
    for pin in some:
        yield from _view(storage, pin).state.files


def _view(storage: Storage, pin: Pin) -> View:
    tables = {
        table: delta.read_checkpoint(version, storage.get(_path(pin.name, table)))
        for table, version in pin.versions.items()
    }
    return View(state_of(tables), pin.complete_until_ns)


def _path(name: str, table: str) -> str:
    return f"{FOLDER}/{name}/{table}.parquet"
