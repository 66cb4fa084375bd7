"""The log as text and the outbox on a real database: what is noted, what stands, what comes back and what never does."""

import json
import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from storage.bans import BanTable
from storage.database import now
from storage.log import KINDS, Event, Log, parse
from storage.log_folder import LARGEST, LogFolder
from storage.log_outbox import Outbox
from storage.log_rows import TABLES
from storage.records import SavedPersona, Vote
from storage.store import Store
from tests.rounds import a_round, add_choice

EARLY, LATER = (f"2026-01-0{day}T00:00:00.000+00:00" for day in (1, 2))


def noted(store: Store) -> list[Event]:
    """All changes that wait."""
    return [event for batch in Outbox(store.database).batches(0) for event in batch.events]


def write(path: Path, *lines: Event | bytes) -> Path:
    path.write_bytes(b"".join(line.line() if isinstance(line, Event) else line for line in lines))
    return path


def fill(store: Store) -> None:
    """Something of every kind that the log tells of."""
    with store.database.write() as db:
        db["studies"].insert(
            {
                "id": "s1",
                "created": now(),
                "name": "Tea",
                "arms": '["baseline", "linear_aligned"]',
                "overlap": 2,
                "repeat": 0.1,
                "settings": "{}",
                "adapter": "",
                "model": "m",
                "model_revision": "r",
                "state": "open",
            }
        )
        db["study_items"].insert(
            {"study": "s0-free", "position": 0, "persona": "p", "messages": "[]"} | {"study": "s1"}
        )
        db["raters"].insert(
            {"id": "ann", "created": now(), "name": "Ann", "kind": "code", "consent_version": "1", "consented": now()}
        )
    store.add_round(a_round("of-the-item", "Tea? 🏴‍☠️", item=1))
    with store.database.write() as db:
        db["assignments"].insert(
            {"created": now(), "item": 1, "rater": "ann", "round": "of-the-item", "repeat": 0, "state": "done"}
        )
    store.vote(Vote("of-the-item", "ann", "first", "because \u2028 of tea", 1.5, "1", chips=("truer",)))
    store.save_persona(SavedPersona("poet", "ann", "Poet", "Rhyme.", "principle", 1.0))
    BanTable(store.database).ban("eve", "turned every choice round")


def dump(store: Store) -> dict[str, list[dict]]:
    """Every row, without the numbers that only this database knows."""
    with store.database.open() as db:
        tables = {
            kind: [{k: v for k, v in row.items() if k not in table.own} for row in db[kind].rows]
            for kind, table in TABLES.items()
        }
        tables["answers"] = list(db["answers"].rows)
    return {name: sorted(rows, key=json.dumps) for name, rows in tables.items()}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


def test_nothing_is_noted_while_the_sync_is_off(store: Store):
    fill(store)
    assert noted(store) == []
    with store.database.open() as db:
        assert db["outbox"].count == 0 and not [t for t in db.triggers if t.name.startswith("outbox_")]


def test_every_change_is_noted_in_its_own_transaction(store: Store):
    Outbox(store.database).turn_on("o/d")
    fill(store)
    with store.database.write() as db:
        db["tombstones"].insert({"created": now(), "kind": "vote", "key": "x y"})
    assert {event.kind for event in noted(store)} == set(KINDS)
    refused = {"id": "bob", "name": "", "kind": "code", "consent_version": "", "consented": ""}
    with pytest.raises(sqlite3.IntegrityError), store.database.write() as db:
        db["raters"].insert_all([refused, refused])
    assert not any(event.key == ("bob",) for event in noted(store))


def test_what_there_was_before_is_noted_once_when_the_sync_is_turned_on(store: Store):
    fill(store)
    outbox = Outbox(store.database)
    outbox.turn_on("o/d")
    first = noted(store)
    assert {event.kind for event in first} == set(KINDS) - {"tombstones"}
    outbox.turn_on("o/d")
    assert len(noted(store)) == len(first)
    outbox.sent(10**6, deletes=False)
    outbox.turn_on("o/d")
    assert noted(store) == []
    outbox.turn_on("o/another")
    assert len(noted(store)) == len(first)
    outbox.turn_off()
    assert outbox.state().waiting == 0 and outbox.state().dataset == ""


