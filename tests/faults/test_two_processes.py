"""Several processes on one data folder: a new schema, votes and version numbers, all at the same time."""

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from app.refresh.adapters import AdapterFolder
from storage.store import Store
from tests.faults.conftest import child
from tests.rounds import a_round
from tests.test_store import integrity, tables

WORK = """
from app.refresh.adapters import AdapterFolder
from storage.records import Vote
from storage.store import Store
from tests.test_store import a_version
data, name = Path(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
store, adapters = Store(data), AdapterFolder(data / "adapters")
def save(folder):
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        (folder / file).write_text(name)
for number in range(8):
    store.vote(Vote("shared", f"{name}-{number}", "first"))
    store.add_version(a_version(adapters.add(store.next_version_id(), save), scope=name), publish=True)
"""
NAMES = ("ann", "bob", "cleo")


def test_three_processes_start_vote_and_publish_at_once(old: Callable[[str], Path]):
    folder = old("data")  # of an early version: all three find a schema to renew
    with ExitStack() as stack:
        children = [stack.enter_context(child(WORK, folder, name)) for name in NAMES]
        for process in children:
            assert process.stdout.readline() == "ready\n"
        for process in children:
            process.stdin.write("go\n")
            process.stdin.flush()
        failed = [process.communicate()[1] for process in children if process.wait()]
    assert not failed, failed
    store, adapters = Store(folder), AdapterFolder(folder / "adapters")
    assert integrity(store.path) == "ok" and tables(store.path) == tables(Store(folder / "fresh").path)
    votes = [vote.rater for vote, _ in store.votes() if vote.round == "shared"]
    assert sorted(votes) == sorted(f"{name}-{number}" for name in NAMES for number in range(8))
    versions = store.versions()
    assert {version.id for version in versions} == adapters.names() == {f"v{number}" for number in range(1, 25)}
    for version in versions:
        assert (adapters.path(version.id) / "adapter_model.safetensors").read_text() == version.scope
    assert all((adapters.path(store.published(name)) / "adapter_config.json").read_text() == name for name in NAMES)
    store.add_round(a_round("afterwards", "Tea?"))
