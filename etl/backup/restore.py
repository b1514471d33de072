"""``etl restore``: a backup into servers that hold nothing, or nothing that is to be kept.

What claims comes last, so that a restore that was cut off claims nothing: stores, topics, positions, state folder. The
note ``restore.json`` in the state folder says that one has begun; until it has ended, only the same one may begin.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
from msgspec import Struct

from etl.backup import clickhouse, lake, state, timescale, topics
from etl.backup.archive import Reader
from etl.backup.backup import CONTENTS, Say
from etl.errors import UsageError
from etl.lake.storage import storage_at
from etl.settings import Settings
from etl.stores.files import write_whole

NOTE = "run/restore.json"
"""Below the state folder, where no backup looks."""


class _Begun(Struct, frozen=True):
    """``done`` are the contents that are whole."""

    made_ns: int
    contents: tuple[str, ...]
    done: tuple[str, ...] = ()


class _Content(Struct, frozen=True):
    require_empty: Callable[[Settings], None]
    restore: Callable[[Settings, Reader], Mapping[str, int]]
    replaceable: bool = True


_CONTENTS = {
    clickhouse.CONTENT: _Content(clickhouse.require_empty, clickhouse.restore),
    timescale.CONTENT: _Content(timescale.require_empty, timescale.restore),
    lake.CONTENT: _Content(lake.require_empty, lake.restore),
    topics.CONTENT: _Content(topics.require_empty, topics.restore, replaceable=False),
    state.AIRFLOW: _Content(state.require_no_airflow, state.restore_airflow),
    state.CONTENT: _Content(state.require_empty, state.restore),
}
"""In the order in which they are restored."""


def restore(settings: Settings, place: str, only: tuple[str, ...], replace: bool, say: Say) -> None:
    """From the folder or bucket ``place``. Nothing is touched before every object was read and is what was written, and
    everything that is to be filled is empty, or may be replaced.

    Raises ``UsageError``, ``StoreError``, ``TransportError``.
    """
    source = Reader(storage_at(place))
    wanted = _wanted(settings, source, only)
    source.check(wanted)
    say(f"{place}: every object is what was written")
    note = settings.state_path / NOTE
    begun = _begun(note, _Begun(source.manifest.made_ns, wanted))
    for name in wanted:
        content = _CONTENTS[name]
        if name not in begun.done and not (content.replaceable and (replace or note.exists())):
            content.require_empty(settings)
    for name in wanted:
        if name in begun.done:
            continue
        write_whole(note, msgspec.json.encode(begun))
        counts = _CONTENTS[name].restore(settings, source)
        begun = msgspec.structs.replace(begun, done=(*begun.done, name))
        write_whole(note, msgspec.json.encode(begun))
        say(f"{name}: {', '.join(f'{what} {count:,}' for what, count in sorted(counts.items()) if count)}")
    note.unlink()


def _wanted(settings: Settings, source: Reader, only: tuple[str, ...]) -> tuple[str, ...]:
    """Raises ``UsageError`` for what the backup has not, or no store that is kept."""
    there = source.manifest.contents
    if absent := set(only) - set(there):
        raise UsageError(f"the backup has no {', '.join(sorted(absent))}; it has {', '.join(there)}")
    wanted = tuple(name for name in _CONTENTS if name in (only or there))
    stores = {clickhouse.CONTENT, timescale.CONTENT, lake.CONTENT} & set(wanted)
    if left_out := [name for name in stores if not settings.keeps(name)]:
        raise UsageError(
            f"ETL_STORES leaves out {', '.join(sorted(left_out))}, which the backup has: see --only"
        )
    return wanted


def _begun(note: Path, asked: _Begun) -> _Begun:
    """The restore that was cut off, or this one. Raises ``UsageError`` if that was another."""
    if not note.exists():
        return asked
    begun = msgspec.json.decode(note.read_bytes(), type=_Begun)
    if (begun.made_ns, begun.contents) != (asked.made_ns, asked.contents):
        raise UsageError(
            f"{note}: a restore of another backup, or of other contents of it, was cut off: end it first"
        )
    return begun


assert set(_CONTENTS) == set(CONTENTS)
