"""kill -9 in the middle of an answer, a refresh, a publication, a migration and an export: nothing acknowledged is lost, and the next start says what was cut off."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from app.manage_versions import ManageVersions
from app.refresh.adapters import AdapterFolder
from app.repairs import repairs
from storage.export_columns import TEXT, Column
from storage.export_files import write_rows
from storage.records import Vote
from storage.store import Store
from tests.faults.conftest import HERE, ROOT, child, killed_where
from tests.faults.live import Live
from tests.rounds import add_choice
from tests.test_store import a_version, integrity, tables

NOBODY = 2**22 + 1  # the number of no process: Linux gives none that is higher than 2 ** 22


def started(data: Path) -> tuple[Store, AdapterFolder, tuple[str, ...]]:
    """What a start opens, and what it says."""
    store, adapters = Store(data), AdapterFolder(data / "adapters")
    return store, adapters, repairs(store, adapters, ManageVersions(store, adapters, lambda token: None))


# --- an answer


def test_a_server_killed_in_mid_answer_keeps_what_it_acknowledged(talker: Path, tmp_path: Path):
    with Live(tmp_path, talker) as live:
        told = live.compare(max_new_tokens=4)
        live.vote(told["round_id"], "first")
        with live.answering(max_new_tokens=2000) as parts:
            next(parts)
            live.server.kill()
        store = Store(live.server.data)
        assert [vote.round for vote, _ in store.votes()] == [told["round_id"]]
        assert store.counts()["rounds"] == 1 and integrity(store.path) == "ok"
        AdapterFolder(live.server.data / "adapters").root.mkdir()
        (live.server.data / "adapters" / f".refresh.partial-{NOBODY}").write_text("a refresh of somebody's")
        live.server.start(live.server.port)
        assert "found at this start: a refresh of somebody's was cut off" in live.server.printed
        again = live.compare(max_new_tokens=4)
        assert again["answers"] != {} and again["round_id"] != told["round_id"]
        assert {a["text"] for a in again["answers"].values()} == {a["text"] for a in told["answers"].values()}
        assert "Traceback" not in live.server.printed


# --- a refresh


def test_a_refresh_killed_while_it_learns_leaves_nothing_and_is_told(tiny_folders: dict[str, Path], tmp_path: Path):
    pairs = tmp_path / "pairs.jsonl"
    rows = [
        {
            "prompt": [{"role": "user", "content": f"Question {number}?"}],
            "chosen": [{"role": "assistant", "content": "tea, matey"}],
            "rejected": [{"role": "assistant", "content": "the sky"}],
        }
        for number in range(10)
    ]
    pairs.write_text("".join(json.dumps(row) + "\n" for row in rows))
    data = tmp_path / "data"
    environment = {
        "PLUMBLINE_DATA": str(data),
        "PLUMBLINE_MODEL": str(tiny_folders["llama"]),
        "PLUMBLINE_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin",
        "PYTHONUNBUFFERED": "1",
    }
    command = [sys.executable, "-m", "app", "refresh", "--pairs", str(pairs), "--epochs", "100"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        printed = []
        assert any(printed.append(line) or line.startswith("step 2/") for line in process.stderr), printed
        process.kill()
        assert process.wait() == -signal.SIGKILL
    told = subprocess.run(
        [sys.executable, "-m", "app", "versions"], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert told.stderr.startswith("found at this start: a refresh from 10 pairs for all personas was cut off")
    assert told.stderr.count("\n") == 1 and told.stdout.startswith("no version yet")
    store, adapters, told_again = started(data)
    assert store.versions() == [] and list(adapters.root.iterdir()) == [] and integrity(store.path) == "ok"
    assert told_again == ()


# --- a publication


PUBLISH = f"""
from sqlite_utils.db import Table
from app.refresh.adapters import AdapterFolder
from storage.store import Store
from tests.test_store import a_version
data, when = Path(sys.argv[1]), sys.argv[2]
store, adapters = Store(data), AdapterFolder(data / "adapters")
def fill(folder):
    for file in (adapters.root / "v1").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
insert = Table.insert
def held(table, row, **options):
    made = insert(table, row, **options)
    if table.name == when:
        {HERE}
    return made
