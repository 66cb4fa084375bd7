"""Bad inputs to everything that a server has; the long run of the same is `python -m tests.benchmarks.fuzz`."""

from pathlib import Path

from tests.benchmarks.fuzz import fuzzed


def test_no_bad_input_crashes_the_server_or_loses_a_row(tiny_folders: dict[str, Path], tmp_path: Path):
    found = fuzzed(tmp_path, str(tiny_folders["llama"]), count=500, chance=20261121)
    assert found["total"] == 500 and found["targets"] > 150
    assert found["outcomes"]["refused with a sentence"] > 100 and found["outcomes"]["answered"] > 20
    assert (found["crashed"], found["wordless"], found["silent"]) == ([], [], [])
    assert (found["tracebacks"], found["errors_logged"], found["rows_lost"]) == (0, 0, 0), (
        tmp_path / "server.log"
    ).read_text()[-4000:]
