"""Sharing rounds on a real database: what may be told to whom, what is taken away, and how a conversation goes on."""

import base64
import html
import json
import re
from pathlib import Path

import pytest

from app.errors import InputError, NotFoundError
from app.share import MOST_ROUNDS, Share, document
from app.ui import share_render
from storage.records import Vote
from storage.store import Store
from tests.rounds import BAD, GOOD, a_round

HOSTILE = '<img src=x onerror="hacked()">'


@pytest.fixture
def share(store: Store) -> Share:
    return Share(store)


def of_a_study(store: Store, round_id: str) -> None:
    """Makes a stored round one of a study's."""
    with store.database.write() as db:
        study = {
            "id": "s",
            "created": "",
            "name": "n",
            "arms": "[]",
            "overlap": 1,
            "repeat": 0.0,
            "settings": "{}",
            "state": "open",
        }
        db["studies"].insert(study)
        db["study_items"].insert({"id": 7, "study": "s", "position": 0, "persona": "zen", "messages": "[]"})
        db["rounds"].update(round_id, {"item": 7})


def test_an_open_round_is_shared_and_survives_a_restart(store: Store, tmp_path: Path):
    store.add_round(a_round("open", "Why?", blind=False))
    assert Share(Store(tmp_path)).shared("open").answers["linear_aligned"].text == GOOD


def test_a_blind_round_is_told_only_after_a_vote(store: Store, share: Share):
    store.add_round(a_round("hidden", "Why?", blind=True))
    with pytest.raises(InputError, match="'hidden' is blind and has no vote yet"):
        share.shared("hidden")
    store.vote(Vote("hidden", "ann", "tie"))
    assert share.shared("hidden").id == "hidden"


def test_a_round_of_a_study_and_one_that_is_not_there_are_not_shared(store: Store, share: Share):
    store.add_round(a_round("studied", "Why?", blind=False))
    store.vote(Vote("studied", "ann", "first"))
    of_a_study(store, "studied")
    with pytest.raises(NotFoundError, match="belongs to a study"):
        share.shared("studied")
    with pytest.raises(NotFoundError, match="'nowhere' does not exist"):
        share.shared("nowhere")


def test_what_is_taken_away_says_everything_but_who_asked(store: Store, share: Share):
    store.add_round(a_round("open", "Why?", blind=False, rater="digest-of-ann"))
    taken = document(share.shared("open"))
    assert "digest-of-ann" not in json.dumps(taken)
    assert taken["answers"]["baseline"]["text"] == BAD
    assert {"id", "principles", "messages", "settings", "model_revision", "adapter", "first_arm"} <= set(taken)


@pytest.mark.parametrize(("choice", "text"), [("first", GOOD), ("second", BAD)])
def test_a_conversation_goes_on_from_the_answer_that_was_picked(store: Store, share: Share, choice: str, text: str):
    store.add_round(a_round("r", "Why?"))
    store.vote(Vote("r", "ann", choice))
    assert share.continued("r", "ann") == [("user", "Why?"), ("assistant", text)]


def test_without_a_pick_of_ones_own_nothing_goes_on(store: Store, share: Share):
    store.add_round(a_round("r", "Why?"))
    store.vote(Vote("r", "ben", "first"))
    store.vote(Vote("r", "eve", "tie"))
    for rater in ("ann", "eve"):
        with pytest.raises(InputError, match="choose the better one first"):
            share.continued("r", rater)


def test_history_is_ones_own_newest_first_and_without_studies(store: Store, share: Share):
    for number in range(MOST_ROUNDS + 2):
        store.add_round(a_round(f"r{number}", f"Question {number}?"))
    store.add_round(a_round("bens", "Whose?", rater="ben"))
    store.vote(Vote(f"r{MOST_ROUNDS + 1}", "ben", "first"))
    store.vote(Vote(f"r{MOST_ROUNDS}", "ann", "second"))
    of_a_study(store, f"r{MOST_ROUNDS - 1}")
    past = share.history("ann")
    assert [p.id for p in past[:3]] == [f"r{MOST_ROUNDS + 1}", f"r{MOST_ROUNDS}", f"r{MOST_ROUNDS - 2}"]
    assert len(past) == MOST_ROUNDS
    assert [p.choice for p in past[:2]] == ["", "second"]
    assert past[0].prompt == f"Question {MOST_ROUNDS + 1}?"
    assert share.history("") == []


def test_links_hold_the_round_as_a_file(store: Store, share: Share):
    store.add_round(a_round("open", HOSTILE, blind=False))
    taken = document(share.shared("open"))
    markup = share_render.links("open", "pirate", taken)
    (data,) = re.findall(r'href="data:application/json;base64,([^"]*)"', markup)
    assert json.loads(base64.b64decode(data)) == taken
    assert re.findall(r'data-copy="([^"]*)"', markup) == ["?r=open", "?persona=pirate"]


def test_texts_of_people_are_text_and_a_blind_round_without_a_vote_has_no_link(store: Store, share: Share):
    store.add_round(a_round("told", HOSTILE, blind=False))
    store.add_round(a_round("hidden", "Why?", blind=True))
    markup = share_render.history(share.history("ann"))
    assert "<img" not in markup and html.escape(HOSTILE) in markup
    assert re.findall(r'href="([^"]*)"', markup) == ["?r=told"]
    said = share_render.conversation([("user", HOSTILE), ("assistant", HOSTILE)])
    assert "<img" not in said and said.count(html.escape(HOSTILE)) == 2
    assert share_render.conversation([]) == ""