Table.insert = held
name = adapters.add(store.next_version_id(), fill)
store.add_version(a_version(name), publish=True)
{HERE}
"""


@pytest.mark.parametrize("when", ["versions", "publications", "afterwards"])
def test_a_publication_that_was_killed_is_whole_or_did_not_happen(tmp_path: Path, fill: Callable, when: str):
    store, adapters = Store(tmp_path), AdapterFolder(tmp_path / "adapters")
    adapters.write("v1", fill)
    store.add_version(a_version("v1"), publish=True)
    killed_where(PUBLISH, tmp_path, when)
    store, adapters, told = started(tmp_path)
    assert integrity(store.path) == "ok"
    if when == "afterwards":
        assert store.published("zen") == "v2" and adapters.fault("v2") == "" and told == ()
        return
    assert store.published("zen") == "v1" and [version.id for version in store.versions()] == ["v1"]
    assert len(told) == 1 and told[0].startswith("the folder of v2 has no entry in the database")
    name = adapters.add(store.next_version_id(), fill)
    store.add_version(a_version(name), publish=True)
    assert name == "v3" == store.published("zen"), "what is left of v2 is in nobody's way"


# --- a migration


MIGRATE = f"""
import sqlite3
from storage.store import Store
left = int(sys.argv[2])
def count(statement):
    global left
    left -= 1
    if left == 0:
        {HERE}
connect = sqlite3.connect
def traced(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(count)
    return connection
sqlite3.connect = traced
Store(Path(sys.argv[1]))
print(left)
"""


def test_a_migration_that_was_killed_is_done_at_the_next_start(old: Callable[[str], Path]):
    with child(MIGRATE, old("counted"), 10**6) as process:
        statements = 10**6 - int(process.communicate()[0])
    assert statements > 100
    expected = tables(Store(old("undisturbed")).path)
    for part in (0.2, 0.5, 0.8, 0.97):
        folder = old(f"killed at {part}")
        killed_where(MIGRATE, folder, int(part * statements))
        store = Store(folder)
        assert integrity(store.path) == "ok" and tables(store.path) == expected
        assert [(vote.round, vote.rater, vote.choice) for vote, _ in store.votes()] == [("old", "bob", "second")]
        assert store.vote(Vote("old", "ann", "tie")).choice == "tie"


# --- an export


EXPORT = f"""
from storage.export_columns import TEXT, Column
from storage.export_files import write_rows
def rows():
    for number in range(5000):
        yield {{"n": f"row {{number}}" * 10}}
    {HERE}
write_rows(rows(), (Column("n", TEXT, ""),), "jsonl", Path(sys.argv[1]))
"""


def test_an_export_that_was_killed_leaves_the_old_file_and_is_cleared_away_by_the_next(tmp_path: Path):
    path, other = tmp_path / "pairs.jsonl", tmp_path / ".pairs.jsonl.partial-notes"
    path.write_text("old\n"), other.write_text("somebody's own")
    killed_where(EXPORT, path)
    left = set(tmp_path.iterdir()) - {path, other}
    assert path.read_text() == "old\n" and len(left) == 1 and left.pop().stat().st_size > 0
    with child(EXPORT, path) as living:
        assert living.stdout.readline() == "here\n"
        assert len(set(tmp_path.iterdir())) == 3, "the dead one's is gone, and the living one's is there"
        write_rows([{"n": "new"}], (Column("n", TEXT, ""),), "jsonl", path)
        assert len(set(tmp_path.iterdir())) == 3, "nobody touches what another is writing"
    write_rows([{"n": "new"}], (Column("n", TEXT, ""),), "jsonl", path)
    assert path.read_text() == '{"n": "new"}\n' and set(tmp_path.iterdir()) == {path, other}


def test_two_exports_of_one_process_do_not_clear_each_other_away(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    columns = (Column("n", TEXT, ""),)

    def rows():
        yield {"n": "slow"}
        write_rows([{"n": "quick"}], columns, "jsonl", path)
        assert path.read_text() == '{"n": "quick"}\n'

    write_rows(rows(), columns, "jsonl", path)
    assert path.read_text() == '{"n": "slow"}\n' and list(tmp_path.iterdir()) == [path]


def test_nothing_is_said_of_a_whole_folder(tmp_path: Path, fill: Callable):
    store, adapters, _ = started(tmp_path)
    add_choice(store, 1)
    adapters.write("v1", fill)
    store.add_version(a_version("v1"), publish=True)
    assert started(tmp_path)[2] == ()
