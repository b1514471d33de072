"""The notebooks run, and give what they show."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.notebook import kept, outputs_of

NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


@pytest.mark.parametrize(("name", "cells_min"), [("lake", 6), ("one_schema", 4)])
def test_the_notebook_gives_what_it_shows(name: str, cells_min: int) -> None:
    notebook = NOTEBOOKS / f"{name}.ipynb"
    shown = kept(notebook)
    assert len(shown) >= cells_min
    assert outputs_of(notebook) == shown
