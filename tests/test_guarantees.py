"""``docs/guarantees.md`` names tests that exist, and says of every failure what each store promises."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TEXT = (ROOT / "docs" / "guarantees.md").read_text()
STORES = {"topics", "ClickHouse", "TimescaleDB", "lake", "raw frames"}
TEST_ID = re.compile(r"`((?:\w+/)*test_\w+\.py)::(test_\w+)`")
FAILURES = {
    title: section
    for title, _, section in (part.partition("\n") for part in TEXT.split("\n## ")[1:])
    if title != "Not promised at all"
}


def rows(section: str) -> list[list[str]]:
    """The cells of a section's table, without its head."""
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


@pytest.mark.parametrize("failure", FAILURES)
def test_every_store_has_its_promise_and_every_promise_its_proof(failure: str) -> None:
    promised: set[str] = set()
    for stores, promise, proof in rows(FAILURES[failure]):
        named = set(stores.split(", "))
        promised |= STORES if named == {"all"} else named
        assert promise
        assert TEST_ID.findall(proof), promise
        assert TEST_ID.sub("", proof).strip() == "", "one test id after another"
    assert promised == STORES


def test_every_test_that_is_named_exists() -> None:
    named = set(TEST_ID.findall(TEXT))
    defined = {
        (file, node.name)
        for file in {file for file, _ in named}
        for node in ast.walk(ast.parse((ROOT / "tests" / file).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert named - defined == set()
