"""The store on real files: what comes back, which vote stands, old databases, and disks and processes that fail in mid-write."""

import random
import sqlite3
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from sqlite_utils import Database

from app.errors import InputError, NotFoundError, StorageError
from storage.migrations import migrations
from storage.records import CHOICES, AIVote, Answer, Round, SavedPersona, Version, Vote
from storage.store import LONGEST_REASON, Store

ROOT = Path(__file__).parent.parent
EXPECTED = {
    "rounds": [
        *("id", "created", "rater", "persona", "principles", "messages", "settings", "model", "model_revision"),
        *("adapter", "blind", "first_arm", "second_arm", "app_version"),
    ],
    "answers": ["round", "arm", "text", "token_ids", "finish_reason", "seconds"],
    "votes": ["id", "created", "round", "rater", "choice", "reason", "dwell_seconds", "consent_version"],
    "personas": ["id", "created", "rater", "name", "principle", "framing", "ratio"],
    "versions": [
        *(
            "id",
            "created",
            "scope",
            "model",
            "model_revision",
            "settings",
            "pairs_train",
            "pairs_heldout",
            "metrics",
            "seconds",
        ),
        *("published", "reason", "parent", "reference", "origin", "deleted"),
    ],
    "version_pairs": ["version", "round", "held_out"],
    "publications": ["id", "created", "scope", "version"],
    "ai_votes": [
        *("id", "created", "run", "step", "persona", "principle", "annotator", "annotator_model", "messages", "first"),
        *("second", "choice", "margin", "forwards", "prompt_tokens", "completion_tokens", "model", "model_revision"),
    ],
}


def a_round(round_id: str = "r1", persona: str = "pirate", text: str = "Arr, Käpt'n 🏴‍☠️!\n") -> Round:
    """A round with three arms, of which the second and the first were shown, in this order."""
    return Round(
        id=round_id,
        rater="asker",
        persona=persona,
        principles=[{"text": "Answer as a pirate.", "weight": 0.7}],
        messages=[{"role": "user", "content": 'What is "π"?'}],
        settings={"seed": 7, "temperature": 0.8, "ratio": [2.0]},
        model="starter",
        model_revision="abc",
        adapter="v3",
        blind=True,
        first_arm="linear_aligned",
        second_arm="baseline",
        app_version="1.2.3",
        answers={
            "baseline": Answer("baseline", "A number.", [1, 2, 3], "stop", 0.25),
            "linear_aligned": Answer("linear_aligned", text, [], "length", 1.5),
            "principle_prompted": Answer("principle_prompted", "", [9], "cancelled", 0.0),
        },
    )


def a_version(version_id: str, scope: str = "") -> Version:
    return Version(
        version_id, scope, "starter", "abc", {"lr": 1e-4}, 12, 3, {"before": 0.5, "after": [0.75, None]}, 8.5, True, ""
    )


def tables(path: Path) -> dict[str, list[str]]:
    """Table -> columns of a database file, without what belongs to SQLite and sqlite-utils."""
    db = Database(path)
    try:
        return {
            t.name: [c.name for c in t.columns] for t in db.tables if not t.name.startswith(("sqlite_", "_sqlite_"))
        }
    finally:
        db.close()


def integrity(path: Path) -> str:
    connection = sqlite3.connect(path)
    try:
        return connection.execute("pragma integrity_check").fetchone()[0]
    finally:
        connection.close()


def at_once(work: Callable[[int], Any], threads: int = 8) -> list[Any]:
    """What `work(0..)` returns when all threads begin in the same moment; the first exception is raised."""
    barrier = threading.Barrier(threads)

    def begin(number: int) -> Any:
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(begin, range(threads)))


def python(script: str, *arguments: object) -> list[str]:
    """Command line of another Python with the store and these helpers imported; `arguments` are its `sys.argv[1:]`."""
    header = "import itertools, os, resource, signal, sys; from pathlib import Path; from app.errors import *; from tests.test_store import *\n"
    return [sys.executable, "-c", header + script, *map(str, arguments)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "new" / "data")


