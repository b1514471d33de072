"""What docs/architecture.md names is in the code: every room, every file, every function of its journeys."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.test_layers import ORDER, ROOT

TEXT = (ROOT / "docs" / "architecture.md").read_text()
STEPS = sorted(set(re.findall(r"`(etl/[\w/]+\.py)::([\w.]+)`", TEXT)))
FILES = sorted(set(re.findall(r"`((?:etl|plugins|dags|tests)/[\w/]+\.py)(?:::[\w.]+)?`", TEXT)))


def names_in(path: Path) -> set[str]:
    """Functions, classes, their methods as ``Class.method``, and names assigned at the top."""
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            methods = (
                inner for inner in node.body if isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef)
            )
            names |= {f"{node.name}.{method.name}" for method in methods}
    return names


@pytest.mark.parametrize("file", FILES)
def test_each_file_is_there(file: str) -> None:
    assert (ROOT / file).is_file()


@pytest.mark.parametrize(("file", "name"), STEPS)
def test_each_step_of_a_journey_is_there(file: str, name: str) -> None:
    assert name in names_in(ROOT / file)


def test_the_rooms_stand_in_the_order_that_the_layers_have() -> None:
    table = TEXT.partition("## The rooms")[2].partition("## ")[0]
    rows = re.findall(r"^\| `([^`]+)` \|", table, re.M)
    rooms = [room.rstrip("/") for row in rows for room in row.split()]
    assert rooms == list(ORDER)


@pytest.mark.parametrize("journey", ["frame", "batch", "backfill", "gap"])
def test_the_steps_of_a_journey_are_joined_by_imports(journey: str) -> None:
    """Each file that a journey names imports another of them or is imported by one."""
    text = TEXT.partition(f"## The journey of a {journey}\n")[2].partition("\n## ")[0]
    files = set(re.findall(r"`(etl/[\w/]+\.py)::", text))
    modules = {file: file.removesuffix(".py").replace("/", ".") for file in files}
    assert len(files) >= 5
    imported = {file: (ROOT / file).read_text() for file in files}

    def joined(one: str, other: str) -> bool:
        package, _, name = modules[other].rpartition(".")
        return f"from {modules[other]} import" in imported[one] or bool(
            re.search(rf"from {package} import [^\n]*\b{name}\b", imported[one])
        )

    alone = {
        file
        for file in files
        if not any(other != file and (joined(file, other) or joined(other, file)) for other in files)
    }
    assert alone == set()
