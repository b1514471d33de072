"""``etl backup``: the whole platform as of one moment, while it runs.

    what claims      state folder, Airflow, positions of workers, how far each store has read
    what it claims   ClickHouse, TimescaleDB, the lake
    what is behind   the topics from there on

A mark, a position or an offset says that something is stored or published. Copied before what it speaks of, it may say
too little of its copy and never too much; what is done twice then is told by identity. docs/backup.md explains it.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import etl
from etl.backup import clickhouse, lake, state, timescale, topics
from etl.backup.archive import Manifest, Topic, Writer
from etl.errors import UsageError
from etl.lake.storage import storage_at
from etl.settings import Settings

CONTENTS = (
    state.CONTENT, state.AIRFLOW, clickhouse.CONTENT, timescale.CONTENT, lake.CONTENT, topics.CONTENT,
)  # fmt: skip

Say = Callable[[str], None]


def contents_of(settings: Settings, only: tuple[str, ...] = ()) -> tuple[str, ...]:
    """What there is to back up, or those of it that are asked for. Raises ``UsageError`` for what is none."""
    if unknown := set(only) - set(CONTENTS):
        raise UsageError(f"{', '.join(sorted(unknown))}: there are {', '.join(CONTENTS)}")
    there = {
        clickhouse.CONTENT: settings.keeps("clickhouse"),
        timescale.CONTENT: settings.keeps("timescale"),
        lake.CONTENT: settings.keeps("lake"),
        state.AIRFLOW: state.has_airflow(settings),
    }
    return tuple(name for name in CONTENTS if there.get(name, True) and (not only or name in only))


def back_up(settings: Settings, place: str, only: tuple[str, ...], say: Say) -> Manifest:
    """Into the folder or bucket ``place``. Raises ``UsageError``, ``StoreError``, ``TransportError``; what was written
    by then is no backup."""
    into = Writer(storage_at(place))
    contents = contents_of(settings, only)
    made_ns = time.time_ns()
    migrations: dict[str, int] = {}
    found: dict[str, Topic] = {}

    def step(name: str, copy: Callable[[], object]) -> None:
        before = into.size
        copy()
        say(f"{name}: {into.size - before:,} bytes")

    if state.CONTENT in contents:
        step(state.CONTENT, lambda: state.back_up(settings, into))
    if state.AIRFLOW in contents:
        step(state.AIRFLOW, lambda: state.back_up_airflow(settings, into))
    starts: topics.Starts = {}
    if topics.CONTENT in contents:
        step("positions", lambda: found.update(topics.back_up_compacted(settings, into)))
        starts = topics.read_starts(settings)
    for name, copy in ((clickhouse.CONTENT, clickhouse.back_up), (timescale.CONTENT, timescale.back_up)):
        if name in contents:
            step(name, lambda name=name, copy=copy: migrations.update({name: copy(settings, into)}))  # type: ignore[misc]
    if lake.CONTENT in contents:
        step(lake.CONTENT, lambda: lake.back_up(settings, into, made_ns))
    if topics.CONTENT in contents:
        step(topics.CONTENT, lambda: found.update(topics.back_up_streamed(settings, starts, into)))
    return into.finish(
        etl_version=etl.__version__,
        made_ns=made_ns,
        contents=contents,
        migrations=migrations,
        topics=found,
        topic_names=topics.names(settings),
    )
