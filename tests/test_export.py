"""Votes as rows: which votes count, which arm was chosen, what each format holds."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.data import ROWS, with_principles
from app.prompts import SYSTEM_TEXT
from storage.export import (
    ai_preference_rows,
    beside_annotators,
    decisive,
    demonstration_rows,
    preference_rows,
    unpaired_rows,
    vote_rows,
)
from storage.export_columns import COLUMNS, columns_of
from storage.records import AIVote, Round, Vote
from storage.store import Store
from tests import rounds

TEXTS = {"baseline": "A number.", "linear_aligned": "Arr, a number 🏴‍☠️!"}


def a_round(first: str = "baseline", second: str = "linear_aligned", **changes: Any) -> Round:
    """A round of three arms, of which two were shown on the sides given."""
    fields = {
        "rater": "asker",
        "settings": {"seed": 7, "ratio": 2.0},
        "model": "starter",
        "model_revision": "abc",
        "adapter": "v3",
        "first_arm": first,
        "second_arm": second,
        "app_version": "1.2.3",
        "answers": rounds.answers(**TEXTS, principle_prompted="Nobody saw this."),
    }
    return rounds.a_round("r1", "What is pi?", **{**fields, **changes})


def with_texts(first: str, second: str) -> Round:
    """A round with these answers on its first and second side."""
    return a_round(answers=rounds.answers(baseline=first, linear_aligned=second))


def a_vote(choice: str, **changes: Any) -> Vote:
    return Vote("r1", "ann", choice, "funnier", 2.5, "1", "2030-01-01", ("tone",), **changes)


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_vote_without_a_preference_is_no_pair(choice: str):
    assert list(preference_rows([(a_vote(choice), a_round())])) == []


@pytest.mark.parametrize(
    ("choice", "first", "second", "chosen_arm"),
    [
        ("first", "baseline", "linear_aligned", "baseline"),
        ("second", "baseline", "linear_aligned", "linear_aligned"),
        ("first", "linear_aligned", "baseline", "linear_aligned"),
        ("second", "linear_aligned", "baseline", "baseline"),
    ],
)
def test_side_is_mapped_to_the_arm_that_stood_there(choice: str, first: str, second: str, chosen_arm: str):
    rejected_arm = "linear_aligned" if chosen_arm == "baseline" else "baseline"
    vote, round_ = a_vote(choice), a_round(first, second)
    assert list(decisive([(vote, round_)])) == [(vote, round_, chosen_arm, rejected_arm)]
    [row] = preference_rows([(vote, round_)])
    assert (row["chosen_arm"], row["rejected_arm"], row["chosen_side"]) == (chosen_arm, rejected_arm, choice)
    assert row["chosen"] == [{"role": "assistant", "content": TEXTS[chosen_arm]}]
    assert row["rejected"] == [{"role": "assistant", "content": TEXTS[rejected_arm]}]


@pytest.mark.parametrize(
    ("choice", "first", "second", "kept"),
    [
        ("first", "same", "same", False),
        ("second", "same", "same", False),
        ("first", "", "words", False),  # nothing to learn towards
        ("first", " \n", "words", False),
        ("second", "", "words", False),  # TRL and our own reader refuse an empty answer
        ("first", "words", "Words", True),
    ],
)
def test_equal_and_empty_answers_are_no_pair(choice: str, first: str, second: str, kept: bool):
    assert len(list(preference_rows([(a_vote(choice), with_texts(first, second))]))) == kept


@pytest.mark.parametrize(("reason", "kept"), [("end", 1), ("length", 1), ("cancelled", 0), ("deadline", 0)])
@pytest.mark.parametrize("arm", ["baseline", "linear_aligned"])
def test_answer_that_was_stopped_teaches_nothing(arm: str, reason: str, kept: int, tmp_path: Path):
    """In the pairs and in the database's own count."""
    stopped = a_round()
    answers_ = {name: replace(a, finish_reason=reason if name == arm else "end") for name, a in stopped.answers.items()}
    stopped = replace(stopped, answers=answers_)
    assert len(list(preference_rows([(a_vote("first"), stopped)]))) == kept
    store = Store(tmp_path)
    store.add_round(stopped)
    store.vote(replace(a_vote("first"), round=stopped.id))
    assert store.count_decisive() == kept


def test_row_says_where_it_comes_from():
    [row] = preference_rows([(a_vote("second"), a_round())])
    assert row == {
        "prompt": [{"role": "user", "content": "What is pi?"}],
        "chosen": [{"role": "assistant", "content": TEXTS["linear_aligned"]}],
        "rejected": [{"role": "assistant", "content": TEXTS["baseline"]}],
        "persona": "pirate",
        "study": "",
        "with_principle": False,
        "chips": ["tone"],
        "principles": [{"text": "Answer as a pirate.", "weight": 1.0}],
        "chosen_arm": "linear_aligned",
        "rejected_arm": "baseline",
        "chosen_side": "second",
        "blind": True,
        "reason": "funnier",
        "settings": '{"seed": 7, "ratio": 2.0}',
        "seed": 7,
        "model": "starter",
        "model_revision": "abc",
        "adapter": "v3",
        "rater": "ann",  # who voted, not who asked
        "round": "r1",
        "created": "2030-01-01",
        "consent_version": "1",
        "app_version": "1.2.3",
    }


