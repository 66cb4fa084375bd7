"""The use case *share*: a round that may be shown, told and taken away, and the rounds of one's own. Knows no page and no model.

A blind round is told to nobody before somebody has voted on it, and a study's rounds are told to nobody here.
"""

from dataclasses import asdict
from typing import Any

from app.errors import InputError, NotFoundError
from storage.history import Past, choice_of, is_voted, rounds_of
from storage.records import Round
from storage.store import Store

MOST_ROUNDS = 50


class Share:
    """Shows rounds that are stored.

    Args:
        store: where they are.
    """

    def __init__(self, store: Store):
        self._store = store

    def shared(self, round_id: str) -> Round:
        """A round that may be shown to anybody who has its id, which cannot be guessed.

        Raises:
            NotFoundError: no such round, or it is a study's.
            InputError: it is blind, and nobody has voted on it.
        """
        round_ = self._store.round(round_id)
        if round_.item is not None:
            raise NotFoundError(
                f"the round {round_id[:40]!r} belongs to a study, whose rounds are not shared; start a comparison of your own"
            )
        if round_.blind and not is_voted(self._store.database, round_id):
            raise InputError(
                f"the round {round_id[:40]!r} is blind and has no vote yet; it can be shown once somebody has chosen an answer"
            )
        return round_

    def continued(self, round_id: str, rater: str) -> list[tuple[str, str]]:
        """The conversation up to and with the answer that a rater picked, as (role, text), ready for the next prompt.

        Raises:
            InputError: the rater has picked no answer, or one without a word.
            NotFoundError: no such round.
        """
        round_ = self._store.round(round_id)
        arm = {"first": round_.first_arm, "second": round_.second_arm}.get(
            choice_of(self._store.database, round_id, rater)
        )
        if arm is None:
            raise InputError("no answer of this round was picked; choose the better one first, then continue from it")
        text = round_.answers[arm].text
        if not text.strip():
            raise InputError("the answer that was picked is empty; start a new comparison")
        return [*((m["role"], m["content"]) for m in round_.messages), ("assistant", text)]

    def history(self, rater: str) -> list[Past]:
        """The newest rounds that a rater asked for, at most `MOST_ROUNDS`; none for nobody."""
        return rounds_of(self._store.database, rater, MOST_ROUNDS) if rater else []


def document(round_: Round) -> dict[str, Any]:
    """A round as JSON to take away: everything that decides its outcome and the answers, and nothing of who asked."""
    row = asdict(round_)
    return {key: row[key] for key in row if key not in ("rater", "item")}
