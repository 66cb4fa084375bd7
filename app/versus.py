"""The use case *compare two versions*: one prompt, one arm, two adapter versions side by side, blind if wanted, stored as a round.

A side's name is its arm with the version that answered, as `baseline @ v3`; the statistics of votes call it the same. It knows
comparisons and rounds; no tensors and no page.
"""

import random
import secrets
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import zip_longest

from app.compare import Compare, Comparison, Progress, Request
from app.errors import InputError
from storage.records import Answer
from storage.store import Store
from storage.tallies import entity


@dataclass(frozen=True)
class Duel:
    """A comparison of two versions on its way.

    round_id: cannot be guessed; the vote goes by it.
    sides: by name, in the order in which they are shown.
    blind: whether the names are hidden until the vote.
    """

    round_id: str
    sides: dict[str, Comparison]
    blind: bool

    @property
    def names(self) -> tuple[str, str]:
        """Of the first side and of the second."""
        first, second = self.sides
        return first, second


class Versus:
    """Compares versions.

    Args:
        compare: what answers.
        store: where rounds are kept.
        running: by id, what may be cancelled; shared where another model has taken over and answers of the old one go on.
    """

    def __init__(self, compare: Compare, store: Store, running: dict[str, Duel] | None = None):
        self._compare, self._store = compare, store
        self._running = {} if running is None else running

    def start(self, request: Request, one: str, other: str, rater: str) -> Duel:
        """Checks what is asked for and, where `request.blind`, draws the sides by lot; nothing is computed yet.

        Args:
            request: with exactly one arm; its settings, the seed among them, hold for both sides.
            one, other: versions or mixtures, "none" for the original model.
            rater: who asks.

        Raises:
            InputError: not one arm, the same version twice, or as `Compare.start` says.
            NotFoundError: no such persona or version, or another rater's own.
            LimitError: the visitor asks for too much just now; both sides count.
        """
        if len(request.arms) != 1:
            raise InputError(
                f"{len(request.arms)} arms were asked for; two versions are compared on one, such as baseline"
            )
        asked = request.model_copy(update={"blind": False, "traces": False})
        begun = [
            self._compare.start(asked.model_copy(update={"adapter": version or "none"}), rater)
            for version in (one, other)
        ]
        if request.blind:
            random.SystemRandom().shuffle(begun)
        sides = {entity(request.arms[0], comparison.adapter): comparison for comparison in begun}
        if len(sides) == 1:
            raise InputError(
                f"both sides are answered by {begun[0].adapter or 'the original model'}; choose two different versions"
            )
        return Duel(secrets.token_urlsafe(12), sides, request.blind)

    def run(self, duel: Duel) -> Iterator[Progress]:
        """Gets in line with both sides and yields as they are written, by name, in step; stores the round before the last item.

        Raises:
            BusyError: too much is waiting.
            StorageError: the round could not be stored.
        """
        first, second = duel.sides.values()
        self._running[duel.round_id] = duel
        try:
            with closing(self._compare.answer(first)) as one, closing(self._compare.answer(second)) as other:
                latest: dict[str, Progress] = {}
                for steps in zip_longest(one, other):
                    latest |= {name: step for name, step in zip(duel.names, steps, strict=True) if step}
                    progress = Progress(
                        {name: _answer(name, latest[name]) for name in duel.names},
                        max(step.place for step in latest.values()),
                    )
                    if progress.done:
                        self._keep(duel, progress.answers)
                    yield progress
        finally:
            del self._running[duel.round_id]

    def cancel(self, round_id: str) -> None:
        """Stops both sides within one step; what was written so far is kept. Does nothing where they have ended."""
        if duel := self._running.get(round_id):
            for comparison in duel.sides.values():
                comparison.cancelled.set()

    def _keep(self, duel: Duel, answers: dict[str, Answer]) -> None:
        first, second = duel.names
        made = self._compare.round_of(duel.sides[first], answers)
        # The versions are in the names of the sides, and no one version has answered the round.
        self._store.add_round(
            replace(made, id=duel.round_id, adapter="", blind=duel.blind, first_arm=first, second_arm=second)
        )


def _answer(name: str, progress: Progress) -> Answer:
    (answer,) = progress.answers.values()
    return replace(answer, arm=name)
