"""The use case *vote*: the first vote of a rater stands, undo is a call of its own, and a rater is known by a digest."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.errors import InputError, NotFoundError
from app.label import Label, new_secret, rater_of
from storage.store import Store
from tests.rounds import a_round, answers

ANN, BOB = rater_of("ann's secret"), rater_of("bob's secret")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(tmp_path)
    for number in range(3):
        add_round(store, f"round{number}", "pirate" if number else "zen")
    return store


@pytest.fixture
def label(store: Store) -> Label:
    return Label(store)


def add_round(store: Store, id_: str, persona: str, texts: tuple[str, str] = ("plain", "Arr!")) -> None:
    baseline, aligned = texts
    given = answers(baseline=baseline, linear_aligned=aligned)
    store.add_round(a_round(id_, f"Question {id_}?", persona, rater=ANN, answers=given, blind=id_ == "round2"))


def test_vote_tells_which_arm_stood_where(label: Label):
    vote, round_ = label.vote("round1", "first", ANN, " Sounds salty. ", 2.5)
    assert (vote.choice, vote.rater, vote.reason, vote.dwell_seconds) == ("first", ANN, "Sounds salty.", 2.5)
    assert vote.consent_version == "" and vote.created
    assert (round_.id, round_.first_arm, round_.second_arm) == ("round1", "linear_aligned", "baseline")


def test_repeated_vote_returns_the_first(label: Label, store: Store):
    first, _ = label.vote("round1", "first", ANN, "because")
    for choice in ("second", "tie", "both_bad", "first"):
        assert label.vote("round1", choice, ANN)[0] == first
    assert len(store.votes()) == 1


def test_every_rater_has_a_vote_of_their_own_on_every_round(label: Label, store: Store):
    for rater in (ANN, BOB):
        for number, choice in enumerate(("first", "second", "tie")):
            assert label.vote(f"round{number}", choice, rater)[0].choice == choice
    assert len(store.votes()) == 6


def test_undo_takes_the_own_vote_back_and_only_that(label: Label, store: Store):
    label.vote("round1", "first", ANN)
    label.vote("round1", "second", BOB)
    assert label.undo("round1", ANN) and not label.undo("round1", ANN)
    assert [vote.rater for vote, _ in store.votes()] == [BOB]
    assert label.vote("round1", "both_bad", ANN)[0].choice == "both_bad"


def test_undo_of_nothing_is_false_and_of_no_round_an_error(label: Label):
    assert not label.undo("round1", ANN) and not label.undo("round1", "")
    with pytest.raises(NotFoundError, match="'forged' does not exist"):
        label.undo("forged", ANN)


def test_a_blind_choice_stands_since_it_has_shown_the_sides(label: Label, store: Store):
    label.vote("round2", "first", ANN)
    with pytest.raises(InputError, match="blind choice cannot be taken back"):
        label.undo("round2", ANN)
    assert len(store.votes()) == 1


def test_votes_at_once_leave_one(label: Label, store: Store):
    barrier = threading.Barrier(8)

    def press(number: int) -> str:
        barrier.wait(60)
        return label.vote("round1", ("first", "second")[number % 2], ANN)[0].choice

    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(press, range(8)))) == 1
    assert len(store.votes()) == 1


@pytest.mark.parametrize("choice", ["", "First", "third", "baseline", "first; drop table votes", "f" * 50_000])
def test_choice_that_is_none_of_the_four_is_refused(label: Label, store: Store, choice: str):
    with pytest.raises(InputError, match="first, second, tie, both_bad") as caught:
        label.vote("round1", choice, ANN)
    assert len(str(caught.value)) < 300 and store.votes() == []


@pytest.mark.parametrize("round_id", ["", "forged", "round", "' or 1=1 --", "r" * 50_000])
def test_round_that_was_never_given_out_is_refused(label: Label, round_id: str):
    with pytest.raises(NotFoundError, match="does not exist") as caught:
        label.vote(round_id, "first", ANN)
    assert len(str(caught.value)) < 300


def test_vote_without_a_rater_and_reason_too_long_are_refused(label: Label, store: Store):
    with pytest.raises(InputError, match="without a rater"):
        label.vote("round1", "first", rater_of(""))
    with pytest.raises(InputError, match="2001 characters long; it may have 2000"):
        label.vote("round1", "first", ANN, "r" * 2001)
    assert store.votes() == []


def test_rater_is_a_digest_that_does_not_give_the_secret_away(label: Label, store: Store):
    secret = new_secret()
    rater = rater_of(secret)
    assert rater == rater_of(secret) and rater not in (secret, rater_of(secret[:-1])) and rater.isalnum()
    label.vote("round1", "first", rater)
    with sqlite3.connect(store.path) as connection:
        dump = "\n".join(connection.iterdump())
    assert rater in dump and secret not in dump
    assert rater_of(rater) != rater  # whoever reads the database cannot vote as them


def test_secrets_do_not_repeat():
    assert len({new_secret() for _ in range(1000)}) == 1000 and all(len(new_secret()) >= 32 for _ in range(10))


def test_clear_choices_counts_what_can_be_learnt_from(label: Label, store: Store):
    add_round(store, "same", "pirate", texts=("same", "same"))
    for id_, choice in (("round0", "first"), ("round1", "second"), ("round2", "tie"), ("same", "first")):
        label.vote(id_, choice, ANN)
    assert (
        label.clear_choices(),
        label.clear_choices("pirate"),
        label.clear_choices("zen"),
        label.clear_choices(""),
    ) == (2, 1, 1, 0)