def test_what_a_newer_program_notes_is_noted_with_what_there_was_before(store: Store):
    outbox = Outbox(store.database)
    outbox.turn_on("o/d")
    with store.database.write() as db:  # as a program left it that knew nothing of bans
        for event in ("insert", "update", "delete"):
            db.execute(f"drop trigger outbox_bans_{event}")
    fill(store)
    outbox.sent(10**6, deletes=False)
    for _ in range(2):
        outbox.turn_on("o/d")
        assert [event.key for event in noted(store)] == [("eve",)]


def test_a_ban_and_its_end_are_noted_and_not_the_votes_that_are_counted_anew(store: Store):
    outbox, bans = Outbox(store.database), BanTable(store.database)
    outbox.turn_on("o/d")
    add_choice(store, 1)
    (batch,) = outbox.batches(0)
    outbox.sent(batch.last, deletes=False)
    bans.ban("ann", "")
    assert store.votes() == [] and [(e.kind, e.key) for e in noted(store)] == [("bans", ("ann",))]
    bans.ban("ann", "again and again")
    (event,) = noted(store)
    assert event.row["reason"] == "again and again"
    bans.lift("ann")
    (batch,) = outbox.batches(0)
    assert len(store.votes()) == 1 and [(e.kind, e.row) for e in batch.events] == [("bans", None)]
    assert batch.deletes, "what was said of a person does not stay in the dataset"


def test_a_number_is_not_used_twice_after_all_was_sent(store: Store):
    outbox = Outbox(store.database)
    outbox.turn_on("o/d")
    add_choice(store, 1)
    (batch,) = outbox.batches(0)
    outbox.sent(batch.last, deletes=False)
    add_choice(store, 2)
    assert [event.key for b in outbox.batches(batch.last) for event in b.events] == [
        ("pirate-2",),
        ("pirate-2", "ann"),
    ]


def test_several_changes_of_a_row_are_told_as_what_it_is_now(store: Store):
    outbox = Outbox(store.database)
    outbox.turn_on("o/d")
    store.add_round(a_round("r", "Tea?", blind=False))
    store.vote(Vote("r", "ann", "first", "a mistake"))
    store.undo_vote("r", "ann")
    kinds = [(event.kind, event.row is None) for event in noted(store)]
    assert kinds == [("rounds", False), ("votes", True)]


def test_a_line_comes_back_as_its_event(store: Store):
    Outbox(store.database).turn_on("o/d")
    fill(store)
    events = noted(store)
    assert [parse(event.line()) for event in events] == events
    assert all(event.line().count(b"\n") == 1 for event in events)


def test_all_rows_come_back_into_an_empty_database_and_are_not_noted_there(store: Store, tmp_path: Path):
    Outbox(store.database).turn_on("o/d")
    fill(store)
    for number in range(3):
        add_choice(store, number)
    log = write(tmp_path / "a.jsonl", *noted(store))
    other = Store(tmp_path / "other")
    outbox = Outbox(other.database)
    outbox.turn_on("o/d")
    for _ in range(2):  # again changes nothing
        assert outbox.replay(Log([log])) == 0
        assert dump(other) == dump(store)
        assert noted(other) == []
    assert other.votes() == store.votes()


@settings(deadline=None, max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10**6))
def test_order_of_files_and_doubled_lines_make_no_difference(tmp_path_factory: pytest.TempPathFactory, seed: int):
    """Votes are given and taken back; the lines are spread over files by chance, some of them twice."""
    chance, folder = random.Random(seed), tmp_path_factory.mktemp("log")
    expected, files = {}, [[], [], []]
    for day in range(12):
        event = Event("raters", (chance.choice("abc"),), f"2026-01-{day + 1:02}", None)
        if chance.random() < 0.6:
            row = {"id": event.key[0], "name": str(day), "kind": "code", "consent_version": "", "consented": ""}
            event = Event(event.kind, event.key, event.at, row)
        expected[event.key] = event.row
        for file in {chance.randrange(3), chance.randrange(3)}:
            files[file].append(event)
    for lines in files:
        chance.shuffle(lines)
    paths = [write(folder / f"{number}.jsonl", *lines) for number, lines in enumerate(files)]
    chance.shuffle(paths)
    store = Store(folder / "data")
    assert Outbox(store.database).replay(Log(paths)) == 0
    with store.database.open() as db:
        names = {(row["id"],): row["name"] for row in db["raters"].rows}
    assert names == {key: row["name"] for key, row in expected.items() if row is not None}
    # What compaction keeps says the same.
    log = Log(paths)
    shorter = [write(folder / f"kept-{n}.jsonl", *log.kept(n)) for n in range(3)]
    assert {e.key: e.row for e in Log(shorter).events("raters")} == expected


