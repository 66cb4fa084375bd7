"""The Python that the README shows for other programs, run as it stands against a page; only the address is another."""

import re
from pathlib import Path

import pytest

from tests.test_api import serving

README = Path(__file__).resolve().parents[1] / "README.md"
ADDRESS = "http://127.0.0.1:7860"


def test_the_clients_snippet_compares_votes_and_finds_a_persona(
    tiny_folders: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture
):
    (snippet,) = [code for code in re.findall(r"```python\n(.*?)```", README.read_text(), re.S) if "Client(" in code]
    assert snippet.count(ADDRESS) == 1
    with serving(tiny_folders["llama"], tmp_path) as server:
        capsys.readouterr()
        exec(compile(snippet.replace(ADDRESS, server.url), str(README), "exec"), {})  # noqa: S102 - it is ours
        printed = capsys.readouterr().out
        assert server.services.label.clear_choices() == 1
    assert "'choice': 'second'" in printed
    assert "'nearness':" in printed
