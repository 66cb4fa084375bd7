"""The use case *vote*: a rater's choice on a round. Knows rounds and votes; no model, no page."""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import replace

from app.errors import InputError
from app.limits import spend
from app.prompts import MAX_PROMPT_CHARACTERS, clean
from storage.bans import BanTable
from storage.raters import RaterTable
from storage.records import Round, Vote
from storage.store import Store

MOST_CHIPS = 12
LONGEST_CHIP = 60
SESSION = re.compile(r"[A-Za-z0-9_-]{0,64}")


class Label:
    """Takes votes.

    Args:
        store: where rounds and votes are kept.
    """

    def __init__(self, store: Store):
        self._store, self._raters, self._bans = store, RaterTable(store.database), BanTable(store.database)

    def vote(
        self,
        round_id: str,
        choice: str,
        rater: str,
        reason: str = "",
        dwell_seconds: float | None = None,
        *,
        chips: Sequence[str] = (),
        edited_side: str = "",
        edited: str = "",
        session: str = "",
    ) -> tuple[Vote, Round]:
        """Records a choice by side and returns the vote that stands, with the round it reveals.

        It carries the version of the text that the rater agreed to; "" for somebody who never was asked. In a study the task is done
        with it, in the same transaction.

        Args:
            round_id: as the comparison gave it out.
            choice: "first", "second", "tie" or "both_bad".
            rater: the digest of the rater's secret, see `rater_of`.
            reason: a person's own words, optional.
            dwell_seconds: from the end of the answers to the choice, as far as it is known.
            chips: reasons that were offered and picked.
            edited_side, edited: which answer the rater rewrote, "first" or "second", and how; both or neither.
            session: one visit of the rater's, drawn by the browser.

        Raises:
            InputError: no such choice, the reason is too long, or what goes with it is malformed; or the task was skipped.
            NotFoundError: no such round, or one of a study that this rater was not handed.
            LimitError: too many votes just now.
            NotAllowedError: the owner banned the rater.
        """
        if not rater:
            raise InputError("the vote came without a rater; reload the page, or send a rater of your own")
        self._bans.refuse(rater)
        if not SESSION.fullmatch(session):
            raise InputError(f"the session is {session[:40]!r}; it may have 64 letters, digits, - and _ at most")
        vote = Vote(
            round_id, rater, choice, reason.strip(), dwell_seconds, session=session, chips=_checked_chips(chips)
        )
        spend("votes", rater)
        round_ = self._store.round(round_id)
        side, text = _checked_edit(edited_side, edited, round_)
        consent = self._raters.get(rater).consent_version
        return self._store.vote(replace(vote, edited_side=side, edited=text, consent_version=consent)), round_

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


def _checked_chips(chips: Sequence[str]) -> tuple[str, ...]:
    if len(chips) > MOST_CHIPS:
        raise InputError(f"{len(chips)} reasons were picked; {MOST_CHIPS} are the most at once")
    return tuple(dict.fromkeys(clean(str(chip), "a reason that was picked", LONGEST_CHIP) for chip in chips))


def _checked_edit(side: str, text: str, round_: Round) -> tuple[str, str]:
    """Side and text of a rewritten answer; nothing where the text is the answer's own."""
    if not side and not text.strip():
        return "", ""
    if side not in ("first", "second"):
        raise InputError(f"the answer that was rewritten is {side[:40]!r}; it must be first or second")
    text = clean(text, "the rewritten answer", MAX_PROMPT_CHARACTERS)
    arm = round_.first_arm if side == "first" else round_.second_arm
    return ("", "") if text == round_.answers[arm].text.strip() else (side, text)


def new_secret() -> str:
    """A secret for a browser to keep; whoever holds it is that rater."""
    return secrets.token_urlsafe(24)


def rater_of(secret: str) -> str:
    """What is stored of a rater: a digest, so that neither the database nor an export lets anyone vote as them."""
    return hashlib.sha256(f"plumbline-rater:{secret}".encode()).hexdigest()[:24] if secret else ""