# --- rounds


def test_round_comes_back_as_it_was_stored(store: Store):
    store.add_round(a_round())
    found = store.round("r1")
    assert found.created
    assert replace(found, created="") == a_round()
    assert list(found.answers) == list(a_round().answers)
    assert found.blind is True


def test_round_that_does_not_exist_is_named(store: Store):
    with pytest.raises(NotFoundError, match="'nowhere'"):
        store.round("nowhere")


@pytest.mark.parametrize(
    ("answer", "error"),
    [(Answer("b", "half \ud83c", [], "stop", 1.0), InputError), (Answer("b", "", [object()], "stop", 1.0), TypeError)],
)
def test_round_with_an_answer_that_cannot_be_stored_is_not_stored_at_all(store: Store, answer: Answer, error: type):
    with pytest.raises(error):
        store.add_round(replace(a_round(), answers={**a_round().answers, "b": answer}))
    with pytest.raises(NotFoundError):
        store.round("r1")
    store.add_round(a_round())  # no lock was left behind, and no half of it either
    assert len(store.round("r1").answers) == 3


def test_round_id_is_taken_once(store: Store):
    store.add_round(a_round())
    with pytest.raises(sqlite3.IntegrityError):
        store.add_round(a_round(text="another"))
    assert replace(store.round("r1"), created="") == a_round()


# --- votes


def test_vote_comes_back_with_its_round(store: Store):
    store.add_round(a_round())
    cast = Vote("r1", "ann", "first", "shorter, ünd 'better'", 3.25, "1")
    stored = store.vote(cast)
    assert stored.created
    assert replace(stored, created="") == cast
    assert store.votes() == [(stored, store.round("r1"))]


@pytest.mark.parametrize("choice", CHOICES)
def test_first_vote_stands_and_a_repeat_returns_it(store: Store, choice: str):
    store.add_round(a_round())
    first = store.vote(Vote("r1", "ann", choice, "why"))
    for again in CHOICES:
        assert store.vote(Vote("r1", "ann", again, "changed my mind", 9.0, "2")) == first
    assert [vote for vote, _ in store.votes()] == [first]


def test_raters_vote_for_themselves(store: Store):
    store.add_round(a_round())
    votes = [
        store.vote(Vote("r1", rater, choice)) for rater, choice in (("ann", "first"), ("bob", "tie"), ("", "second"))
    ]
    assert [vote for vote, _ in store.votes()] == votes


@pytest.mark.parametrize(
    ("vote", "error", "told"),
    [
        (Vote("nowhere", "ann", "first"), NotFoundError, "'nowhere'"),
        (Vote("\ud800", "ann", "first"), InputError, r"\\ud800"),
        (Vote("r1", "ann", "third"), InputError, "'third'.*first, second, tie, both_bad"),
        (Vote("r1", "ann", "linear_aligned"), InputError, "first, second, tie, both_bad"),
        (Vote("r1", "ann", ""), InputError, "first, second, tie, both_bad"),
        (Vote("r1", "ann", None), InputError, "None"),
        (Vote("r1", "ann", "first", "x" * (LONGEST_REASON + 1)), InputError, f"{LONGEST_REASON + 1}.*{LONGEST_REASON}"),
        (Vote("r1", "ann", "first", "half \ud83c"), InputError, "half of a character"),
        (Vote("r1'; drop table votes; --", "ann", "first"), NotFoundError, "drop table"),
    ],
)
def test_bad_vote_is_refused_and_nothing_is_stored(store: Store, vote: Vote, error: type, told: str):
    store.add_round(a_round())
    with pytest.raises(error, match=told):
        store.vote(vote)
    assert store.votes() == []
    assert store.vote(Vote("r1", "ann", "tie")).choice == "tie"


def test_longest_reason_is_kept_whole(store: Store):
    store.add_round(a_round())
    assert store.vote(Vote("r1", "ann", "first", "ö" * LONGEST_REASON)).reason == "ö" * LONGEST_REASON


