"""docs/notebooks/lake.ipynb runs, and gives what it shows."""

from __future__ import annotations

from pathlib import Path

from tests.support.notebook import kept, outputs_of

NOTEBOOK = Path(__file__).parents[2] / "docs" / "notebooks" / "lake.ipynb"


def test_the_notebook_gives_what_it_shows() -> None:
    shown = kept(NOTEBOOK)
    assert len(shown) > 5
    assert outputs_of(NOTEBOOK) == shown
