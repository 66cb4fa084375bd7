"""The schema as it is described, as other tools see it, and as it comes from every earlier one."""

import asyncio
import re
import sqlite3
from pathlib import Path

import pytest
from datasette.app import Datasette
from sqlite_utils import Database

from storage.migrations import migrations
from storage.records import Vote
from storage.search import search
from storage.store import Store
from tests.rounds import a_round
from tests.test_store import an_ai_vote, tables

DESCRIBED = Path(__file__).parent.parent / "storage" / "README.md"


def described() -> dict[str, list[str]]:
    """Table -> columns as the page says."""
    sections = re.split(r"^## ", DESCRIBED.read_text(), flags=re.MULTILINE)[1:]
    found = {}
    for section in sections:
        rows = re.findall(r"^\| (\w+) \| (.+) \|$", section, flags=re.MULTILINE)
        assert rows[0][0] == "column" and all(what.strip() for _, what in rows)
        assert section.splitlines()[1].strip().endswith((".", ":", "in"))  # a sentence on the table
        found[section.splitlines()[0].strip()] = [name for name, _ in rows[1:]]
    return found


def test_every_table_and_column_is_described_and_nothing_else(tmp_path: Path):
    store = Store(tmp_path)
    inside = re.compile(r"_fts_(data|idx|docsize|config|content)$")  # what SQLite keeps an index in
    real = {name: columns for name, columns in tables(store.path).items() if not inside.search(name)}
    assert {name: sorted(columns) for name, columns in described().items()} == {
        name: sorted(columns) for name, columns in real.items()
    }