def test_undo_takes_back_one_vote_and_then_another_may_be_cast(store: Store):
    for round_id in ("r1", "r2"):
        store.add_round(a_round(round_id))
        for rater in ("ann", "bob"):
            store.vote(Vote(round_id, rater, "first"))
    assert store.undo_vote("r1", "ann") is True
    assert store.undo_vote("r1", "ann") is False
    assert store.undo_vote("nowhere", "ann") is False
    assert {(vote.round, vote.rater) for vote, _ in store.votes()} == {("r1", "bob"), ("r2", "ann"), ("r2", "bob")}
    assert store.vote(Vote("r1", "ann", "both_bad")).choice == "both_bad"
    assert store.counts()["votes"] == 4


def test_votes_of_one_persona(store: Store):
    for round_id, persona in (("r1", "pirate"), ("r2", "zen"), ("r3", "pirate"), ("r4", "")):
        store.add_round(a_round(round_id, persona))
        store.vote(Vote(round_id, "ann", "first"))
    store.add_round(a_round("r5", "zen"))  # nobody voted on it
    assert [vote.round for vote, _ in store.votes()] == ["r1", "r2", "r3", "r4"]
    for persona, expected in (("pirate", ["r1", "r3"]), ("zen", ["r2"]), ("", ["r4"]), ("nobody", [])):
        found = store.votes(persona)
        assert [vote.round for vote, _ in found] == expected
        assert [round_ for _, round_ in found] == [store.round(round_id) for round_id in expected]


def test_counts(store: Store):
    assert store.counts() == {"rounds": 0, "votes": 0, "personas": 0, "versions": 0}
    store.add_round(a_round())
    store.add_round(a_round("r2"))
    store.vote(Vote("r1", "ann", "tie"))
    assert store.counts() == {"rounds": 2, "votes": 1, "personas": 0, "versions": 0}


# --- many at once


def test_votes_of_eight_threads_on_one_round_leave_one(store: Store):
    for number in range(10):
        store.add_round(a_round(f"r{number}"))
        answers = at_once(
            lambda n, round_id=f"r{number}": store.vote(Vote(round_id, "ann", CHOICES[n % 4], f"thread {n}"))
        )
        assert len(set(answers)) == 1
        assert store.votes()[number:] == [(answers[0], store.round(f"r{number}"))]


def test_eight_threads_write_without_being_refused(store: Store):
    """Writers wait for each other. A transaction that read before it wrote was refused at once with "database is locked"."""

    def work(thread: int) -> None:
        for number in range(5):
            round_id = f"r{thread}-{number}"
            store.add_round(a_round(round_id))
            store.vote(Vote(round_id, "ann", "first"))
            store.save_persona(SavedPersona("shared", "ann", "Shared", "a sailor", "answer_as", 2.0))
            assert store.undo_vote(round_id, "ann")

    at_once(work)
    assert store.counts() == {"rounds": 40, "votes": 0, "personas": 1, "versions": 0}


def test_new_database_may_be_opened_by_eight_at_once(tmp_path: Path):
    for number in range(10):
        folder = tmp_path / str(number)
        at_once(lambda n, folder=folder: Store(folder).add_round(a_round(f"r{n}")))
        assert Store(folder).counts()["rounds"] == 8
        assert integrity(folder / "plumbline.db") == "ok"


def test_votes_are_read_in_one_snapshot_while_others_vote_and_undo(store: Store):
    store.add_round(a_round())
    enough = threading.Event()

    def vote_and_undo() -> int:
        times = 0
        while not enough.is_set():
            store.vote(Vote("r1", "ann", "first"))
            store.undo_vote("r1", "ann")
            times += 1
        return times

    with ThreadPoolExecutor(1) as pool:
        voter = pool.submit(vote_and_undo)
        try:
            seen = Counter()
            while len(seen) < 2 or seen.total() < 300:
                found = store.votes()
                assert all(len(round_.answers) == 3 for _, round_ in found)
                seen[len(found)] += 1
                assert not voter.done(), voter.result()
        finally:
            enough.set()
        assert voter.result() > 0
    assert set(seen) == {0, 1}


