"""The use case *vote*: a rater's choice on a round. Knows rounds and votes; no model, no page."""

import hashlib
import secrets

from app.errors import InputError
from storage.records import Round, Vote
from storage.store import Store

CONSENT_VERSION = ""  # the page asks for no consent yet


class Label:
    """Takes votes.

    Args:
        store: where rounds and votes are kept.
    """

    def __init__(self, store: Store):
        self._store = store

    def vote(
        self, round_id: str, choice: str, rater: str, reason: str = "", dwell_seconds: float | None = None
    ) -> tuple[Vote, Round]:
        """Records a choice by side and returns the vote that stands, with the round it reveals.

        Args:
            round_id: as the comparison gave it out.
            choice: "first", "second", "tie" or "both_bad".
            rater: the digest of the rater's secret, see `rater_of`.
            reason: a person's own words, optional.
            dwell_seconds: from the end of the answers to the choice, as far as it is known.

        Raises:
            InputError: no such choice, or the reason is too long.
            NotFoundError: no such round.
        """
        if not rater:
            raise InputError("the vote came without a rater; reload the page, or send a rater of your own")
        vote = self._store.vote(Vote(round_id, rater, choice, reason.strip(), dwell_seconds, CONSENT_VERSION))
        return vote, self._store.round(round_id)

    def undo(self, round_id: str, rater: str) -> bool:
        """Takes the rater's vote on a round back; returns whether there was one.

        Raises:
            InputError: the round was blind: its sides have been shown, and a second choice would not be blind.
            NotFoundError: no such round.
        """
        if self._store.round(round_id).blind:
            raise InputError(
                "a blind choice cannot be taken back, since it has shown which answer is which; start a new comparison"
            )
        return self._store.undo_vote(round_id, rater)

    def clear_choices(self, persona: str | None = None) -> int:
        """How many decisive votes there are, of one persona or of all: what a refresh can learn from."""
        return self._store.count_decisive(persona)


def new_secret() -> str:
    """A secret for a browser to keep; whoever holds it is that rater."""
    return secrets.token_urlsafe(24)


def rater_of(secret: str) -> str:
    """What is stored of a rater: a digest, so that neither the database nor an export lets anyone vote as them."""
    return hashlib.sha256(f"plumbline-rater:{secret}".encode()).hexdigest()[:24] if secret else ""