def test_what_changed_here_since_then_stands(store: Store, tmp_path: Path):
    outbox = Outbox(store.database)
    outbox.turn_on("o/d")
    store.add_round(a_round("r", "Tea?", blind=False))
    store.vote(Vote("r", "ann", "first"))
    log = write(tmp_path / "a.jsonl", *noted(store))
    outbox.sent(10**6, deletes=False)
    store.undo_vote("r", "ann")
    outbox.replay(Log([log]))
    assert store.votes() == []
    assert [(event.kind, event.row) for event in noted(store)] == [("votes", None)]


def stone(kind: str, key: str, created: str) -> Event:
    """A tombstone as the log has it; the time at which it was noted is of no account."""
    return Event("tombstones", (kind, key, created), EARLY, {"created": created, "kind": kind, "key": key})


def test_deleted_labels_never_come_back_and_a_new_one_may(store: Store, tmp_path: Path):
    Outbox(store.database).turn_on("o/d")
    for number in (1, 2, 3):
        add_choice(store, number)
    log = write(tmp_path / "a.jsonl", *noted(store))
    other = Store(tmp_path / "other")
    outbox = Outbox(other.database)
    outbox.turn_on("o/d")
    outbox.replay(Log([log]))
    assert len(other.votes()) == 3 and not outbox.state().compact
    # Deleted elsewhere; and the same old vote noted once more after that, by a replica that did not know.
    vote = next(e for e in noted(store) if e.key == ("pirate-1", "ann"))
    stones = [
        stone("vote", "pirate-1 ann", "2030"),
        stone("round", "pirate-2", "2030"),
        stone("newer kind", "x", "2030"),
    ]
    buried = write(tmp_path / "b.jsonl", *stones, Event("votes", vote.key, "2031", vote.row))
    for _ in range(2):
        assert outbox.replay(Log([log, buried])) == 0
        assert [vote.round for vote, _ in other.votes()] == ["pirate-3"]
        assert outbox.state().compact
    assert noted(other) == []
    # The round, its vote, and the other vote twice.
    assert Log([log, buried]).dead() == 4
    overtaken = write(tmp_path / "d.jsonl", Event("votes", vote.key, "2040", None))
    assert Log([log, buried, overtaken]).dead() == 4
    again = Event("votes", vote.key, "2032", {**vote.row, "created": "2032"})
    outbox.replay(Log([log, buried, write(tmp_path / "c.jsonl", again)]))
    assert [vote.round for vote, _ in other.votes()] == ["pirate-3", "pirate-1"]


def test_own_tombstones_count_though_the_log_does_not_know_them(store: Store, tmp_path: Path):
    outbox = Outbox(store.database)
    outbox.turn_on("o/d")
    add_choice(store, 1)
    log = write(tmp_path / "a.jsonl", *noted(store))
    outbox.turn_off()
    with store.database.write() as db:
        db.execute("delete from votes")
        db["tombstones"].insert({"created": now(), "kind": "vote", "key": "pirate-1 ann"})
    outbox.turn_on("o/d")
    outbox.replay(Log([log]))
    assert store.votes() == []


def test_compaction_takes_deleted_and_overtaken_words_out_and_keeps_what_it_does_not_know(store: Store, tmp_path: Path):
    Outbox(store.database).turn_on("o/d")
    add_choice(store, 1)
    first = noted(store)
    row = {"created": EARLY, "kind": "code", "consent_version": "", "consented": ""}
    named = [
        Event("raters", ("ann",), at, {"id": "ann", "name": name, **row})
        for at, name in ((EARLY, "Old"), (LATER, "New"))
    ]
    buried = stone("vote", "pirate-1 ann", "2030")
    newer = b'{"plumbline": 2, "kind": "votes", "text": "from a newer program"}\n'
    broken, cut = b"{nothing\n", b'{"plumbline": 1, "kind": "votes", "key": ["pirate-1", "ann"], "row": {"reason": "sec'
    path = write(tmp_path / "a.jsonl", *first, *named, buried, newer, broken, cut)
    log = Log([path])
    assert log.unreadable == 2
    kept = list(log.kept(0))
    assert kept == [event.line() for event in first if event.kind == "rounds"] + [
        named[1].line(),
        buried.line(),
        newer,
        broken,
    ]