# --- personas and versions


def test_persona_is_replaced_by_its_own_rater_only(store: Store):
    mine = SavedPersona("sailor", "ann", "Sailor", "a sailor", "answer_as", 2.0)
    store.save_persona(mine)
    store.save_persona(replace(mine, principle="an old sailor", ratio=3.5))
    with pytest.raises(InputError, match=r"'Seaman'.*somebody else"):
        store.save_persona(replace(mine, rater="bob", name="Seaman", principle="stolen"))
    store.save_persona(SavedPersona("cook", "bob", "Cook", "a cook", "the_reader_is", 0.0))
    assert {p.id: replace(p, created="") for p in store.personas()} == {
        "sailor": replace(mine, principle="an old sailor", ratio=3.5),
        "cook": SavedPersona("cook", "bob", "Cook", "a cook", "the_reader_is", 0.0),
    }
    assert all(p.created for p in store.personas())


def test_version_comes_back_and_ids_count_on(store: Store):
    assert store.next_version_id() == "v1"
    for version_id in ("v9", "v10"):
        store.add_version(a_version(version_id), publish=False)
    assert store.next_version_id() == "v11"
    assert [replace(v, created="") for v in store.versions()] == [a_version("v10"), a_version("v9")]
    assert replace(store.version("v9"), created="") == a_version("v9")
    assert store.version("v9").published is True
    assert store.published("") == ""


def test_published_falls_back_from_the_persona_to_all_to_the_original(store: Store):
    assert (store.published("pirate"), store.published("")) == ("", "")
    store.add_version(a_version("v1"), publish=True)
    assert (store.published("pirate"), store.published("")) == ("v1", "v1")
    store.add_version(a_version("v2", "pirate"), publish=True)
    store.add_version(a_version("v3", "pirate"), publish=False)
    assert (store.published("pirate"), store.published("zen"), store.published("")) == ("v2", "v1", "v1")


def test_rollback_goes_to_an_older_version_and_to_the_original(store: Store):
    for version_id in ("v1", "v2"):
        store.add_version(a_version(version_id, "pirate"), publish=True)
    store.add_version(a_version("v3"), publish=True)
    store.publish("pirate", "v1")
    assert store.published("pirate") == "v1"
    store.publish("pirate", "")
    assert store.published("pirate") == ""  # the original on purpose, not the version for all
    assert store.published("zen") == "v3"
    store.publish("pirate", "v2")
    assert store.published("pirate") == "v2"


def test_version_that_does_not_exist_cannot_be_published(store: Store):
    store.add_version(a_version("v1"), publish=True)
    with pytest.raises(NotFoundError, match="'v2'"):
        store.publish("", "v2")
    with pytest.raises(NotFoundError, match="'v2'"):
        store.version("v2")
    assert store.published("") == "v1"


def test_version_that_exists_is_neither_replaced_nor_published_again(store: Store):
    store.add_version(a_version("v1"), publish=False)
    with pytest.raises(sqlite3.IntegrityError):
        store.add_version(a_version("v1", "pirate"), publish=True)
    assert store.published("pirate") == ""
    assert [v.scope for v in store.versions()] == [""]


# --- lineage and deletion


def test_lineage_comes_back(store: Store):
    version = replace(
        a_version("v2"), parent="v1", origin="upload", reference="", settings={"objective": "slic", "seed": 4}
    )
    store.add_version(version, publish=False, rounds={"r2": False, "r1": True})
    found = store.version("v2")
    assert replace(found, created="") == version and (found.objective, found.seed) == ("slic", 4)
    assert store.rounds_of("v2") == {"r2": False, "r1": True} and store.rounds_of("v1") == {}