def test_datasette_serves_every_table_and_searches_the_texts(tmp_path: Path):
    """The real one, on a database that has a vote in it."""
    store = Store(tmp_path)
    store.add_round(a_round("r1", "Where is the pelican?"))
    store.vote(Vote(round="r1", rater="ann", choice="first"))
    datasette = Datasette([str(store.path)])

    async def served() -> dict[str, list[dict]]:
        await datasette.invoke_startup()
        paths = [f"{name}.json?_shape=array" for name in tables(store.path)]
        paths += ["texts.json?_shape=array&_search=pelican", "texts.json?_shape=array&_search=walrus"]
        answers = [await datasette.client.get(f"/{store.path.stem}/{path}") for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return {path: answer.json() for path, answer in zip(paths, answers, strict=True)}

    rows = asyncio.run(served())
    assert rows["rounds.json?_shape=array"][0]["id"] == "r1"
    assert [row["choice"] for row in rows["votes.json?_shape=array"]] == ["first"]
    assert rows["texts.json?_shape=array&_search=pelican"]
    assert rows["texts.json?_shape=array&_search=walrus"] == []


def test_datasette_finds_the_links_and_the_index(tmp_path: Path):
    """As it looks for them: foreign keys in the tables, and an index by the words of its definition."""
    db = Database(Store(tmp_path).path)
    assert db["texts"].detect_fts() == "texts_fts"
    links = {(t.name, key.column, key.other_table) for t in db.tables for key in t.foreign_keys}
    assert links >= {
        ("answers", "round", "rounds"),
        ("votes", "round", "rounds"),
        ("rounds", "item", "study_items"),
        ("study_items", "study", "studies"),
        ("assignments", "item", "study_items"),
        ("texts", "round", "rounds"),
    }
    db.close()


OLD_ROWS = {
    "m001_rounds_and_votes": {
        "rounds": {
            "id": "old",
            "created": "2020",
            "rater": "ann",
            "persona": "zen",
            "principles": '[{"text": "Be calm.", "weight": 1.0}]',
            "messages": '[{"role": "user", "content": "Where is the pelican?"}]',
            "settings": '{"seed": 1}',
            "model": "starter",
            "model_revision": "abc",
            "adapter": "",
            "blind": 1,
            "first_arm": "baseline",
            "second_arm": "linear_aligned",
            "app_version": "0.1",
        },
        "votes": {
            "id": 5,
            "created": "2020",
            "round": "old",
            "rater": "bob",
            "choice": "second",
            "reason": "funnier",
            "dwell_seconds": 1.5,
            "consent_version": "1",
        },
    },
    "m002_personas": {
        "personas": {
            "id": "sailor",
            "created": "2020",
            "rater": "ann",
            "name": "Sailor",
            "principle": "a sailor",
            "framing": "answer_as",
            "ratio": 2.0,
        }
    },
    "m003_versions": {
        "versions": {
            "id": "v1",
            "created": "2020",
            "scope": "zen",
            "model": "starter",
            "model_revision": "abc",
            "settings": '{"beta": 0.1, "seed": 3, "objective": "ipo"}',
            "pairs_train": 8,
            "pairs_heldout": 2,
            "metrics": "{}",
            "seconds": 8.5,
            "published": 1,
            "reason": "good",
        },
        "publications": {"created": "2020", "scope": "zen", "version": "v1"},
    },
    "m004_lineage": {"version_pairs": {"version": "v1", "round": "old", "held_out": 1}},
    "m005_ai_votes": {"ai_votes": {**vars(an_ai_vote()), "messages": "[]"}},
    "m006_studies": {
        "studies": {
            "id": "s",
            "created": "2020",
            "name": "Tone",
            "arms": '["baseline", "linear_aligned"]',
            "overlap": 2,
            "repeat": 0.1,
            "settings": "{}",
            "adapter": "",
            "model": "starter",
            "model_revision": "abc",
            "state": "open",
        },
        "study_items": {"id": 3, "study": "s", "position": 0, "persona": "zen", "messages": "[]"},
        "raters": {
            "id": "bob",
            "created": "2020",
            "name": "Bob",
            "kind": "browser",
            "consent_version": "1",
            "consented": "2020",
        },
        "assignments": {"item": 3, "rater": "bob", "round": "old", "repeat": 0, "state": "done"},
        "tombstones": {"created": "2020", "kind": "rater", "key": "eve"},
    },
}
STEPS = list(OLD_ROWS)


def old_database(path: Path, last: str) -> None:
    """A database as it was when `last` was the newest step, with a row in every table."""
    db = Database(path)
    following = dict(zip(STEPS, [*STEPS[1:], "m007_imports_and_search"], strict=True))
    migrations.apply(db, stop_before=following[last])
    for step in STEPS[: STEPS.index(last) + 1]:
        for table, row in OLD_ROWS[step].items():
            db[table].insert(row)
    if last == "m006_studies":
        db.execute("update votes set edited_side = 'first', edited = 'A heron, calmly.', chips = '[\"tone\"]'")
        db.conn.commit()
    for arm, text in (("baseline", "In the reeds."), ("linear_aligned", "Breathe. In the reeds.")):
        row = {"round": "old", "arm": arm, "text": text, "token_ids": "[1]", "finish_reason": "end", "seconds": 0.5}
        db["answers"].insert(row)
    db.close()


def rows_of(path: Path, columns: dict[str, list[str]]) -> dict[str, list[tuple]]:
    """What stands in these columns of these tables."""
    db = Database(path)
    found = {t: [tuple(row.values()) for row in db[t].rows_where(select=", ".join(c))] for t, c in columns.items()}
    db.close()
    return found


@pytest.mark.parametrize("last", STEPS)
def test_every_earlier_schema_is_brought_up_to_date_with_its_rows(tmp_path: Path, last: str):
    path = tmp_path / "plumbline.db"
    old_database(path, last)
    older = tables(path)
    rows = rows_of(path, older)
    assert set(older) < set(tables(Store(tmp_path / "fresh").path)) and all(rows.values())

    store = Store(tmp_path)
    assert tables(path) == tables(Store(tmp_path / "fresh").path)
    assert rows_of(path, older) == rows
    with sqlite3.connect(path) as db:
        assert db.execute("pragma foreign_key_check").fetchall() == []
        assert db.execute("pragma integrity_check").fetchone() == ("ok",)
    db.close()
    [(vote, round_)] = store.votes()
    edited = {"edited_side": "first", "edited": "A heron, calmly.", "chips": ("tone",)} if last == STEPS[-1] else {}
    assert vote == Vote("old", "bob", "second", "funnier", 1.5, "1", "2020", **edited)
    assert (round_.messages[0]["content"], round_.item, len(round_.answers)) == ("Where is the pelican?", None, 2)
    found = {(hit.part, word) for word in ("pelican", "reeds", "funnier", "heron") for hit in search(store.database, word)}  # fmt: skip
    assert found >= {("prompt", "pelican"), ("answer", "reeds"), ("reason", "funnier")}
    assert (("edited", "heron") in found) == (last == STEPS[-1])
    assert [v.id for v in store.versions()] == (["v1"] if STEPS.index(last) >= 2 else [])
    assert len(store.ai_votes()) == (1 if STEPS.index(last) >= 4 else 0)
    assert store.undo_vote("old", "bob") and search(store.database, "funnier") == []
