"""The use case *learn*: preference pairs to a new adapter version, measured on held-out pairs, published whole or not at all.

Here model and storage meet; it knows neither SQL nor Gradio.
"""

import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial

import torch
from torch import Tensor

from app.authority import Authority
from app.decoding.arms import DecodeSettings
from app.embedding import Embedder
from app.errors import BusyError, InputError
from app.insights import Share, share
from app.limits import spend
from app.model import LanguageModel
from app.prompts import with_system
from app.refresh.caps import capped
from app.refresh.pairs import Pair, Rated, make_pair, make_rated, split
from app.refresh.rows import training_rows
from app.refresh.sampling import sample_answers
from app.refresh.trainer import EncodedPair, RefreshSettings, Step, count_above_zero, encode, margins, train
from app.versions import Versions
from app.worker import Worker
from storage.export import decisive, decisive_ai, unpaired_rows
from storage.imported import imported
from storage.records import Round, Version, Vote
from storage.store import Store

SAMPLES = 3
SAMPLE_TOKENS = 96
IN_TRAINING = "in_training"
PAIRS_AT_ONCE = 8
UNASKED = "it was asked to stay unpublished; it can be published later"
ITS_RATERS = "it is yours alone: you can choose it in Compare, and only the owner of this page can publish it"


@dataclass(frozen=True)
class Sample:
    """A prompt with the plain model's greedy answer before and after a refresh."""

    prompt: str
    before: str
    after: str


@dataclass(frozen=True)
class Outcome:
    """What a refresh did. `before` and `after` are held-out accuracies against the base; `version` exists also if unpublished.

    rated: answers judged by themselves that were learnt from, beside the pairs.
    asked: a sentence that answers are to be asked with, as with a principle, where the objective wrote rewards into the prompts.
        `after` and the samples are of the version so asked; nobody is asked so unless they say it, and it is never published here.
    """

    version: str
    pairs_train: int
    pairs_heldout: int
    before: Share
    after: Share
    losses: list[float]
    seconds: float
    published: bool
    reason: str
    samples: list[Sample] = field(default_factory=list)
    rated: int = 0
    asked: str = ""