@pytest.mark.parametrize("scope", ["", "pirate"])
def test_version_in_use_is_not_deleted_and_the_message_says_where(store: Store, scope: str):
    for version_id in ("v1", "v2"):
        store.add_version(a_version(version_id, scope), publish=True)
    assert store.uses() == {"v2": [scope]}
    with pytest.raises(InputError, match=f"in use for {scope or 'all personas'}; choose another"):
        store.delete_version("v2")
    assert store.version("v2").id == "v2"
    store.delete_version("v1")
    store.publish(scope, "")
    store.delete_version("v2")
    assert store.versions() == [] and store.uses() == {} and store.counts()["versions"] == 0
    assert store.deleted_versions() == ["v1", "v2"]


def test_deleted_version_is_gone_for_everybody_and_its_number_is_not_used_again(store: Store):
    store.add_version(a_version("v1"), publish=False)
    store.delete_version("v1")
    for call in (store.version, store.delete_version, lambda v: store.publish("", v)):
        with pytest.raises(NotFoundError, match="'v1' was deleted"):
            call("v1")
    assert store.published("") == "" and store.next_version_id() == "v2"
    with pytest.raises(NotFoundError, match="'v9' does not exist"):
        store.delete_version("v9")


def test_version_of_another_model_is_in_use_although_this_one_was_published_later(store: Store):
    """Each model keeps its own: the version comes back as soon as its model does."""
    store.add_version(a_version("v1"), publish=True)
    store.add_version(replace(a_version("v2"), model_revision="other"), publish=True)
    assert (store.published("", "abc"), store.published("", "other")) == ("v1", "v2")
    assert store.uses() == {"v1": [""], "v2": [""]}
    with pytest.raises(InputError, match="in use"):
        store.delete_version("v1")


def test_what_is_told_to_be_in_use_is_what_answers(store: Store):
    """Any history of publications: a version is in use for a scope exactly if the scope's own publication is what its model answers with."""
    chance = random.Random(0)
    scopes, models = ["", "pirate", "zen"], ["abc", "other"]
    for number in range(1, 7):
        store.add_version(replace(a_version(f"v{number}"), model_revision=models[number % 2]), publish=False)
    for _ in range(40):
        store.publish(chance.choice(scopes), chance.choice(["", *(f"v{n}" for n in range(1, 7))]))
        told = {(version, scope) for version, used in store.uses().items() for scope in used}
        answers = {(store.published(scope, model), scope) for scope in scopes for model in models}
        fallbacks = {(store.published("", model), scope) for scope in scopes for model in models}
        assert told >= {pair for pair in answers - fallbacks if pair[0]}
        assert {version for version, _ in told} == {version for version, _ in answers | fallbacks if version}


def test_of_publishing_and_deleting_at_once_one_is_refused(store: Store):
    for number in range(1, 9):
        store.add_version(a_version(f"v{number}"), publish=False)

    def race(thread: int) -> str:
        version = f"v{thread // 2 + 1}"
        try:
            store.publish(version, version) if thread % 2 else store.delete_version(version)
        except (NotFoundError, InputError):
            return "refused"
        return "done"

    results = at_once(race)
    assert [sorted(results[i : i + 2]) for i in range(0, 8, 2)] == [["done", "refused"]] * 4


# --- annotators' votes


def an_ai_vote(**changes: Any) -> AIVote:
    vote = AIVote(
        run="run-1",
        step=3,
        persona="curt",
        principle="Be brief.",
        annotator="endpoint",
        annotator_model="judge-1",
        messages=[{"role": "user", "content": 'What is "π"?'}],
        first="A number 🏴‍☠️.",
        second="Well, a number.",
        choice="first",
        margin=None,
        forwards=0,
        prompt_tokens=200,
        completion_tokens=2,
        model="tiny",
        model_revision="r",
    )
    return replace(vote, **changes)


def test_annotators_votes_come_back_by_persona_and_are_no_peoples_votes(store: Store):
    store.add_ai_votes([an_ai_vote(), an_ai_vote(choice="", margin=-0.25), an_ai_vote(persona="zen")])
    found = store.ai_votes("curt")
    assert all(vote.created for vote in found)
    assert [replace(vote, created="") for vote in found] == [an_ai_vote(), an_ai_vote(choice="", margin=-0.25)]
    assert len(store.ai_votes()) == 3 and store.ai_votes("pirate") == []
    assert store.votes() == [] and store.count_decisive() == 0 and store.counts()["votes"] == 0


