"""What is installed is what was tested: every requirement names one version exactly."""

from pathlib import Path

import pytest
from packaging.requirements import Requirement

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
