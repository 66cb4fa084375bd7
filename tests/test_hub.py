"""The Hub sync with the real huggingface_hub against a stand-in for the Hub: wiped disks, faults, several processes, deletions."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import huggingface_hub
import pytest
from pydantic import ValidationError

from app.__main__ import main
from app.errors import HubError, InputError, NotAllowedError
from app.hub import Sync
from app.settings import Settings
from app.ui.sync_line import sync_line
from storage.bans import BanTable
from storage.database import now
from storage.log_outbox import SyncState
from storage.records import Vote
from storage.store import Store
from tests.hub_server import TOKEN, HubServer
from tests.rounds import a_round, add_choice

ROOT = Path(__file__).parent.parent
DATASET = "owner/labels"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """A stand-in for the Hub; the tests' ban on the real one is lifted, and impatience does for waiting."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("app.hub.TIMEOUT_SECONDS", 5)
    monkeypatch.setattr("app.hub.RECONNECT_SECONDS", 0.05)
    with HubServer() as server:
        yield server


@pytest.fixture
def replica(hub: HubServer, tmp_path: Path) -> Iterator[Callable[..., tuple[Store, Sync]]]:
    """Makes a store of a name and its sync; all are closed in the end."""
    made = []

    def make(name: str, token: str = TOKEN) -> tuple[Store, Sync]:
        store = Store(tmp_path / name)
        made.append(Sync(store.database, DATASET, token, endpoint=hub.endpoint))
        return store, made[-1]

    yield make
    hub.fault = lambda method, path: None
    for sync in made:
        sync.close()


def started(store: Store, sync: Sync) -> tuple[Store, Sync]:
    sync.connect()
    sync.now()
    return store, sync


def commits(fails: int, status: int | None = 501) -> Callable[[str, str], int | None]:
    """A fault: so many commits fail."""
    left = [fails]

    def fault(method: str, path: str) -> int | None:
        if "/commit/" not in path or left[0] == 0:
            return None
        left[0] -= 1
        return status

    return fault


def delete_label(store: Store, round_id: str, rater: str) -> None:
    """As a person's own request does it: the row goes, and a tombstone says so."""
    with store.database.write() as db:
        db.execute("delete from votes where round = ? and rater = ?", [round_id, rater])
        db["tombstones"].insert({"created": now(), "kind": "vote", "key": f"{round_id} {rater}"})