def test_annotators_votes_are_stored_all_or_none(store: Store):
    with pytest.raises(InputError, match="half of a character"):
        store.add_ai_votes([an_ai_vote(), an_ai_vote(first="\ud83c")])
    assert store.ai_votes() == []


def test_conversations_of_rounds_come_once_and_newest_first(store: Store):
    for number, (persona, text) in enumerate([("zen", "Why?"), ("pirate", "How?"), ("zen", "How?"), ("zen", "Why?")]):
        store.add_round(replace(a_round(f"r{number}", persona), messages=[{"role": "user", "content": text}]))
    assert [m[0]["content"] for m in store.conversations()] == ["Why?", "How?"]
    assert [m[0]["content"] for m in store.conversations("pirate")] == ["How?"]
    assert (
        store.conversations("zen", most=1) == [[{"role": "user", "content": "Why?"}]]
        and store.conversations("robot") == []
    )


# --- schema


def test_first_schema_still_stands_and_later_steps_only_add_to_it(store: Store):
    found = tables(store.path)
    assert all(found[table][: len(columns)] == columns for table, columns in EXPECTED.items())
    db = Database(store.path)
    assert (1, ["round", "rater"]) in [(i.unique, i.columns) for i in db["votes"].indexes]
    assert {(key.column, key.other_table) for table in ("answers", "votes") for key in db[table].foreign_keys} == {
        ("round", "rounds")
    }
    assert db.journal_mode == "wal"
    db.close()


def test_migrations_applied_twice_do_nothing(store: Store):
    store.add_round(a_round())
    vote = store.vote(Vote("r1", "ann", "tie"))
    db = Database(store.path)
    schema, applied = db.schema, migrations.applied(db)
    assert {step.name for step in applied} >= {"m001_rounds_and_votes", "m006_studies"}
    migrations.apply(db)
    assert (db.schema, migrations.applied(db)) == (schema, applied)
    db.close()
    assert Store(store.path.parent).votes() == [(vote, store.round("r1"))]


@pytest.mark.parametrize("first_missing", ["m002_personas", "m003_versions"])
def test_old_database_is_migrated_with_its_rows(tmp_path: Path, first_missing: str):
    round_row = {
        **dict.fromkeys(EXPECTED["rounds"], ""),
        "id": "old",
        "created": "2020",
        "rater": "ann",
        "persona": "zen",
        "principles": "[]",
        "settings": '{"seed": 1}',
        "model": "starter",
        "messages": '[{"role": "user", "content": "Hi"}]',
        "blind": 0,
        "first_arm": "baseline",
        "second_arm": "linear_aligned",
    }
    answer_rows = [
        {"round": "old", "arm": arm, "text": arm, "token_ids": "[1]", "finish_reason": "stop", "seconds": 0.5}
        for arm in ("baseline", "linear_aligned")
    ]
    vote_row = dict(zip(EXPECTED["votes"], (5, "2020", "old", "bob", "second", "because", 1.5, "1"), strict=True))
    persona_row = dict(
        zip(EXPECTED["personas"], ("sailor", "2020", "ann", "Sailor", "a sailor", "answer_as", 2.0), strict=True)
    )

    db = Database(tmp_path / "plumbline.db")
    migrations.apply(db, stop_before=first_missing)
    db["rounds"].insert(round_row)
    db["answers"].insert_all(answer_rows)
    db["votes"].insert(vote_row)
    if first_missing == "m003_versions":
        db["personas"].insert(persona_row)
    db.close()
    assert first_missing.split("_")[1] not in tables(tmp_path / "plumbline.db")

    store = Store(tmp_path)
    assert tables(store.path) == tables(Store(tmp_path / "fresh").path)
    [(vote, round_)] = store.votes()
    assert vote == Vote("old", "bob", "second", "because", 1.5, "1", "2020")
    assert (round_.created, round_.settings, round_.blind) == ("2020", {"seed": 1}, False)
    assert round_.answers == {arm: Answer(arm, arm, [1], "stop", 0.5) for arm in ("baseline", "linear_aligned")}
    assert store.vote(Vote("old", "bob", "first")) == vote
    assert [replace(p, link="") for p in store.personas() if p.link] == (
        [
            SavedPersona(
                "sailor",
                "ann",
                "Sailor",
                "a sailor",
                "answer_as",
                2.0,
                "2020",
                public_wanted=True,
                public_approved=True,
            )
        ]
        if first_missing == "m003_versions"
        else []
    )
    store.add_version(a_version("v1"), publish=True)
    assert store.published("zen") == "v1"


