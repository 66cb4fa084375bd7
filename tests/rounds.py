"""Rounds, answers and votes as the store takes them, for tests that need choices and no model that answers."""

from dataclasses import replace
from typing import Any

from storage.database import now
from storage.records import Answer, Choice, Round, Vote
from storage.store import Store

GOOD, BAD = "tea, matey", "the sky"


def answers(**texts: str) -> dict[str, Answer]:
    """One answer an arm, from its text."""
    return {arm: Answer(arm, text, [number], "end", 0.1) for number, (arm, text) in enumerate(texts.items(), start=1)}


def a_round(id_: str, prompt: str, persona: str = "pirate", **changes: Any) -> Round:
    """Ann's blind round with GOOD of `linear_aligned` on the first side and BAD of `baseline` on the second."""
    round_ = Round(
        id=id_,
        rater="ann",
        persona=persona,
        principles=[{"text": "Answer as a pirate.", "weight": 1.0}],
        messages=[{"role": "user", "content": prompt}],
        settings={"seed": 1},
        model="tiny",
        model_revision="r",
        adapter="",
        blind=True,
        first_arm="linear_aligned",
        second_arm="baseline",
        app_version="0",
        answers=answers(linear_aligned=GOOD, baseline=BAD),
    )
    return replace(round_, **changes)


def hand_out(store: Store, round_id: str, rater: str, repeat: int = 0) -> None:
    """Gives a rater the task of a study's round."""
    with store.database.write() as db:
        item = next(db["rounds"].rows_where("id = ?", [round_id]))["item"]
        db["assignments"].insert(
            {"created": now(), "item": item, "rater": rater, "round": round_id, "repeat": repeat, "state": "open"}
        )


def add_choice(
    store: Store,
    number: int,
    persona: str = "pirate",
    choice: Choice = "first",
    rater: str = "ann",
    **changes: Any,
) -> None:
    """Stores a round and a rater's vote on it."""
    round_ = a_round(f"{persona}-{number}", f"Question {number} of {persona}?", persona, **changes)
    store.add_round(round_)
    if round_.item is not None:
        hand_out(store, round_.id, rater)
    store.vote(Vote(round_.id, rater, choice))
