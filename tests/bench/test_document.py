"""docs/benchmarks.md: what it says is what the benchmarks printed."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

import pytest

import etl.bench
from etl.bench.document import DOCUMENT, Kept, command, kept, rendered, shown, told
from etl.bench.standard import STANDARD
from etl.commands.bench import SHARED


def test_the_document_is_what_the_kept_results_give() -> None:
    assert DOCUMENT.read_text() == rendered(kept())


def test_estimates_go_by_what_the_kept_results_give() -> None:
    files = told(kept())
    assert files
    assert {path: path.read_text() for path in files} == files


def test_every_benchmark_has_its_place_in_the_document() -> None:
    modules = {module.name for module in pkgutil.iter_modules(etl.bench.__path__) if not module.ispkg}
    assert modules - {"document", *SHARED} == set(STANDARD)


@pytest.mark.parametrize("name", sorted(kept()))
def test_every_figure_stands_in_the_newest_kept_result(name: str) -> None:
    """A run that is kept beside it may be older than a figure."""
    for figure in STANDARD[name].figures:
        for path in figure.paths:
            value: object = kept()[name].results[-1]
            for key in path.split("."):
                assert isinstance(value, dict), path
                assert key in value, path
                value = value[key]


def test_a_command_is_shown_without_the_place_of_the_recordings() -> None:
    assert shown(command("sink", Path("somewhere/recordings"))) == "etl bench sink --recordings DIR --json"


def test_each_run_of_a_command_has_its_column() -> None:
    machine = {"date": "2026-01-02", "cores": 2, "processor": "P", "memory_gib": 8, "python": "3.11"}
    rates: list[Any] = [{"median": 1200.0, "min": 1000.0, "max": 1300.0}, 150_000.0]
    runs = tuple({"machine": machine, "messages_per_s": rate} for rate in rates)
    lines = rendered({"sink": Kept("etl bench sink --json", runs)}).splitlines()
    assert lines[-3:] == [
        "|  | run 1 | run 2 | goal |",
        "|---|---|---|---|",
        "| messages/s into ClickHouse in the recorded mix | 1,200 (1,000 to 1,300) | 150,000 | 200,000 |",
    ]