def test_versions_of_an_old_database_keep_what_they_tell(tmp_path: Path):
    """A database as version 0.1 left it: its versions tell no objective, and nobody wrote down what they came after."""
    db = Database(tmp_path / "plumbline.db")
    migrations.apply(db, stop_before="m004_lineage")
    row = {
        "created": "2020",
        "scope": "zen",
        "model": "starter",
        "model_revision": "abc",
        "pairs_train": 8,
        "pairs_heldout": 2,
    }
    row |= {
        "metrics": '{"after": {"value": 1.0, "n": 2, "interval": [0.3, 1.0]}}',
        "seconds": 8.5,
        "published": 1,
        "reason": "good",
    }
    db["versions"].insert_all(
        [
            {**row, "id": "v1", "settings": '{"beta": 0.1, "seed": 3}'},
            {**row, "id": "v2", "settings": '{"objective": "ipo", "seed": 0}'},
        ]
    )
    db["publications"].insert({"created": "2020", "scope": "zen", "version": "v2"})
    db.close()
    store = Store(tmp_path)
    new, old = store.versions()
    assert (old.settings, old.objective, old.seed) == ({"beta": 0.1, "seed": 3, "objective": "dpo"}, "dpo", 3)
    assert (new.objective, new.seed) == ("ipo", 0)
    for version in (old, new):
        assert (version.parent, version.reference, version.origin) == (None, "base", "refresh")
        assert (version.scope, version.pairs_train, version.metrics["after"]["n"], version.created) == (
            "zen",
            8,
            2,
            "2020",
        )
    assert store.rounds_of("v1") == {} and store.published("zen") == "v2" and store.uses() == {"v2": ["zen"]}
    store.delete_version("v1")
    assert [version.id for version in store.versions()] == ["v2"] and store.next_version_id() == "v3"
    assert tables(store.path) == tables(Store(tmp_path / "fresh").path)


# --- files, disks and processes that fail


def test_file_of_random_bytes_is_refused_and_left_alone(tmp_path: Path):
    path = tmp_path / "plumbline.db"
    path.write_bytes(random.Random(0).randbytes(20_000))
    with pytest.raises(StorageError) as caught:
        Store(tmp_path)
    assert str(path) in str(caught.value)
    assert path.read_bytes() == random.Random(0).randbytes(20_000)


def test_database_with_damaged_pages_is_refused_and_left_alone(store: Store):
    for number in range(20):
        store.add_round(a_round(f"r{number}"))
        store.vote(Vote(f"r{number}", "ann", "first"))
    damaged = store.path.read_bytes()[:4096] + random.Random(0).randbytes(store.path.stat().st_size - 4096)
    store.path.write_bytes(damaged)
    for use in (store.votes, lambda: store.vote(Vote("r1", "bob", "tie")), lambda: Store(store.path.parent)):
        with pytest.raises(StorageError) as caught:
            use()
        assert str(store.path) in str(caught.value)
    assert store.path.read_bytes() == damaged


def test_data_folder_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "data").write_text("not a folder")
    with pytest.raises(StorageError, match="PLUMBLINE_DATA") as caught:
        Store(tmp_path / "data")
    assert str(tmp_path / "data") in str(caught.value)


