"""Full-text search on real files: what is found, that no sign is an operator, and that what is deleted is found no more."""

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InputError
from storage.records import Vote
from storage.search import as_phrases, search
from storage.store import Store
from tests.rounds import a_round, answers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    texts = answers(linear_aligned="Arr, the café is shut, matey!", baseline="It closes at NINE.")
    store.add_round(a_round("r1", "When does the Käse shop close?", answers=texts))
    store.add_round(a_round("r2", "Why is the sky blue?"))
    store.vote(Vote("r1", "ann", "first", "funnier words", edited_side="first", edited="Arr, it shut an hour ago."))
    return store


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("kase", [("r1", "prompt", "0")]),
        ("KÄSE shop", [("r1", "prompt", "0")]),
        ("cafe", [("r1", "answer", "linear_aligned")]),
        ("nine", [("r1", "answer", "baseline")]),
        ("funnier", [("r1", "reason", "ann")]),
        ("hour ago", [("r1", "edited", "ann")]),
        ("sky", [("r2", "answer", "baseline"), ("r2", "prompt", "0")]),
        ("shop nine", []),  # in one text
        ("xyzzy", []),
    ],
)
def test_words_are_found_where_they_stand(store: Store, text: str, found: list):
    assert sorted((hit.round, hit.part, hit.key) for hit in search(store.database, text)) == found


def test_passage_holds_the_words(store: Store):
    (hit,) = search(store.database, "shut matey")
    assert hit.passage == "Arr, the café is shut, matey!"


@pytest.mark.parametrize(
    "text",
    ["sky OR nine", "NOT sky", "sky NEAR nine", "text:sky", "text : sky", "^sky-blue*", '"sky', 'sky" OR "nine', "sk*", "{text}: sky", "sky + blue AND", "(sky"],
)  # fmt: skip
def test_no_sign_is_an_operator(store: Store, text: str):
    """Were they operators, each would find something or fail."""
    plain = {"^sky-blue*": {"r2"}, '"sky': {"r2"}, "(sky": {"r2"}}
    assert {hit.round for hit in search(store.database, text)} == plain.get(text, set())


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=30))
def test_any_text_is_a_query_or_a_sentence(text: str):
    try:
        phrases = as_phrases(text)
    except InputError:
        assert not any(map(str.isalnum, text))
        return
    db = sqlite3.connect(":memory:")
    db.execute("create virtual table words using fts5(text)")
    db.execute("insert into words values ('some')")
    db.execute("select * from words where words match ?", [phrases]).fetchall()
    db.close()


@pytest.mark.parametrize("text", ["", "  ", "***", '""', "x" * 501])
def test_nothing_to_search_for_is_a_sentence(store: Store, text: str):
    with pytest.raises(InputError, match="the search"):
        search(store.database, text)


def test_a_vote_that_is_taken_back_is_found_no_more(store: Store):
    assert store.undo_vote("r1", "ann")
    assert search(store.database, "funnier") == search(store.database, "hour ago") == []
    assert search(store.database, "nine")
    whole(store)


def test_a_vote_that_is_changed_is_found_by_its_new_words(store: Store):
    with store.database.write() as db:
        db.execute("update votes set reason = 'truer', edited = '' where rater = 'ann'")
    assert search(store.database, "funnier") == search(store.database, "hour") == []
    assert [hit.part for hit in search(store.database, "truer")] == ["reason"]
    whole(store)


def test_a_deleted_round_leaves_no_word(store: Store):
    with store.database.write() as db:
        for table, column in (("votes", "round"), ("answers", "round"), ("rounds", "id")):
            db[table].delete_where(f"{column} = ?", ["r1"])
    assert [search(store.database, word) for word in ("kase", "cafe", "nine", "funnier", "hour")] == [[]] * 5
    assert {hit.round for hit in search(store.database, "sky")} == {"r2"}
    with store.database.open() as db:
        assert {row["round"] for row in db["texts"].rows} == {"r2"}
    whole(store)


def test_the_index_outlives_a_vacuum(store: Store):
    """Row numbers of tables without an integer key change then, and an index over them would find other rounds."""
    with store.database.write() as db:
        for table, column in (("votes", "round"), ("answers", "round"), ("rounds", "id")):
            db[table].delete_where(f"{column} = ?", ["r1"])
    with store.database.open() as db:
        db.execute("vacuum")
    store.add_round(a_round("r3", "Why do cats purr?"))
    assert {hit.round for hit in search(store.database, "sky")} == {"r2", "r3"}
    assert {hit.round for hit in search(store.database, "purr")} == {"r3"}
    whole(store)


def whole(store: Store) -> None:
    """The index says what the table does; FTS5 checks it by itself and fails where not."""
    with store.database.write() as db:
        db.execute("insert into texts_fts(texts_fts, rank) values ('integrity-check', 1)")
