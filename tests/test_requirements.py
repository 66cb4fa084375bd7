"""What is installed is what was tested: every requirement names one version exactly."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.audit import told

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_to_one_version(name: str):
    lines = [line.partition("#")[0].strip() for line in (ROOT / name).read_text().splitlines()]
    wanted = [line for line in lines if line and line != "-r requirements.txt"]
    assert wanted
    for line in wanted:
        requirement = Requirement(line)
        (pin,) = requirement.specifier
        assert pin.operator == "==" and "*" not in pin.version and requirement.url is None, line


def test_nothing_is_pinned_twice():
    names = [
        Requirement(line).name.lower()
        for file in ("requirements.txt", "requirements-dev.txt")
        for line in (ROOT / file).read_text().splitlines()
        if line and not line.startswith(("#", "-"))
    ]
    assert len(names) == len(set(names))


def test_the_audit_tells_every_hole_and_what_could_not_be_asked():
    hole = {"id": "PYSEC-1", "fix_versions": ["1.1", "2.0"], "aliases": [], "description": ""}
    found = [
        {"name": "a", "version": "1.0", "vulns": [hole, {**hole, "id": "PYSEC-2", "fix_versions": []}]},
        {"name": "b", "version": "1.0", "vulns": []},
        {"name": "c", "skip_reason": "not found"},
    ]
    holes, asked, not_asked = told(found)
    assert holes == ["a 1.0: PYSEC-1, mended in 1.1, 2.0", "a 1.0: PYSEC-2, mended in no version yet"]
    assert (asked, not_asked) == (2, 1) and told([]) == ([], 0, 0)