class Learn:
    """Refreshes, publishes and rolls back.

    Args:
        model, worker: the model and the thread that owns it.
        store, versions: votes and adapter versions.
        embedder: of the reward "embedding".
        authority: tells who may publish and roll back.
        rater_share: the most of a refresh that one rater may bring, see `app.refresh.caps`.
    """

    def __init__(
        self,
        model: LanguageModel,
        worker: Worker,
        store: Store,
        versions: Versions,
        embedder: Embedder,
        authority: Authority,
        rater_share: float = 1.0,
    ):
        self.model, self._worker, self._store, self._versions = model, worker, store, versions
        self._embedder = embedder
        self.authorise = authority.authorise
        self._rater_share = rater_share
        self._one_at_a_time = threading.Lock()

    def pairs(self, persona: str | None) -> list[Pair]:
        """Pairs from the decisive votes, of one persona or, with None, of all; prompts without the principle. Of a banned rater none,
        and of one who votes much more than the others the newest that their share allows.
        """
        votes = capped(decisive(self._store.votes(persona)), lambda item: item[0].rater, self._rater_share)
        return list(map(pair_of, votes))

    def rated(self, persona: str | None) -> list[Rated]:
        """Answers that people judged by themselves: both of a "both bad" as disliked, and rewritten ones as demonstrations. What a
        decisive vote says is in `pairs`."""
        judged = [item for item in self._store.votes(persona) if item[0].edited or item[0].choice == "both_bad"]
        return [
            make_rated(row["prompt"], row["completion"][0]["content"], row["label"], row["edited"], row["round"])
            for vote, round_ in capped(judged, lambda item: item[0].rater, self._rater_share)
            for row in unpaired_rows([(vote, round_)])
            if row["edited"] or vote.choice == "both_bad"
        ]

    def ai_pairs(self, persona: str | None) -> list[Pair]:
        """Pairs from annotators' votes in the online loop, which `pairs` never holds."""
        votes = decisive_ai(self._store.ai_votes(persona))
        return [make_pair(vote.messages, chosen, rejected) for vote, chosen, rejected in votes]

    def imported_pairs(self, persona: str | None) -> list[Pair]:
        """Pairs that were collected elsewhere and imported, which `pairs` never holds."""
        return [make_pair(p.prompt, p.chosen, p.rejected) for p in imported(self._store.database, persona)]

    def refresh(
        self,
        pairs: list[Pair],
        scope: str,
        settings: RefreshSettings,
        publish: bool = True,
        rated: Sequence[Rated] = (),
        rater: str = "",
    ) -> Iterator[Step | Outcome]:
        """Trains in the background of the model's worker; yields every step, then the outcome. Closing it keeps the old version.

        Args:
            pairs: of one persona or of all.
            scope: what the version belongs to: a persona id, or "" for all.
            settings: how to learn.
            publish: whether it goes into use if it passes the gate.
            rated: answers judged by themselves, for the objectives that learn from such; those to prompts that are held out are not
                learnt from. What is measured is the held-out pairs, so that objectives can be compared.
            rater: where given, the version is this rater's own and is never published here; the pairs are from their choices.

        Raises:
            InputError: too few pairs; the message says how many are missing.
            BusyError: another refresh is running.
            LimitError: too many refreshes just now.
            StorageError: the version could not be written; the old one stays.
        """
        training, held_out = split(pairs, settings.seed)
        spend("refreshes", "")
        if not self._one_at_a_time.acquire(blocking=False):
            raise BusyError("another refresh is running just now; please wait until it has finished")
        try:
            steps = partial(self._steps, training, held_out, list(rated), scope, settings, publish and not rater, rater)
            note = f"a refresh from {len(pairs)} pairs for {scope or 'all personas'}"
            with self._versions.adapters.underway("refresh", note):
                yield from (item for item in self._worker.stream(steps, background=True) if item is not None)
        finally:
            self._one_at_a_time.release()

    def use(self, scope: str, version: str, token: str = "") -> None:
        """From now on `scope` answers with `version`; "" is the original model. Rollback is this, too. A rater's own version becomes
        the page's with it.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError, NotFoundError: no such version, or one of another model.
        """
        self.authorise(token)
        self._store.publish(scope, "" if version in ("", "none") else self._versions.known(version).id)

    def roll_back(self, scope: str, token: str = "") -> str:
        """From now on `scope` answers with what its version in use came after; returns that one, "" for the original model.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError: the original model answers already, or what the version came after is not known or made for another model.
            NotFoundError: what it came after was deleted.
        """
        self.authorise(token)
        current = self._versions.in_use(scope)
        if not current:
            raise InputError(
                "the original model answers already, and there is nothing before it; choose a version to go forward"
            )
        parent = self._store.version(current).parent
        if parent is None:
            raise InputError(
                f"what {current} came after is not known; choose the version, or the original model, by name"
            )
        self.use(scope, parent, token)
        return parent

    def _steps(
        self,
        training: list[Pair],
        held_out: list[Pair],
        rated: list[Rated],
        scope: str,
        settings: RefreshSettings,
        publish: bool,
        rater: str,
    ) -> Iterator[Step | Outcome | None]:
        # A None only gives way: the worker may then do something else before it comes back.
        started = time.monotonic()
        aside = {pair.prompt for pair in held_out}
        rated = [answer for answer in rated if answer.prompt not in aside]
        learnt = training_rows(self.model, training, rated, settings, self._embedder.encode)
        test_set, asked_set = encode(self.model, held_out), encode(self.model, held_out, learnt.asked)
        current = self._versions.in_use(scope) or None
        if current:
            self.model.load_adapter(current, self._versions.adapters.path(current))
        base = yield from self._margins(test_set, None)
        in_use = (yield from self._margins(test_set, current)) if current else base
        before = _accuracy(in_use - base)
        # Held-out prompts are other people's words: whoever may not publish does not get to read them.
        prompts = list({pair.prompt: pair for pair in held_out}.values())[: SAMPLES if publish or rater else 0]
        old_answers = yield from self._answers(prompts, current, "")
        start = self._versions.adapters.path(current) if current and settings.reference == "previous" else None
        losses = []
        try:
            for step in train(self.model, learnt.rows, settings, IN_TRAINING, start):
                losses.append(step.loss)
                yield step
            # Asked as it is to be asked, against the original as that is asked: an untaught sentence alone moves a model far.
            after = _accuracy((yield from self._margins(asked_set, IN_TRAINING)) - base)
            new_answers = yield from self._answers(prompts, IN_TRAINING, learnt.asked)
            version = self._versions.adapters.add(
                self._store.next_version_id(), partial(self.model.save_adapter, IN_TRAINING)
            )
        finally:
            self.model.drop_adapter(IN_TRAINING)
        samples = [
            Sample(p.messages[-1]["content"], old, new)
            for p, old, new in zip(prompts, old_answers, new_answers, strict=True)
        ]
        passed, reason = _gate(before, after)
        if passed and not publish:
            passed, reason = False, ITS_RATERS if rater else UNASKED
        if passed and learnt.asked:
            passed, reason = (
                False,
                f"not published: it answers as it was taught only where {learnt.asked!r} is given as a principle",
            )
        outcome = Outcome(
            version=version,
            pairs_train=len(training),
            pairs_heldout=len(held_out),
            before=before,
            after=after,
            losses=[round(loss, 6) for loss in losses],
            seconds=round(time.monotonic() - started, 2),
            published=passed,
            reason=reason,
            samples=samples,
            rated=len(learnt.rated),
            asked=learnt.asked,
        )
        # All pairs of a round share its prompt, and so its side of the split.
        parts = ((training, False), (learnt.rated, False), (held_out, True))
        rounds = {p.round: is_aside for part, is_aside in parts for p in part if p.round}
        made = self._record(outcome, scope, settings, current or "", rater)
        self._store.add_version(made, publish=passed, rounds=rounds)
        yield outcome

    def _margins(self, pairs: list[EncodedPair], adapter: str | None) -> Generator[None, None, Tensor]:
        parts = []
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            parts.append(margins(self.model, pairs[start : start + PAIRS_AT_ONCE], adapter))
            yield None
        return torch.cat(parts)

    def _answers(self, pairs: list[Pair], adapter: str | None, asked: str) -> Generator[None, None, list[str]]:
        settings = DecodeSettings(
            temperature=0, max_new_tokens=SAMPLE_TOKENS, no_repeat_ngram=self.model.no_repeat_ngram
        )
        answers = []
        for pair in pairs:  # one by one, so that a long prompt leaves the others their room
            context = self.model.chat_ids(with_system(pair.messages, asked))
            (ids,) = yield from sample_answers(self.model, [context], adapter, settings, [0])
            answers.append(self.model.decode(ids))
        return answers

    def _record(self, outcome: Outcome, scope: str, settings: RefreshSettings, parent: str, rater: str) -> Version:
        metrics = {
            key: value
            for key, value in asdict(outcome).items()
            if key in ("before", "after", "losses", "samples", "rated", "asked")
        }
        return Version(
            id=outcome.version,
            scope=scope,
            model=self.model.name,
            model_revision=self.model.revision,
            settings=settings.model_dump(),
            pairs_train=outcome.pairs_train,
            pairs_heldout=outcome.pairs_heldout,
            metrics=metrics,
            seconds=outcome.seconds,
            published=outcome.published,
            reason=outcome.reason,
            parent=parent,
            reference=settings.reference,
            rater=rater,
        )


def pair_of(choice: tuple[Vote, Round, str, str]) -> Pair:
    """The pair of what `storage.export.decisive` gives."""
    _, round_, chosen, rejected = choice
    return make_pair(round_.messages, round_.answers[chosen].text, round_.answers[rejected].text, round_.id)


def _accuracy(gaps: Tensor) -> Share:
    return share(count_above_zero(gaps), len(gaps))


def _gate(before: Share, after: Share) -> tuple[bool, str]:
    if after.value <= 0.5:
        return (
            False,
            f"not published: {after.value:.0%} of the {after.n} held-out choices come out right, no better than the 50% of an untrained adapter",
        )
    if after.value < before.value:
        return False, f"not published: the held-out accuracy would fall from {before.value:.0%} to {after.value:.0%}"
    return (
        True,
        f"published: {after.value:.0%} of the {after.n} held-out choices come out right (before: {before.value:.0%})",
    )
