from pathlib import Path

from etl.exchanges import files
from etl.exchanges._documentation import page

ROOT = Path(__file__).parents[2]


def test_the_page_of_the_venues_is_what_the_venue_files_say() -> None:
    text = (ROOT / "docs" / "venues.md").read_text()
    assert text == page(), "python -m etl.exchanges._documentation > docs/venues.md"


def test_the_readme_names_every_venue() -> None:
    words = (ROOT / "README.md").read_text().lower().replace(",", " ").replace(".", " ").split()
    assert {name.partition("_")[0] for name in files()} - set(words) == set()
