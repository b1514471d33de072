from pathlib import Path

from etl.validation.documentation import page


def test_page_in_the_repository_is_the_generated_one() -> None:
    text = Path("docs/validation.md").read_text()
    assert text == page(), "python -m etl.validation.documentation > docs/validation.md"