ROW = {"round": "pirate-1", "rater": "bob", "choice": "first", "created": EARLY, "chips": "[]"}


@pytest.mark.parametrize(
    "line",
    [
        b"not json\n",
        b"[]\n",
        b'"votes"\n',
        b"\xff\xfe\n",
        b'{"plumbline": 1, "kind": "votes", "key": ["pirate-1"], "at": "2026", "row": null}\n',
        b'{"plumbline": 1, "kind": "votes", "key": ["pirate-1", ["x"]], "at": "2026", "row": null}\n',
        b'{"plumbline": 1, "kind": "votes", "key": ["pirate-1", "bob"], "at": "2026"}\n',
        Event("votes", ("pirate-1", "bob"), LATER, {**ROW, "choice": "third"}),
        Event("votes", ("pirate-1", "bob"), LATER, {**ROW, "chips": "["}),
        Event("votes", ("pirate-1", "bob"), LATER, {**ROW, "rater": "eve"}),
        Event("votes", ("pirate-1", "bob"), LATER, {**ROW, "reason": ["x"]}),
        Event("votes", ("pirate-1", "bob"), LATER, {**ROW, "dwell_seconds": 2**70}),
        Event("votes", ("pirate-1", "bob"), LATER, {}),
        Event("votes", ("pirate-9", "bob"), LATER, {**ROW, "round": "pirate-9"}),
        Event("rounds", ("r9",), LATER, {"id": "r9"}),
        b'{"plumbline": 1, "kind": "votes", "key": ["pirate-1", "bob"], "at": "2026", "row": {"round": "pirate-1", '
        b'"rater": "bob", "choice": "first", "chips": "[]", "reason": "\\ud800"}}\n',
    ],
)
def test_a_bad_line_is_counted_and_left_out_and_the_others_come_in(store: Store, tmp_path: Path, line: Event | bytes):
    Outbox(store.database).turn_on("o/d")
    add_choice(store, 1)
    good = noted(store)
    path = write(tmp_path / "a.jsonl", good[0], line, *good[1:])
    other = Store(tmp_path / "other")
    outbox = Outbox(other.database)
    outbox.turn_on("o/d")
    assert outbox.replay(Log([path])) == 1
    assert other.votes() == store.votes()
    assert outbox.state().unreadable == 1


def test_columns_that_this_schema_does_not_have_are_passed_over(store: Store, tmp_path: Path):
    Outbox(store.database).turn_on("o/d")
    add_choice(store, 1)
    events = [Event(e.kind, e.key, e.at, {**e.row, "of_the_future": 1}) for e in noted(store)]
    other = Store(tmp_path / "other")
    assert Outbox(other.database).replay(Log([write(tmp_path / "a.jsonl", *events)])) == 0
    assert other.votes() == store.votes()


def test_studies_of_one_name_from_two_replicas_both_come(store: Store, tmp_path: Path):
    fill(store)
    outbox = Outbox(store.database)
    row = {"name": "Tea", "arms": "[]", "overlap": 1, "repeat": 0, "settings": "{}", "state": "open"}
    event = Event("studies", ("another",), LATER, {"id": "another", **row})
    path = write(tmp_path / "a.jsonl", event)
    for _ in range(2):
        assert outbox.replay(Log([path])) == 0
    with store.database.open() as db:
        assert sorted(row["name"] for row in db["studies"].rows) == ["Tea", "Tea (anothe)"]


def test_the_folder_of_a_process_is_its_own_and_one_that_was_left_is_cleared(tmp_path: Path):
    first, second = LogFolder(tmp_path), LogFolder(tmp_path)
    for folder in (first, second):
        folder.append(b"1\n")
        folder.append(b"2\n")
    assert first.files != second.files
    (a,), (b,) = first.files.iterdir(), second.files.iterdir()
    assert a.name != b.name and a.read_bytes() == b.read_bytes() == b"1\n2\n"
    first.append(b"x" * LARGEST + b"\n")
    first.append(b"3\n")
    assert sorted(path.read_bytes()[-2:] for path in first.files.iterdir()) == [b"3\n", b"x\n"]
    left = tmp_path / "left"
    left.mkdir()
    (tmp_path / "left.lock").touch()
    third = LogFolder(tmp_path)
    assert not left.exists() and first.path.exists()
    for folder in (first, second, third):
        folder.close()
    assert list(tmp_path.iterdir()) == []
