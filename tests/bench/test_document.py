"""docs/benchmarks.md: what it says is what the benchmarks printed."""

from __future__ import annotations

import pkgutil
from pathlib import Path

import pytest

import etl.bench
from etl.bench.document import DOCUMENT, STANDARD, command, kept, rendered, shown


def test_the_document_is_what_the_kept_results_give() -> None:
    assert DOCUMENT.read_text() == rendered(kept())


def test_every_benchmark_has_its_place_in_the_document() -> None:
    modules = {module.name for module in pkgutil.iter_modules(etl.bench.__path__) if not module.ispkg}
    assert modules - {"report", "document"} == set(STANDARD)


@pytest.mark.parametrize("name", sorted(kept()))
def test_every_figure_stands_in_the_kept_result(name: str) -> None:
    result = kept()[name]
    for figure in STANDARD[name].figures:
        for path in figure.paths:
            value: object = result
            for key in path.split("."):
                assert isinstance(value, dict), path
                assert key in value, path
                value = value[key]


def test_a_command_is_shown_without_the_place_of_the_recordings() -> None:
    assert shown(command("sink", Path("somewhere/recordings"))) == "etl bench sink --recordings DIR --json"