def test_database_that_is_read_only_is_told_and_left_whole():
    """Root may write what nobody may, so another process gives its rights away, if it has any, and tries there."""
    script = """
folder = Path(sys.argv[1])
opened = Store(folder)
folder.chmod(0o555), opened.path.chmod(0o444)
if os.getuid() == 0:
    os.setuid(65534)
assert not os.access(folder, os.W_OK) and not os.access(opened.path, os.W_OK) and os.access(opened.path, os.R_OK)
for use in (lambda: opened.vote(Vote("r1", "bob", "tie")), lambda: opened.add_round(a_round("r2")), lambda: Store(folder)):
    try:
        use()
    except StorageError as error:
        print(error)
"""
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies in a folder that only its owner can enter
        folder = Path(name)
        folder.chmod(0o755)
        store = Store(folder)
        store.add_round(a_round())
        vote = store.vote(Vote("r1", "ann", "first"))
        try:
            told = subprocess.run(
                python(script, folder), cwd=ROOT, capture_output=True, text=True, check=True
            ).stdout.splitlines()
        finally:
            folder.chmod(0o755), store.path.chmod(0o644)
        assert len(told) == 3
        assert all(str(store.path) in line for line in told)
        assert store.votes() == [(vote, store.round("r1"))]
        assert store.counts()["rounds"] == 1
        assert integrity(store.path) == "ok"


def test_full_disk_is_told_and_what_was_acknowledged_stays(store: Store):
    script = """
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # a file that reaches the limit then fails to be written, as on a full disk
store = Store(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (600_000, 600_000))
for number in itertools.count():
    try:
        store.add_round(a_round(f"r{number}", text=f"{number} " * 2000))
        print("round", f"r{number}", flush=True)
        store.vote(Vote(f"r{number}", "ann", "first"))
        print("vote", f"r{number}", flush=True)
    except StorageError as error:
        sys.exit(str(error))
"""
    result = subprocess.run(python(script, store.path.parent), cwd=ROOT, capture_output=True, text=True, check=False)
    assert str(store.path) in result.stderr, result.stderr
    assert "Traceback" not in result.stderr
    acknowledged = {
        kind: [line.split()[1] for line in result.stdout.splitlines() if line.startswith(kind)]
        for kind in ("round", "vote")
    }
    assert len(acknowledged["vote"]) > 3

    assert integrity(store.path) == "ok"
    assert [vote.round for vote, _ in store.votes()] == acknowledged["vote"]
    for number, round_id in enumerate(acknowledged["round"]):
        assert replace(store.round(round_id), created="") == a_round(round_id, text=f"{number} " * 2000)
    assert store.counts()["rounds"] == len(acknowledged["round"])
    store.add_round(a_round("room again"))
    assert store.vote(Vote("room again", "ann", "tie")).choice == "tie"


@pytest.mark.parametrize("lines", [1, 8, 21, 40])
def test_kill_in_mid_write_loses_no_acknowledged_vote(store: Store, lines: int):
    script = """
store = Store(Path(sys.argv[1]))
for number in itertools.count():
    store.add_round(a_round(f"r{number}"))
    store.vote(Vote(f"r{number}", "ann", CHOICES[number % 4]))
    print(f"r{number}", flush=True)
"""
    with subprocess.Popen(python(script, store.path.parent), cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        acknowledged = [line.strip() for line in islice(process.stdout, lines)]
        process.kill()
        acknowledged += process.stdout.read().split()
    assert process.returncode == -9
    assert len(acknowledged) >= lines

    assert integrity(store.path) == "ok"
    assert Store(store.path.parent).counts()["rounds"] >= len(acknowledged)
    found = store.votes()
    stored = [vote.round for vote, _ in found]
    assert stored[: len(acknowledged)] == acknowledged
    assert len(stored) <= len(acknowledged) + 1  # the one that was stored when the kill came, before it was told
    assert all(replace(round_, created="") == a_round(round_.id) for _, round_ in found)
    assert all(vote.choice == CHOICES[number % 4] for number, (vote, _) in enumerate(found))
    store.add_round(a_round("afterwards"))
    assert store.vote(Vote("afterwards", "ann", "tie")).choice == "tie"
