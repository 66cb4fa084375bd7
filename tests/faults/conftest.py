"""What the tests of faults share: children that stop where they are told to, an adapter's files, an old database."""

import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlite_utils import Database

from storage.migrations import migrations

ROOT = Path(__file__).parents[2]
HERE = 'print("here", flush=True); sys.stdin.read()'  # a child's line: it says where it is, and goes no further


@contextmanager
def child(script: str, *arguments: object) -> Iterator[subprocess.Popen]:
    """A process that runs a script up to its `HERE`; what it imports is this project's."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nfrom pathlib import Path\n{script}", *map(str, arguments)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def killed_where(script: str, *arguments: object) -> None:
    """Runs a script up to its `HERE` and kills it there with SIGKILL."""
    with child(script, *arguments) as process:
        assert process.stdout.readline() == "here\n", process.communicate()[1]
        process.kill()
        assert process.wait() == -signal.SIGKILL


@pytest.fixture
def fill() -> Callable[[Path], None]:
    """Writes an adapter's two files, small and whole."""

    def write(folder: Path) -> None:
        import numpy
        from safetensors.numpy import save_file

        (folder / "adapter_config.json").write_text("{}")
        save_file({"a": numpy.zeros(4)}, folder / "adapter_model.safetensors")

    return write


@pytest.fixture
def old(tmp_path: Path) -> Callable[[str], Path]:
    """Data folders of an early version, with a round and a vote."""

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        with sqlite3.connect(folder / "plumbline.db") as connection:
            db = Database(connection)
            migrations.apply(db, stop_before="m003_versions")
            settings = '{"seed": 1}'
            row = {
                "id": "old",
                "created": "2020",
                "rater": "ann",
                "persona": "zen",
                "principles": "[]",
                "settings": settings,
            }
            row |= {"model": "starter", "messages": '[{"role": "user", "content": "Hi"}]', "blind": 0}
            db["rounds"].insert(row | {"first_arm": "baseline", "second_arm": "linear_aligned"})
            db["rounds"].insert(row | {"id": "shared", "first_arm": "baseline", "second_arm": "linear_aligned"})
            db["votes"].insert({"created": "2020", "round": "old", "rater": "bob", "choice": "second"})
        connection.close()
        return folder

    return make
