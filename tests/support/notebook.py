"""A notebook run in this process, cell by cell; ``python -m tests.support.notebook PATH`` keeps the outputs."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def outputs_of(path: Path) -> list[str]:
    """What each code cell prints, and the value of its last expression, as they come now; run in the notebook's
    folder."""
    names: dict[str, Any] = {}
    with contextlib.chdir(path.parent):
        return [_run("".join(cell["source"]), names) for cell in _code(json.loads(path.read_text()))]


def kept(path: Path) -> list[str]:
    """The outputs that the notebook has."""
    cells = _code(json.loads(path.read_text()))
    return ["".join("".join(output["text"]) for output in cell["outputs"]) for cell in cells]


def _code(notebook: dict[str, Any]) -> list[dict[str, Any]]:
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def _run(source: str, names: dict[str, Any]) -> str:
    tree = ast.parse(source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(tree, "cell", "exec"), names)
        if isinstance(last, ast.Expr):
            value = eval(compile(ast.Expression(last.value), "cell", "eval"), names)
            if value is not None:
                print(repr(value))
    return printed.getvalue()


def keep(path: Path) -> None:
    notebook = json.loads(path.read_text())
    for number, (cell, text) in enumerate(zip(_code(notebook), outputs_of(path), strict=True), 1):
        cell["execution_count"] = number
        lines = text.splitlines(keepends=True)
        cell["outputs"] = [{"name": "stdout", "output_type": "stream", "text": lines}] if lines else []
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    keep(Path(sys.argv[1]).resolve())
