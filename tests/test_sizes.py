"""How long a module, a class and a function of ``etl`` may be. What is longer is cut; a function that cutting would
make harder to read says why it is not, in a line ``# long: …`` at the head of its body."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
GENERATED = {"market_data_pb2.py"}
MODULE_LINES_MAX = 400
CLASS_LINES_MAX = 250
FUNCTION_LINES_MAX = 60
REASON = re.compile(r"# long: \S.{10,}")

SOURCES = [
    path
    for path in sorted((ROOT / "etl").rglob("*.py"))
    if path.name not in GENERATED and "node_modules" not in path.parts
]


def too_long(text: str) -> Iterator[str]:
    """What ``text``, a module, has that is longer than it may be."""
    lines = text.splitlines()
    if len(lines) > MODULE_LINES_MAX:
        yield f"{len(lines)} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            allowed = CLASS_LINES_MAX
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            head = lines[node.lineno - 1 : node.body[0].end_lineno]
            allowed = len(lines) if any(map(REASON.search, head)) else FUNCTION_LINES_MAX
        else:
            continue
        length = (node.end_lineno or 0) - node.lineno + 1
        if length > allowed:
            yield f"{node.name} in line {node.lineno}: {length} lines"


def test_nothing_is_longer_than_it_may_be() -> None:
    found = {
        str(path.relative_to(ROOT)): long for path in SOURCES if (long := list(too_long(path.read_text())))
    }
    assert len(SOURCES) > 100
    assert found == {}


def test_a_length_is_counted_and_a_reason_heard() -> None:
    body = "    x = 1\n" * FUNCTION_LINES_MAX
    assert list(too_long(f"def f():\n{body}")) == ["f in line 1: 61 lines"]
    assert list(too_long(f"def f():\n{body[:-10]}")) == []
    assert list(
        too_long(f'def f():\n    """It does."""\n    # long: one table, read top to bottom\n{body}')
    ) == ["f in line 1: 63 lines"]
    assert list(too_long(f"def f():\n    # long: one table, read top to bottom\n{body}")) == []
    assert list(too_long(f"def f():\n    # long: so\n{body}")) == ["f in line 1: 62 lines"]
    assert list(too_long("class C:\n" + "    x = 1\n" * CLASS_LINES_MAX)) == ["C in line 1: 251 lines"]
    assert list(too_long("x = 1\n" * (MODULE_LINES_MAX + 1))) == ["401 lines"]