def test_labels_come_back_to_a_wiped_disk(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    for number in range(3):
        add_choice(store, number)
    assert sync.status().waiting == 6
    sync.now()
    assert sync.status().waiting == 0 and sync.status().last_synced and not sync.status().fault
    assert hub.datasets[DATASET].private
    store.vote(Vote("pirate-0", "bob", "tie", "in the last moment"))
    sync.close()
    wiped, again = started(*replica("wiped"))
    assert sorted(wiped.votes(), key=str) == sorted(store.votes(), key=str)
    assert wiped.votes()[-1][0].reason == "in the last moment"
    assert again.status().waiting == 0
    # What came from the dataset is not sent there again.
    assert len(hub.lines(DATASET)) == 7


def test_a_ban_outlives_a_wiped_disk_and_ends_everywhere_once_it_is_lifted(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    for number in range(2):
        add_choice(store, number)
    BanTable(store.database).ban("ann", "turned every choice round")
    sync.now()
    wiped, again = started(*replica("wiped"))
    assert wiped.votes() == [] and wiped.count_decisive() == 0
    with pytest.raises(NotAllowedError, match="turned every choice round"):
        BanTable(wiped.database).refuse("ann")
    BanTable(wiped.database).ban("ann", "still does")
    again.now()
    sync.replay()
    with pytest.raises(NotAllowedError, match="still does"):
        BanTable(store.database).refuse("ann")
    assert BanTable(wiped.database).lift("ann")
    again.now()
    assert {(line["kind"], line["row"] is None) for line in hub.lines(DATASET) if line["key"] == ["ann"]} == {
        ("bans", True)
    }
    sync.replay()
    BanTable(store.database).refuse("ann")
    assert store.count_decisive() == wiped.count_decisive() == 2
    third, _ = started(*replica("third"))
    assert third.count_decisive() == 2


def test_the_server_begins_by_itself_and_gives_what_it_has_when_it_ends(hub: HubServer, replica: Callable):
    store, sync = replica("a")
    add_choice(store, 1)
    sync.start()
    sync.close()
    assert {(line["kind"], *line["key"]) for line in hub.lines(DATASET)} == {
        ("rounds", "pirate-1"),
        ("votes", "pirate-1", "ann"),
    }
    assert not any((store.path.parent / "sync").iterdir())


def test_nothing_is_lost_while_commits_fail_and_the_status_tells(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    hub.fault = commits(2)
    add_choice(store, 1)
    for number in (2, 3):
        with pytest.raises(HubError, match=r"'owner/labels' could not be synced: .*501"):
            sync.now()
        state = sync.status()
        assert "501" in state.fault and state.waiting > 0
        assert "501" in sync_line(state)
        add_choice(store, number)
    assert hub.log(DATASET) == {}
    sync.now()
    assert sync.status().fault == "" and sync.status().waiting == 0
    keys = [(line["kind"], *line["key"]) for line in hub.lines(DATASET)]
    assert len(keys) == len(set(keys)) == 6


def test_a_hub_that_is_away_at_the_start_is_asked_again(hub: HubServer, replica: Callable):
    failing = iter([501] * 3)
    hub.fault = lambda method, path: next(failing, None) if path == "/api/repos/create" else None
    store, sync = replica("a")
    add_choice(store, 1)
    sync.start()
    sync._connecting.join()
    sync.now()
    assert len(hub.lines(DATASET)) == 2 and sync.status().fault == ""
    assert sum(path == "/api/repos/create" for _, path in hub.requests) == 4


def test_a_hub_that_never_answers_is_not_waited_for_for_ever(
    hub: HubServer, replica: Callable, monkeypatch: pytest.MonkeyPatch
):
    store, sync = started(*replica("a"))
    add_choice(store, 1)
    monkeypatch.setattr("app.hub.TIMEOUT_SECONDS", 0.2)
    hub.fault = lambda method, path: time.sleep(2) if "/commit/" in path else None
    with pytest.raises(HubError, match="timed out"):
        sync.now()
    assert sync.status().waiting == 2
    hub.fault = lambda method, path: None
    monkeypatch.setattr("app.hub.TIMEOUT_SECONDS", 5)
    sync.now()
    assert sync.status().waiting == 0


def test_an_answer_that_was_lost_doubles_no_vote(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    add_choice(store, 1)

    def lost(method: str, path: str) -> int | None:
        if "/commit/" not in path:
            return None
        hub.fault = lambda method, path: None
        # It did happen, and is told as a failure.
        content = next(sync._folder.files.iterdir())
        hub.commit(DATASET, {f"log/{content.name}": content.read_bytes()})
        return 501

    hub.fault = lost
    with pytest.raises(HubError):
        sync.now()
    sync.now()
    assert sync.status().waiting == 0
    wiped, _ = started(*replica("wiped"))
    assert wiped.votes() == store.votes()


def test_a_wrong_token_is_told_with_the_way_out_and_without_the_token(hub: HubServer, replica: Callable):
    store, sync = replica("a", token="hf_secret_but_wrong")
    add_choice(store, 1)
    with pytest.raises(HubError, match=r"refuses the token .*'owner/labels' \(status 401\); set PLUMBLINE_SYNC_TOKEN"):
        sync.connect()
    assert "401" in sync.status().fault and "hf_secret" not in sync.status().fault
    assert sync.status().waiting == 2


def test_nothing_is_sent_to_a_dataset_that_is_public(hub: HubServer, replica: Callable):
    hub.create(DATASET, private=False)
    store, sync = replica("a")
    add_choice(store, 1)
    sync.connect()
    with pytest.raises(HubError, match="'owner/labels' is public"):
        sync.now()
    sync.close()
    assert "public" in sync.status().fault and hub.log(DATASET) == {}


def test_off_asks_nothing_and_notes_nothing(hub: HubServer, tmp_path: Path):
    store = Store(tmp_path)
    Sync(store.database, DATASET, TOKEN, endpoint=hub.endpoint)._outbox.turn_on(DATASET)  # once it was on
    sync = Sync(store.database, "", None, endpoint=hub.endpoint)
    sync.start()
    add_choice(store, 1)
    assert sync.status() == SyncState()
    sync.close()
    assert hub.requests == []
    with store.database.open() as db:
        assert db["outbox"].count == 0
    with pytest.raises(InputError, match="PLUMBLINE_SYNC_DATASET"):
        sync.connect()


def test_two_replicas_write_two_files_and_each_knows_all_at_its_next_start(hub: HubServer, replica: Callable):
    (one, first), (two, second) = started(*replica("one")), started(*replica("two"))
    add_choice(one, 1, "pirate")
    add_choice(two, 1, "poet")
    first.now()
    second.now()
    assert len(hub.log(DATASET)) == 2
    for name in ("one", "two"):
        store, _ = started(*replica(name))
        assert {vote.round for vote, _ in store.votes()} == {"pirate-1", "poet-1"}


def test_deleted_words_leave_the_dataset_with_its_history(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    store.add_round(a_round("r", "Tea?"))
    store.vote(Vote("r", "ann", "first", "a private reason"))
    store.vote(Vote("r", "bob", "second", "an open reason"))
    sync.now()
    assert hub.can_read(DATASET, "a private reason")
    sync.close()
    store, sync = started(*replica("a"))  # by another process, in another file
    delete_label(store, "r", "ann")
    sync.now()
    assert not hub.can_read(DATASET, "a private reason") and hub.can_read(DATASET, "an open reason")
    wiped, _ = started(*replica("wiped"))
    assert [vote.rater for vote, _ in wiped.votes()] == ["bob"]
    # What this process has on its disk does not bring it back.
    add_choice(store, 2)
    sync.now()
    assert not hub.can_read(DATASET, "a private reason")


def test_history_that_could_not_be_forgotten_is_told_and_tried_again(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    store.add_round(a_round("r", "Tea?"))
    store.vote(Vote("r", "ann", "first", "a private reason"))
    sync.now()
    delete_label(store, "r", "ann")
    hub.fault = lambda method, path: 501 if "super-squash" in path else None
    with pytest.raises(HubError, match="501"):
        sync.now()
    assert sync.status().compact and sync.status().fault and sync.status().waiting == 0
    sync.close()
    assert hub.can_read(DATASET, "a private reason")
    hub.fault = lambda method, path: None
    started(*replica("a"))
    assert not hub.can_read(DATASET, "a private reason")


def test_a_label_deleted_in_one_replica_is_deleted_in_the_other_at_its_next_start(hub: HubServer, replica: Callable):
    one, first = started(*replica("one"))
    one.add_round(a_round("r", "Tea?"))
    one.vote(Vote("r", "ann", "first", "a private reason"))
    first.now()
    two, second = started(*replica("two"))
    assert len(two.votes()) == 1
    delete_label(two, "r", "ann")
    second.now()
    assert not hub.can_read(DATASET, "a private reason")
    # The first has not heard of it, and sends its whole file.
    add_choice(one, 2)
    first.now()
    first.close()
    one, _ = started(*replica("one"))
    assert [vote.round for vote, _ in one.votes()] == ["pirate-2"]
    assert not hub.can_read(DATASET, "a private reason")


def test_compaction_reads_again_where_another_process_committed_meanwhile(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    store.add_round(a_round("r", "Tea?"))
    store.vote(Vote("r", "ann", "first", "a private reason"))
    sync.now()
    delete_label(store, "r", "ann")
    log = [0]

    def another(method: str, path: str) -> None:
        if "/commit/" in path:
            log[0] += 1
            if log[0] == 2:  # the first sends the tombstone, the second is the compaction
                hub.commit(DATASET, {"log/another.jsonl": b'{"plumbline": 2, "text": "theirs"}\n'})

    hub.fault = another
    sync.now()
    assert log[0] == 3
    assert hub.log(DATASET)["log/another.jsonl"] == b'{"plumbline": 2, "text": "theirs"}\n'
    assert not hub.can_read(DATASET, "a private reason")


def test_malformed_lines_are_counted_and_told(hub: HubServer, replica: Callable):
    store, sync = started(*replica("a"))
    add_choice(store, 1)
    sync.now()
    hub.commit(DATASET, {"log/broken.jsonl": b"{nothing\n\xff\n", "log/of-another-kind.txt": b"x"})
    wiped, again = started(*replica("wiped"))
    assert wiped.votes() == store.votes()
    assert again.status().unreadable == 2
    assert "2 lines of the dataset" in sync_line(again.status())


# --- processes

WRITER = """
import sys
from pathlib import Path
from app.hub import Sync
from storage.store import Store
from tests.hub_server import TOKEN
from tests.rounds import add_choice
data, endpoint, persona, how = sys.argv[1:]
store = Store(Path(data))
sync = Sync(store.database, "owner/labels", TOKEN, endpoint=endpoint)
sync.start()
sync._connecting.join()
sync.now()
for number in range(20):
    add_choice(store, number, persona)
    if how == "often":
        sync.now()
print("done", flush=True)
if how == "wait":
    sys.stdin.read()
"""


def writer(hub: HubServer, data: Path, persona: str, how: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(data), hub.endpoint, persona, how],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "0"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_processes_on_one_database_write_at_once_into_two_files(hub: HubServer, replica: Callable, tmp_path: Path):
    writers = [writer(hub, tmp_path / "both", persona, "often") for persona in ("pirate", "poet")]
    assert [process.wait(timeout=300) for process in writers] == [0, 0]
    assert len(hub.log(DATASET)) == 2
    wiped, _ = started(*replica("wiped"))
    assert len(wiped.votes()) == 40
    assert sorted(wiped.votes(), key=str) == sorted(Store(tmp_path / "both").votes(), key=str)


@pytest.mark.parametrize(("how_it_ends", "in_the_dataset"), [(signal.SIGKILL, 0), (signal.SIGTERM, 40)])
def test_a_process_that_is_ended_before_the_commit_loses_nothing(
    hub: HubServer, replica: Callable, tmp_path: Path, how_it_ends: signal.Signals, in_the_dataset: int
):
    process = writer(hub, tmp_path / "a", "pirate", "wait")
    assert process.stdout.readline() == "done\n"
    process.send_signal(how_it_ends)
    assert process.wait(timeout=120) in (-how_it_ends, 128 + how_it_ends)
    assert (len(hub.lines(DATASET)) if hub.log(DATASET) else 0) == in_the_dataset
    store, sync = started(*replica("a"))
    assert len(hub.lines(DATASET)) == 40 and sync.status().waiting == 0
    wiped, _ = started(*replica("wiped"))
    assert wiped.votes() == store.votes() and len(wiped.votes()) == 20


# --- settings, command line, page


@pytest.mark.parametrize(
    ("name", "value"), [("DATASET", "no-owner"), ("DATASET", "a/b/c"), ("MINUTES", "1"), ("MINUTES", "nan")]
)
def test_settings_out_of_bounds_are_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv(f"PLUMBLINE_SYNC_{name}", value)
    with pytest.raises(ValidationError, match=f"sync_{name.lower()}"):
        Settings()


@pytest.fixture
def command(
    hub: HubServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs `python -m app sync` in a data folder; returns exit status, standard output and standard error."""
    # What HF_ENDPOINT decides when the library is imported.
    place = f"{hub.endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", hub.endpoint)
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", place)

    def run(folder: str, *arguments: str, dataset: str = DATASET, token: str = TOKEN) -> tuple[int, str, str]:
        monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path / folder))
        monkeypatch.setenv("PLUMBLINE_SYNC_DATASET", dataset)
        monkeypatch.setenv("PLUMBLINE_SYNC_TOKEN", token)
        capsys.readouterr()
        return main(["sync", *arguments]), *capsys.readouterr()

    return run


def test_the_command_line_syncs_compacts_replays_and_tells(
    hub: HubServer, command: Callable[..., tuple[int, str, str]], tmp_path: Path
):
    store = Store(tmp_path / "a")
    store.add_round(a_round("r", "Tea?", blind=False))
    store.vote(Vote("r", "ann", "first", "overtaken"))
    assert json.loads(command("a", "--status", "--json")[1])["on"] is False
    assert "sync is off" in command("a")[1]
    assert hub.requests == []
    told = json.loads(command("a", "--now", "--json")[1])
    assert (told["on"], told["dataset"], told["waiting"], told["fault"]) == (True, DATASET, 0, "")
    assert told["last_synced"].startswith("20")
    store.undo_vote("r", "ann")
    assert json.loads(command("a", "--json")[1])["waiting"] == 1
    assert command("b", "--replay")[1].startswith("0 lines left out\n")
    assert [vote.reason for vote, _ in Store(tmp_path / "b").votes()] == ["overtaken"]
    assert json.loads(command("a", "--compact", "--json")[1])["taken_out"] == 1
    assert not hub.can_read(DATASET, "overtaken")
    status, _, refused = command("a", "--now", token="hf_wrong")
    assert status == 2 and refused.count("\n") == 1 and "refuses the token" in refused
    assert "it fails: the Hub refuses" in command("a")[1]
    for action in ("--now", "--compact", "--replay"):
        status, _, refused = command("a", action, dataset="")
        assert status == 2 and "PLUMBLINE_SYNC_DATASET" in refused


def test_the_line_on_the_page_says_how_it_stands_and_escapes_what_it_is_told():
    assert "off" in sync_line(SyncState())
    line = sync_line(SyncState("o/d", "2026-11-21T08:10:11.123+00:00", "", 0, False, 1))
    assert "o/d on the Hub: 2026-11-21 08:10 UTC · 1 change waits" in line and "pl-bad" not in line
    assert "not yet" in sync_line(SyncState("o/d"))
    failing = sync_line(SyncState("o/d", fault="<script>"))
    assert "fails: &lt;script&gt;" in failing and "<script>" not in failing
