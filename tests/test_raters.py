"""Raters on real files: consent, names, codes and logins, seeing one's labels, and deleting them so that nothing is left of them."""

import json
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from app.consent import TEXT, Consent, read_consent
from app.errors import ConsentError, InputError, NotFoundError, StorageError
from app.label import Label, new_secret, rater_of
from app.raters import LONGEST_NAME, Raters, checked_code
from storage.assignments import Assignments
from storage.raters import Deleted
from storage.records import AIVote, Vote
from storage.store import Store
from storage.studies import StudyTable
from tests.rounds import a_round
from tests.studies import add_study

ANN, BOB = rater_of("ann's secret"), rater_of("bob's secret")
SECRETS = ("reason-4711", "rewritten-4711", "Annabel-4711", "asked-4711", "chip-4711")


@pytest.fixture
def raters(store: Store, tmp_path: Path) -> Raters:
    return Raters(store, tmp_path, read_consent(None))


def bytes_of(store: Store) -> bytes:
    """Everything that lies on the disk."""
    return b"".join(path.read_bytes() for path in store.path.parent.glob("plumbline.db*"))


# --- consent and names


def test_consent_is_stored_with_its_version_and_every_label_carries_it(store: Store, raters: Raters):
    study = add_study(store, prompts=2)
    round_id = Assignments(store.database).hand_out(study, ANN).round
    store.add_round(a_round("own", "Why?", rater=BOB))
    entered = raters.enter(ANN, "  Ann\u00a0B. ", raters.consent.version)
    assert (entered.name, entered.kind, entered.consent_version) == ("Ann B.", "browser", raters.consent.version)
    assert entered.consented and raters.get(ANN) == entered == raters.checked(ANN)
    label = Label(store)
    assert label.vote(round_id, "first", ANN)[0].consent_version == raters.consent.version
    assert label.vote("own", "first", BOB)[0].consent_version == ""  # was never asked


def test_another_text_is_another_version_and_asks_again(store: Store, raters: Raters, tmp_path: Path):
    raters.enter(ANN, "Ann", raters.consent.version)
    path = tmp_path / "consent.txt"
    path.write_text("Agree to this, please.\n", encoding="utf-8")
    changed = Raters(store, tmp_path, read_consent(path))
    assert changed.consent == Consent("Agree to this, please.") and changed.consent.version != raters.consent.version
    with pytest.raises(ConsentError, match=changed.consent.version):
        changed.checked(ANN)
    with pytest.raises(ConsentError, match="read it again"):
        changed.enter(ANN, "Ann", raters.consent.version)
    again = changed.enter(ANN, "", changed.consent.version)
    assert (again.name, again.created) == ("", raters.get(ANN).created)


def test_version_is_the_beginning_of_the_digest():
    # printf 'yes' | sha256sum
    assert Consent("yes").version == "8a798890fe93" and len(Consent(TEXT).version) == 12


def test_consent_file_that_cannot_be_read_is_told(tmp_path: Path):
    with pytest.raises(NotFoundError, match="PLUMBLINE_CONSENT"):
        read_consent(tmp_path / "none.txt")
    for content, message in ((b"\xff\xfe", "no UTF-8"), (b" \n", "is empty"), (b"a" * 20_001, "20001 characters")):
        (tmp_path / "bad.txt").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_consent(tmp_path / "bad.txt")


def test_nobody_and_names_that_are_too_long_do_not_enter(raters: Raters):
    with pytest.raises(InputError, match="secret is empty"):
        raters.enter(rater_of(""), "Ann", raters.consent.version)
    with pytest.raises(InputError, match=f"{LONGEST_NAME + 1} characters"):
        raters.enter(ANN, "a" * (LONGEST_NAME + 1), raters.consent.version)
    with pytest.raises(ConsentError):
        raters.checked(ANN)
    with pytest.raises(InputError, match="secret is empty"):
        raters.delete_labels("")


# --- codes and logins


def test_a_code_is_the_secret_as_it_was_shown():
    secret = new_secret()
    assert checked_code(f" {secret}\n") == secret
    for wrong in ("", secret[:-1], secret + "a", "ä" * 32, secret[:-1] + " x"):
        with pytest.raises(InputError, match="a rater's code has 32") as caught:
            checked_code(wrong)
        assert not wrong or wrong not in str(caught.value)


def test_a_login_is_the_same_rater_on_every_start_and_another_on_another_server(store: Store, tmp_path: Path):
    def rater(folder: Path, name: str) -> str:
        return Raters(store, folder, Consent("")).hosted_rater(name)

    other = tmp_path / "other"
    other.mkdir()
    assert rater(tmp_path, "ann") == rater(tmp_path, "ann") and len(rater(tmp_path, "ann")) == len(ANN)
    assert len({rater(tmp_path, "ann"), rater(tmp_path, "bob"), rater(other, "ann"), rater_of("ann")}) == 4
    assert (tmp_path / "rater.key").stat().st_mode & 0o777 == 0o600
    assert sorted(path.name for path in other.iterdir()) == ["rater.key"]


