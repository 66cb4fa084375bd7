"""What the README promises by a test's name: every such test exists, and no *yes* of the table of features stands without one."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
NAMED = re.compile(r"`(test_\w+)`")
TESTS = {
    name
    for path in (ROOT / "tests").rglob("test_*.py")
    for name in re.findall(r"^def (test_\w+)\(", path.read_text(), re.M)
}
LINES = (ROOT / "README.md").read_text().splitlines()


def cells(line: str) -> list[str]:
    """Of a row of a Markdown table."""
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def features() -> list[tuple[str, str, str]]:
    """(feature, what Plumbline has, cell of tests) of every row of the tables that have a column Plumbline."""
    found, columns = [], []
    for line in LINES:
        if not line.startswith("|"):
            columns = []
        elif not columns:
            columns = cells(line)
        elif "Plumbline" in columns and not set(line) <= set("|-: "):
            row = dict(zip(columns, cells(line), strict=True))
            found.append((row[columns[0]], row["Plumbline"], row[columns[-1]]))
    return found


@pytest.mark.parametrize("name", sorted(set(NAMED.findall("\n".join(LINES)))))
def test_every_test_that_is_named_exists(name: str):
    assert name in TESTS


def test_every_yes_names_its_tests():
    assert len(features()) >= 20, "the table of features is not in the README"
    for feature, has, tests in features():
        assert has[:1] in ("Y", "p", "N"), f"{feature}: {has!r}"  # a footnote may follow
        assert has == "N" or NAMED.search(tests), f"{feature}: {has} without a test"
