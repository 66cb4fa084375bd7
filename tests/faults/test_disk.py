"""A disk that is full or read-only: everybody is told in a sentence, and what was acknowledged is there when there is room again."""

import resource
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from storage.records import Vote
from storage.store import Store
from tests.faults.conftest import child
from tests.faults.live import Live, RefusedError
from tests.rounds import a_round
from tests.test_store import integrity

FILL = """
import itertools
import numpy
from safetensors.numpy import save_file
from app.errors import StorageError
from app.refresh.adapters import AdapterFolder
from storage.export_columns import TEXT, Column
from storage.export_files import write_rows
from storage.records import Vote
from storage.store import Store
from tests.rounds import a_round, answers
disk = Path(sys.argv[1])
store, adapters = Store(disk / "data"), AdapterFolder(disk / "data" / "adapters")
write_rows([{"n": "old"}], (Column("n", TEXT, ""),), "jsonl", disk / "pairs.jsonl")
refused = []
def vote(number):
    store.add_round(a_round(f"r{number}", "Tea?", answers=answers(linear_aligned="tea " * 5000, baseline="sky")))
    store.vote(Vote(f"r{number}", "ann", "first"))
    print("kept", number, flush=True)
def export():
    write_rows(({"n": "x" * 10000} for _ in range(1000)), (Column("n", TEXT, ""),), "jsonl", disk / "pairs.jsonl")
def version():
    adapters.add("v1", lambda folder: save_file({"a": numpy.zeros(10**6)}, folder / "adapter_model.safetensors"))
def learning():
    with adapters.underway("refresh", "x" * 10**6):
        pass
for kind in (version, export):  # while there is room for a little, and not for this
    try:
        kind()
    except StorageError as error:
        print("refused", kind.__name__, error, flush=True)
try:
    for number in itertools.count():
        vote(number)
except StorageError as error:
    print("refused", "vote", error, flush=True)
try:
    learning()
except StorageError as error:
    print("refused", "learning", error, flush=True)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes that are a file system of their own."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("only root may mount a small disk; the other tests of full disks limit the size of files instead")
    try:
        yield disk
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_a_full_disk_is_told_by_every_writer_and_takes_nothing_that_was_kept(small_disk: Path):
    with child(FILL, small_disk) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    lines = out.splitlines()
    kept = [int(line.split()[1]) for line in lines if line.startswith("kept")]
    refused = {
        line.split()[1]: line.partition(" ")[2].partition(" ")[2] for line in lines if line.startswith("refused")
    }
    assert set(refused) == {"version", "export", "vote", "learning"} and len(kept) > 3, out
    assert "could not be written" in refused["version"] and "disk" in refused["version"]
    assert "could not be written" in refused["export"] and "pairs.jsonl" in refused["export"]
    assert "full" in refused["vote"] and "that the disk has room" in refused["vote"]
    assert "No space left" in refused["learning"]
    assert sorted(path.name for path in small_disk.iterdir()) == ["data", "pairs.jsonl"]
    assert (small_disk / "pairs.jsonl").read_text() == '{"n": "old"}\n'
    assert list((small_disk / "data" / "adapters").glob("v*")) == []
    subprocess.run(["mount", "-o", "remount,size=8m", str(small_disk)], check=True)  # room again
    store = Store(small_disk / "data")
    assert integrity(store.path) == "ok"
    assert [vote.round for vote, _ in store.votes()] == [f"r{number}" for number in kept]
    assert store.counts()["rounds"] in (len(kept), len(kept) + 1)
    store.add_round(a_round("again", "Tea?"))
    assert store.vote(Vote("again", "ann", "tie")).choice == "tie"


def test_a_server_on_a_full_disk_says_so_and_goes_on_when_there_is_room(talker: Path, tmp_path: Path):
    with Live(tmp_path, talker) as live:
        before = live.compare(max_new_tokens=4)
        live.vote(before["round_id"], "first")
        written_to = live.server.data / "plumbline.db-wal"  # what is committed goes here first
        no_limit = resource.prlimit(live.server.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(live.server.pid, resource.RLIMIT_FSIZE, (written_to.stat().st_size, no_limit[1]))
        for refused in (lambda: live.compare(max_new_tokens=4), lambda: live.vote(before["round_id"], "tie", "bob")):
            with pytest.raises(RefusedError, match=r"could not be used.*that the disk has room"):
                refused()
        resource.prlimit(live.server.pid, resource.RLIMIT_FSIZE, no_limit)
        after = live.compare(max_new_tokens=4)
        live.vote(after["round_id"], "second")
        assert live.vote(before["round_id"], "tie", "ann")["choice"] == "first", "the first vote stands"
        assert "Traceback" not in live.server.printed
    store = Store(live.server.data)
    assert [(vote.round, vote.choice) for vote, _ in store.votes()] == [
        (before["round_id"], "first"),
        (after["round_id"], "second"),
    ]
    assert integrity(store.path) == "ok"


READ_ONLY = """
import os
from app.__main__ import main
import app.data_command, app.manage_versions, app.refresh.adapters, app.repairs, app.versions_command, storage.store
folder = Path(sys.argv[1])
if os.getuid() == 0:
    os.setuid(65534)
assert not os.access(folder, os.W_OK)
os.environ["PLUMBLINE_DATA"] = str(folder)
sys.exit(main(["versions"]))
"""


def test_a_start_on_a_read_only_folder_is_a_sentence():
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies in a folder that only its owner can enter
        folder = Path(name) / "data"
        with child("from storage.store import Store; Store(Path(sys.argv[1]))", folder) as process:
            assert process.wait() == 0
        Path(name).chmod(0o755), folder.chmod(0o555), (folder / "plumbline.db").chmod(0o444)
        try:
            with child(READ_ONLY, folder) as process:
                _, err = process.communicate()
        finally:
            folder.chmod(0o755)
        assert process.returncode == 2, err
        assert err.startswith(f"plumbline: the database {str(folder / 'plumbline.db')!r} could not be used"), err
        assert "check that the folder can be written" in err and "Traceback" not in err
