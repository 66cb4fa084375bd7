"""The use case *what choices teach*: how chosen answers differ from rejected ones, before anything is learnt from them.

Here votes, statistics and the model as a judge meet. It knows no page, and changes nothing.
"""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from app.annotators.implicit import ImplicitJudge
from app.errors import InputError
from app.insights.lessons import Lesson, Telling, lesson, lessons, telling_words
from app.model import LanguageModel
from app.worker import Worker
from storage.export import decisive
from storage.records import Round
from storage.store import Store

MOST_PAIRS = 300  # the newest; more would say the same more slowly


@dataclass(frozen=True)
class Taught:
    """What there is to learn from.

    pairs, prompts: clear choices, and different conversations among them.
    lessons: what the texts alone tell; see `app.insights.lessons`.
    words: words that stand on one side only.
    """

    pairs: int
    prompts: int
    lessons: list[Lesson]
    words: list[Telling]


class Learned:
    """Looks at choices.

    Args:
        model, worker: the judge, and the thread that owns it.
        store: the votes.
    """

    def __init__(self, model: LanguageModel, worker: Worker, store: Store):
        self._judge, self._worker, self._store = ImplicitJudge(model), worker, store
        # By round, the first side less the second. A stored round never changes, so that each is judged once.
        self._margins: dict[str, float | None] = {}
        self._one_at_a_time = threading.Lock()

    def texts(self, persona: str | None) -> Taught:
        """What the texts of the newest clear choices teach, of one persona or, with None, of all."""
        clear = list(decisive(self._store.votes(persona)))
        pairs = [(r.answers[chosen].text, r.answers[rejected].text) for _, r, chosen, rejected in clear[-MOST_PAIRS:]]
        prompts = {tuple((m["role"], m["content"]) for m in round_.messages) for _, round_, _, _ in clear}
        return Taught(len(clear), len(prompts), lessons(pairs), telling_words(pairs))

    def fidelity(self, persona: str | None) -> Lesson | None:
        """How much better the chosen answers follow the principle than the rejected ones, by the original model as judge.

        It is measured behind whoever waits for an answer. The fidelity of an answer y is
        `(log p(y | prompt, principle) - log p(y | prompt)) / tokens of y`, see `ImplicitJudge`. Rounds of several principles are
        left out.

        Returns:
            The lesson, in nats a token; None where there is nothing to measure.
        """
        clear = list(decisive(self._store.votes(persona)))[-MOST_PAIRS:]
        with self._one_at_a_time:
            new = {r.id: r for _, r, _, _ in clear if r.id not in self._margins and _follows_one(r)}
            for round_id, margin in self._worker.stream(partial(self._judged, list(new.values())), background=True):
                self._margins[round_id] = margin
            found = [(self._margins.get(r.id), chosen == r.first_arm) for _, r, chosen, _ in clear]
        differences = [margin if first else -margin for margin, first in found if margin is not None]
        return lesson("fidelity", differences) if differences else None

    def _judged(self, rounds: list[Round]) -> Iterator[tuple[str, float | None]]:
        for round_ in rounds:
            first, second = (round_.answers[arm].text for arm in (round_.first_arm, round_.second_arm))
            try:
                margin = self._judge.prefer(round_.messages, round_.principles[0]["text"], first, second).margin
            except InputError:  # longer than this model reads
                margin = None
            yield round_.id, margin


def _follows_one(round_: Round) -> bool:
    return len(round_.principles) == 1 and round_.principles[0]["weight"] == 1