def test_original_model_is_no_adapter():
    [row] = preference_rows([(a_vote("first"), a_round(adapter=""))])
    assert row["adapter"] == ""


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


@pytest.mark.parametrize(
    ("choice", "labels"),
    [
        ("first", [("baseline", "first", True), ("linear_aligned", "second", False)]),
        ("second", [("linear_aligned", "second", True), ("baseline", "first", False)]),
        ("both_bad", [("baseline", "first", False), ("linear_aligned", "second", False)]),
        ("tie", []),
    ],
)
def test_unpaired_labels(choice: str, labels: list):
    rows = list(unpaired_rows([(a_vote(choice), a_round())]))
    assert [(row["arm"], row["side"], row["label"]) for row in rows] == labels
    assert [row["completion"] for row in rows] == [said(TEXTS[arm]) for arm, _, _ in labels]
    assert not any(row["edited"] for row in rows)


def test_an_edited_answer_is_good_and_a_demonstration():
    vote = a_vote("tie", edited_side="second", edited="Arr, 3.14!")
    (row,) = unpaired_rows([(vote, a_round())])
    assert (row["completion"], row["label"], row["arm"], row["side"], row["edited"]) == (
        said("Arr, 3.14!"), True, "linear_aligned", "second", True
    )  # fmt: skip
    (row,) = demonstration_rows([(vote, a_round()), (a_vote("first"), a_round())])
    assert (row["completion"], row["original"], row["arm"], row["side"]) == (
        said("Arr, 3.14!"), TEXTS["linear_aligned"], "linear_aligned", "second"
    )  # fmt: skip


def test_both_bad_answers_that_were_stopped_or_are_empty_are_no_label():
    stopped = a_round()
    stopped.answers["baseline"] = replace(stopped.answers["baseline"], finish_reason="deadline")
    assert [row["arm"] for row in unpaired_rows([(a_vote("both_bad"), stopped)])] == ["linear_aligned"]
    assert [row["arm"] for row in unpaired_rows([(a_vote("both_bad"), with_texts(" ", "x"))])] == ["linear_aligned"]


@pytest.mark.parametrize("choice", ["first", "second", "tie", "both_bad"])
def test_every_vote_is_a_raw_row(choice: str):
    stopped = a_round("linear_aligned", "baseline")
    stopped.answers["baseline"] = replace(stopped.answers["baseline"], finish_reason="cancelled")
    (row,) = vote_rows([(a_vote(choice), stopped)])
    chosen = {"first": "linear_aligned", "second": "baseline"}.get(choice, "")
    assert (row["choice"], row["chosen_arm"], row["first_arm"], row["second_arm"]) == (
        choice, chosen, "linear_aligned", "baseline"
    )  # fmt: skip
    assert (row["first"], row["second"], row["second_finish"]) == (
        TEXTS["linear_aligned"], TEXTS["baseline"], "cancelled"
    )  # fmt: skip
    assert row["dwell_seconds"] == 2.5


def test_the_principle_enters_the_prompt_as_the_prompted_arm_saw_it():
    (row,) = preference_rows([(a_vote("first"), a_round())], with_principles)
    assert row["prompt"] == [
        {"role": "system", "content": f"{SYSTEM_TEXT} Answer as a pirate."},
        {"role": "user", "content": "What is pi?"},
    ]
    assert row["with_principle"] is True
    several = [
        {"text": "Be brief.", "weight": 1.0},
        {"text": "Swear.", "weight": -1.0},
        {"text": "Rhyme.", "weight": 0.5},
    ]
    (row,) = preference_rows([(a_vote("first"), a_round(principles=several))], with_principles)
    assert row["prompt"][0]["content"] == f"{SYSTEM_TEXT} Be brief. Rhyme."
    (row,) = preference_rows([(a_vote("first"), a_round(principles=[]))], with_principles)
    assert row["prompt"][0]["content"] == SYSTEM_TEXT


def test_the_study_of_an_item_is_named():
    votes = [(a_vote("first"), a_round(item=4)), (a_vote("first"), a_round())]
    assert [row["study"] for row in preference_rows(votes, studies={4: "Tone"})] == ["Tone", ""]


def test_rows_have_exactly_the_columns_that_are_described():
    vote = a_vote("first", edited_side="first", edited="Better.")
    assert set(ROWS) == set(COLUMNS)
    for format_, rows in ROWS.items():
        for row in rows([(vote, a_round())]):
            assert set(row) == {column.name for column in columns_of(format_)}, format_
    ai = AIVote(
        "run", 1, "pirate", "Be brief.", "by_length", "", rounds.a_round("r", "Why?").messages, "a", "bb", "first", 1.0,
        1, 1, 1, "starter", "abc",
    )  # fmt: skip
    both = [*beside_annotators(preference_rows([(vote, a_round())])), *ai_preference_rows([ai], with_principles)]
    assert len(both) == 2 and both[1]["prompt"][0]["content"] == f"{SYSTEM_TEXT} Be brief."
    for row in both:
        assert set(row) == {column.name for column in columns_of("preference", with_ai_votes=True)}
