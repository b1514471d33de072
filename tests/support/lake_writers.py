"""``python -m tests.support.lake_writers export|compact SEED DEATHS``: a writer of the lake that kills itself
(``kill -9``) before or after one of its writes with the probability ``DEATHS``. Settings come from the environment.

Exporters share one topic: records 0, 1, … ``ROWS``, a few at a time, from where the tables say that they are."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from typing import Any

from etl import settings as settings_module
from etl.errors import StoreError
from etl.lake.bucket import ObjectStorage
from etl.lake.catalog import Catalog
from etl.lake.compaction import compact
from etl.lake.exports import Range
from etl.lake.layout import file_name
from etl.lake.storage import LocalStorage, open_storage
from etl.settings import Settings
from etl.sinks.lake import RecordWriter
from etl.wire.codec import encode
from tests.support import stream

ROWS = 60
STEP = 5
APP_ID = "topic-id/0"
COMPACTIONS = 4


def main(what: str, seed: str, deaths: str) -> None:
    settings = settings_module.load()
    make_mortal(random.Random(seed), float(deaths))
    if what == "export":
        export_all(settings)
        return
    for _ in range(COMPACTIONS):
        try:
            compact(settings, time.time_ns())
        except (StoreError, FileNotFoundError):
            continue


def export_all(settings: Settings) -> None:
    storage = open_storage(settings)
    while True:
        catalog = Catalog(storage)
        catalog.repair()
        state = catalog.read()
        start = state.done("trades", APP_ID)
        if start >= ROWS:
            return
        span = Range(0, start, start + STEP)
        writer = RecordWriter(settings, storage, span, file_name(0, span.start, span.end), {})
        assert not writer.add_values((n, encode(stream.trade(n))) for n in range(span.start, span.end))
        try:
            catalog.commit(state, added=writer.write(), txns={APP_ID: span.end})
        except StoreError:
            continue  # another was first


def make_mortal(chance: random.Random, deaths: float) -> None:
    """Every put of this process may be its last act, or the one before it that never was."""

    def mortal(method: Any) -> Any:
        def put(*arguments: Any) -> Any:
            if chance.random() < deaths:
                os.kill(os.getpid(), signal.SIGKILL)
            done = method(*arguments)
            if chance.random() < deaths:
                os.kill(os.getpid(), signal.SIGKILL)
            return done

        return put

    for storage in (LocalStorage, ObjectStorage):
        for name in ("put", "put_new"):
            setattr(storage, name, mortal(getattr(storage, name)))


if __name__ == "__main__":
    main(*sys.argv[1:])
