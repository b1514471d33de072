"""What every process tells of where it runs: the disk of its state, its own CPU, memory and age, and which stores are
filled, for an alert that a sink is gone must know whether there should be one."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from etl.settings import STORES, Settings

FOLDERS_EVERY_S = 60.0
"""The folders of the state are measured no more often: a lake has many files."""


class DiskMetrics(Collector):
    """Free and total bytes of the file system that holds ``folder``, or would."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def collect(self) -> Iterator[Metric]:
        there = next(path for path in (self._folder, *self._folder.absolute().parents) if path.exists())
        usage = shutil.disk_usage(there)
        yield GaugeMetricFamily("etl_disk_free_bytes", "Free on the disk of the state", value=usage.free)
        yield GaugeMetricFamily("etl_disk_bytes", "Size of the disk of the state", value=usage.total)


class StoreMetrics(Collector):
    """Of every store, whether it is filled."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def collect(self) -> Iterator[Metric]:
        family = GaugeMetricFamily(
            "etl_store_kept", "1 where the store is filled, by this process's settings", labels=["store"]
        )
        for store in STORES:
            family.add_metric([store], float(self._settings.keeps(store)))
        yield family


class FolderMetrics(Collector):
    """The size of each folder of the state: one a store, on one machine. Measured on a thread of its own, so that no
    scrape waits for it; none is told before the first measurement has ended."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._bytes: Mapping[str, int] = {}
        self._due_s = 0.0
        self._at_work = threading.Lock()

    def collect(self) -> Iterator[Metric]:
        if time.monotonic() >= self._due_s and self._at_work.acquire(blocking=False):
            threading.Thread(target=self._measure, daemon=True).start()
        family = GaugeMetricFamily(
            "etl_state_bytes", "Bytes of the files in a folder of the state", labels=["folder"]
        )
        for folder, size in self._bytes.items():
            family.add_metric([folder], size)
        yield family

    def _measure(self) -> None:
        try:
            self._bytes = folder_bytes(self._state)
            self._due_s = time.monotonic() + FOLDERS_EVERY_S
        finally:
            self._at_work.release()


def folder_bytes(state: Path) -> dict[str, int]:
    """Bytes on the disk by folder of ``state``; what goes away meanwhile counts as gone."""
    try:
        folders = sorted(entry.name for entry in os.scandir(state) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return {}
    return {name: _bytes_of(state / name) for name in folders}


def _bytes_of(folder: Path) -> int:
    size = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                size += os.lstat(os.path.join(path, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return size


def with_host(registry: CollectorRegistry, settings: Settings) -> CollectorRegistry:
    """What ``registry`` has, and beside it the process, the disk of its state and the stores."""
    whole = CollectorRegistry()
    ProcessCollector(registry=whole)
    whole.register(DiskMetrics(settings.state_path))
    whole.register(StoreMetrics(settings))
    whole.register(registry)
    return whole
