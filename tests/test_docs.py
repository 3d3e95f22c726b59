"""What the documents say is so: tests they name and files they link to exist, and no row of the book is left out."""

import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
DOCUMENTS = [
    "README.md",
    "docs/architecture.md",
    "docs/from-the-book.md",
    "docs/condense.md",
    "csrc/README.md",
    "docs/platforms.md",
    "docs/releasing.md",
    ".github/CONTRIBUTING.md",
    ".github/SECURITY.md",
]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    here = PROJECT / document
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", here.read_text(encoding="utf-8"))
    missing = [link for link in links if "://" not in link and not (here.parent / link).exists()]
    assert not missing


def test_the_book_names_tests_that_exist():
    text = (PROJECT / "docs/from-the-book.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", text)
    assert len(named) > 40
    for path, function in named:
        text = (PROJECT / path).read_text(encoding="utf-8")
        assert not function or f"def {function}(" in text, f"{path} has no {function}"


def test_the_book_has_every_row_of_its_areas():
    text = (PROJECT / "docs/from-the-book.md").read_text(encoding="utf-8")
    cells = re.findall(r"^\| ([A-Z]\d+(?:, [A-Z]\d+)*)(?: !)? \|", text, re.MULTILINE)
    rows = [number for cell in cells for number in cell.split(", ")]
    areas = {"A": 21, "B": 14, "C": 22, "D": 5, "E": 6, "F": 20, "G": 29, "H": 26, "I": 16, "J": 9}
    expected = [f"{area}{k + 1}" for area, count in areas.items() for k in range(count)]
    assert rows == expected


def test_every_doubtful_row_has_its_correction():
    text = (PROJECT / "docs/from-the-book.md").read_text(encoding="utf-8")
    doubtful = set(re.findall(r"^\| (\w+) ! \|", text, re.MULTILINE))
    headings = re.findall(r"^\*\*([A-Z]\d+(?:, [A-Z]\d+)*): ", text, re.MULTILINE)
    assert doubtful == {number for heading in headings for number in heading.split(", ")}


def test_the_c_core_is_mapped_in_full():
    text = (PROJECT / "csrc/README.md").read_text(encoding="utf-8")
    files = {path.name for path in (PROJECT / "csrc").iterdir() if path.suffix in (".c", ".h", ".pxd")}
    assert files <= set(re.findall(r"`([\w.]+\.(?:c|h|pxd))`", text))