def test_processes_that_start_at_once_share_one_key(store: Store, tmp_path: Path):
    barrier = threading.Barrier(8)

    def rater(_: int) -> str:
        barrier.wait(60)
        return Raters(store, tmp_path, Consent("")).hosted_rater("ann")

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(rater, range(8)))) == 1


def test_a_broken_key_is_told(store: Store, tmp_path: Path):
    (tmp_path / "rater.key").write_bytes(b"short")
    with pytest.raises(StorageError, match="has 5 bytes and not 32"):
        Raters(store, tmp_path, Consent("")).hosted_rater("ann")
    with pytest.raises(StorageError, match="cannot be used"):
        Raters(store, tmp_path / "gone", Consent("")).hosted_rater("ann")


# --- seeing and deleting


def test_labels_are_shown_as_they_were_seen(store: Store, raters: Raters):
    study = add_study(store, prompts=1, overlap=2)
    round_id = Assignments(store.database).hand_out(study, ANN).round
    store.add_round(a_round("own", "Why?", rater=ANN))
    label = Label(store)
    label.vote(round_id, "second", ANN, "because", chips=["truer", "truer"], edited_side="first", edited=" Better. ")
    label.vote("own", "both_bad", ANN)
    label.vote("own", "tie", BOB)
    newest, oldest = raters.labels(ANN)
    assert (newest.prompt, newest.choice, newest.first, newest.second) == (
        "Why?",
        "both are bad",
        "tea, matey",
        "the sky",
    )
    assert (oldest.choice, oldest.reason, oldest.chips, oldest.edited) == (
        "the second",
        "because",
        ("truer",),
        "Better.",
    )
    round_ = store.round(round_id)
    assert (oldest.first, oldest.second) == tuple(round_.answers[a].text for a in (round_.first_arm, round_.second_arm))
    assert not {"baseline", "linear_aligned"} & set(str(newest).split("'"))


def filled(store: Store, raters: Raters) -> None:
    """Ann labels in a study and in rounds of her own; bob votes on one of hers and in the study."""
    study = add_study(store, prompts=3, overlap=2, repeat=0.5)
    for rater, name in ((ANN, "Annabel-4711"), (BOB, "Bob-0815")):
        raters.enter(rater, name, raters.consent.version)
    for id_, prompt in (("alone", "asked-4711"), ("shared", "asked by ann and seen by bob"), ("unvoted", "asked-4711")):
        store.add_round(a_round(id_, prompt, rater=ANN))
    store.add_round(a_round("bobs", "asked by bob", rater=BOB))
    label, hands = Label(store), Assignments(store.database)
    for rater, mark in ((ANN, "4711"), (BOB, "0815")):
        while round_id := hands.hand_out(study, rater).round:
            label.vote(round_id, "first", rater, f"reason-{mark}", chips=[f"chip-{mark}"], edited_side="first", edited=f"rewritten-{mark}")  # fmt: skip
        for id_ in ("alone", "shared", "bobs") if rater == ANN else ("shared", "bobs"):
            label.vote(id_, "first", rater, f"reason-{mark} {id_}")
    with store.database.write() as db:
        db["versions"].insert({"id": "v1", "scope": "", "deleted": "", "reference": "base", "origin": "refresh"})
        db["version_pairs"].insert_all({"version": "v1", "round": id_, "held_out": 0} for id_ in ("alone", "shared"))
    judged = AIVote("run", 1, "", "p", "implicit", "m", [{"role": "user", "content": "asked-4711"}], "a", "b", "first", 1.0, 2, 3, 4, "m", "r")  # fmt: skip
    store.add_ai_votes([judged, replace(judged, messages=[{"role": "user", "content": "asked by bob"}])])


def test_deleted_labels_are_in_no_table_and_not_in_the_bytes_of_the_files(store: Store, raters: Raters):
    filled(store, raters)
    assert all(secret.encode() in bytes_of(store) for secret in SECRETS)
    assert raters.delete_labels(ANN) == Deleted(votes=8, rounds=2)
    left = bytes_of(store)
    assert [secret for secret in SECRETS if secret.encode() in left] == []
    with store.database.open() as db:
        for table in db.tables:
            if table.name != "tombstones":
                assert ANN not in str(list(table.rows)), table.name
        assert [row["messages"] for row in db["ai_votes"].rows] == [
            json.dumps([{"role": "user", "content": "asked by bob"}])
        ]
        assert [row["round"] for row in db["version_pairs"].rows] == ["shared"]
        assert list(db.execute("pragma foreign_key_check")) == []
        buried = {(row["kind"], row["key"]) for row in db["tombstones"].rows}
    assert raters.labels(ANN) == [] and raters.get(ANN).consent_version == ""
    assert {("round", "alone"), ("round", "unvoted"), ("rater", ANN), ("vote", f"bobs {ANN}")} <= buried
    assert len(buried) == 8 + 2 + 1


