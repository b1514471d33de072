from pathlib import Path

from etl.exchanges._documentation import page


def test_the_page_of_the_venues_is_what_the_venue_files_say() -> None:
    text = (Path(__file__).parents[2] / "docs" / "venues.md").read_text()
    assert text == page(), "python -m etl.exchanges._documentation > docs/venues.md"