def test_deleted_words_leave_a_full_text_index_too(store: Store, raters: Raters):
    with store.database.write() as db:
        db["votes"].enable_fts(["reason"], create_triggers=True)
        if sqlite3.sqlite_version_info >= (3, 42):
            db.execute("insert into votes_fts(votes_fts, rank) values ('secure-delete', 1)")
    for number in range(40):
        store.add_round(a_round(f"r{number}", f"Question {number}?", rater=BOB))
        store.vote(Vote(f"r{number}", BOB, "first", f"hello number{number}"))
    store.vote(Vote("r7", ANN, "first", "hello zanzibarquux"))
    assert b"zibarquux" in bytes_of(store)
    raters.delete_labels(ANN)
    assert b"zibarquux" not in bytes_of(store)
    with store.database.open() as db:
        assert [row["rater"] for row in db["votes"].search("number7")] == [BOB]


def test_what_is_others_stays(store: Store, raters: Raters):
    filled(store, raters)
    labels, before = raters.labels(BOB), {vote.round for vote, _ in store.votes() if vote.rater == BOB}
    raters.delete_labels(ANN)
    assert raters.labels(BOB) == labels and raters.get(BOB).name == "Bob-0815"
    assert {(vote.round, vote.rater) for vote, _ in store.votes()} == {(round_id, BOB) for round_id in before}
    assert store.round("shared").rater == "" and store.round("bobs").rater == BOB
    with pytest.raises(NotFoundError):
        store.round("alone")
    (overview,) = StudyTable(store.database).overviews()
    assert (overview.items, overview.answered, overview.votes, overview.raters) == (3, 3, 3, 1)


def test_the_places_of_deleted_labels_are_free_again_and_the_person_may_come_back(store: Store, raters: Raters):
    filled(store, raters)
    study = StudyTable(store.database).get("s")
    assert Assignments(store.database).hand_out(study, rater_of("cat")).round == ""
    raters.delete_labels(ANN)
    with pytest.raises(ConsentError):
        raters.checked(ANN)
    raters.enter(ANN, "", raters.consent.version)
    assert Assignments(store.database).hand_out(study, ANN).done == 0
    assert Assignments(store.database).hand_out(study, rater_of("cat")).round
    assert raters.delete_labels(BOB).votes == 7 and raters.delete_labels(BOB) == Deleted(0, 0)


def test_what_is_taken_back_or_deleted_among_many_is_gone_from_the_file(store: Store, raters: Raters):
    """Rows move between pages as a table grows and shrinks; none may leave its words behind."""
    for number in range(40):
        store.add_round(
            a_round(f"r{number}", f"Question {number}? " + "long " * (number * 7 % 90), rater=f"asker {number}")
        )
    people = [f"person{number}" for number in range(8)]
    for number in range(40):
        for rater in people:
            store.vote(
                Vote(f"r{number}", rater, "first", f"words-of-{rater}-on-{number}. " + "so " * (number * 13 % 400))
            )
        if number % 3 == 0:
            store.undo_vote(f"r{number}", people[number % 8])
    for rater in people[::2]:
        raters.delete_labels(rater)
    left = bytes_of(store)
    for rater in people:
        for number in range(40):
            gone = rater in people[::2] or (number % 3 == 0 and people[number % 8] == rater)
            assert (f"words-of-{rater}-on-{number}.".encode() in left) is not gone, (rater, number)


def test_deleting_is_whole_or_not_at_all(store: Store, raters: Raters):
    filled(store, raters)
    with sqlite3.connect(store.path) as connection:
        connection.execute(
            "create trigger full before insert on tombstones begin select raise(abort, 'disk full'); end"
        )
        before = "\n".join(connection.iterdump())
    with pytest.raises(sqlite3.IntegrityError):
        raters.delete_labels(ANN)
    with sqlite3.connect(store.path) as connection:
        assert "\n".join(connection.iterdump()) == before


def test_labels_are_deleted_while_others_vote(store: Store, raters: Raters):
    for number in range(20):
        store.add_round(a_round(f"r{number}", f"Question {number}?", rater=BOB))
        store.vote(Vote(f"r{number}", ANN, "first", "reason-4711"))
    barrier = threading.Barrier(2)

    def others() -> None:
        barrier.wait(60)
        for number in range(20):
            store.vote(Vote(f"r{number}", BOB, "second"))

    with ThreadPoolExecutor(1) as pool:
        voting = pool.submit(others)
        barrier.wait(60)
        assert raters.delete_labels(ANN).votes == 20
        voting.result(300)
    assert [vote.rater for vote, _ in store.votes()] == [BOB] * 20
    assert b"reason-4711" not in bytes_of(store)
