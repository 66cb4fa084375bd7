"""The use case *learn*: preference pairs to a new adapter version, measured on held-out pairs, published whole or not at all.

Here model and storage meet; it knows neither SQL nor Gradio.
"""

import hmac
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import torch
from pydantic import SecretStr
from torch import Tensor

from app.decoding.arms import DecodeSettings
from app.embedding import Embedder
from app.errors import BusyError, NotAllowedError
from app.insights import Share, share
from app.model import LanguageModel
from app.prompts import with_system
from app.refresh.pairs import Pair, Rated, make_pair, make_rated, split
from app.refresh.rows import training_rows
from app.refresh.sampling import sample_answers
from app.refresh.trainer import EncodedPair, RefreshSettings, Step, encode, margins, train
from app.versions import Versions
from app.worker import Worker
from storage.export import decisive, decisive_ai, unpaired_rows
from storage.imported import imported
from storage.records import Version
from storage.store import Store

SAMPLES = 3
SAMPLE_TOKENS = 96
IN_TRAINING = "in_training"
PAIRS_AT_ONCE = 8


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
        admin_token: where given, publishing and rollback ask for it.
    """

    def __init__(
        self,
        model: LanguageModel,
        worker: Worker,
        store: Store,
        versions: Versions,
        embedder: Embedder,
        admin_token: SecretStr | None = None,
    ):
        self.model, self._worker, self._store, self._versions = model, worker, store, versions
        self._embedder = embedder
        self._admin_token = admin_token
        self._one_at_a_time = threading.Lock()

    def authorise(self, token: str) -> None:
        """Raises NotAllowedError where an owner's token is set and `token` is another."""
        expected = self._admin_token.get_secret_value() if self._admin_token else ""
        if expected and not hmac.compare_digest(expected.encode(), (token or "").encode()):
            raise NotAllowedError(
                "this needs the owner's token: publishing, rollback, export and adapter files are the owner's here; give the token that PLUMBLINE_ADMIN_TOKEN holds"
            )

    def pairs(self, persona: str | None) -> list[Pair]:
        """Pairs from the decisive votes, of one persona or, with None, of all; prompts without the principle."""
        votes = decisive(self._store.votes(persona))
        return [
            make_pair(r.messages, r.answers[chosen].text, r.answers[rejected].text, r.id)
            for _, r, chosen, rejected in votes
        ]

    def rated(self, persona: str | None) -> list[Rated]:
        """Answers that people judged by themselves: both of a "both bad" as disliked, and rewritten ones as demonstrations. What a
        decisive vote says is in `pairs`."""
        return [
            make_rated(row["prompt"], row["completion"][0]["content"], row["label"], row["edited"], row["round"])
            for vote, round_ in self._store.votes(persona)
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
    ) -> Iterator[Step | Outcome]:
        """Trains in the background of the model's worker; yields every step, then the outcome. Closing it keeps the old version.

        Args:
            pairs: of one persona or of all.
            scope: what the version belongs to: a persona id, or "" for all.
            settings: how to learn.
            publish: whether it goes into use if it passes the gate.
            rated: answers judged by themselves, for the objectives that learn from such; those to prompts that are held out are not
                learnt from. What is measured is the held-out pairs, so that objectives can be compared.

        Raises:
            InputError: too few pairs; the message says how many are missing.
            BusyError: another refresh is running.
            StorageError: the version could not be written; the old one stays.
        """
        training, held_out = split(pairs, settings.seed)
        if not self._one_at_a_time.acquire(blocking=False):
            raise BusyError("another refresh is running just now; please wait until it has finished")
        try:
            steps = self._steps(training, held_out, list(rated), scope, settings, publish)
            yield from (item for item in self._worker.stream(steps, background=True) if item is not None)
        finally:
            self._one_at_a_time.release()

    def use(self, scope: str, version: str, token: str = "") -> None:
        """From now on `scope` answers with `version`; "" is the original model. Rollback is this, too.

        Raises:
            NotAllowedError: an owner's token is set and was not given.
            InputError, NotFoundError: no such version, or one of another model.
        """
        self.authorise(token)
        self._store.publish(scope, "" if version in ("", "none") else self._versions.checked(version))

    def _steps(
        self,
        training: list[Pair],
        held_out: list[Pair],
        rated: list[Rated],
        scope: str,
        settings: RefreshSettings,
        publish: bool,
    ) -> Iterator[Step | Outcome | None]:
        # A None only gives way: the worker may then do something else before it comes back.
        started = time.monotonic()
        aside = {pair.prompt for pair in held_out}
        rated = [answer for answer in rated if answer.prompt not in aside]
        learnt = training_rows(self.model, training, rated, settings, self._embedder.encode)
        test_set = encode(self.model, held_out, learnt.asked)
        current = self._versions.in_use(scope) or None
        if current:
            self.model.load_adapter(current, self._versions.adapters.path(current))
        base = yield from self._margins(test_set, None)
        in_use = (yield from self._margins(test_set, current)) if current else base
        before = _accuracy(in_use - base)
        # Held-out prompts are other people's words: whoever may not publish does not get to read them.
        prompts = list({pair.prompt: pair for pair in held_out}.values())[: SAMPLES if publish else 0]
        old_answers = yield from self._answers(prompts, current, learnt.asked)
        start = self._versions.adapters.path(current) if current and settings.reference == "previous" else None
        losses = []
        try:
            for step in train(self.model, learnt.rows, settings, IN_TRAINING, start):
                losses.append(step.loss)
                yield step
            after = _accuracy((yield from self._margins(test_set, IN_TRAINING)) - base)
            new_answers = yield from self._answers(prompts, IN_TRAINING, learnt.asked)
            version = self._versions.adapters.unused(self._store.next_version_id())
            self._versions.adapters.write(version, partial(self._save, IN_TRAINING))
        finally:
            self.model.drop_adapter(IN_TRAINING)
        passed, reason = _gate(before, after)
        samples = [
            Sample(p.messages[-1]["content"], old, new)
            for p, old, new in zip(prompts, old_answers, new_answers, strict=True)
        ]
        if passed and not publish:
            passed, reason = False, "it was asked to stay unpublished; it can be published later"
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
        self._store.add_version(self._record(outcome, scope, settings, current or ""), publish=passed, rounds=rounds)
        yield outcome

    def _save(self, adapter: str, folder: Path) -> None:
        self.model.save_adapter(adapter, folder)

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

    def _record(self, outcome: Outcome, scope: str, settings: RefreshSettings, parent: str) -> Version:
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
        )


def _accuracy(gaps: Tensor) -> Share:
    wins = float((gaps > 0).sum() + 0.5 * (gaps == 0).sum())
    return share(wins, len(gaps))


def _gate(before: Share, after: Share) -> tuple[bool, str]:
    if after.value <= 0.5:
        return (
            False,
            f"not published: {after.value:.0%} of the {after.n} held-out choices come out right, no better than the {0.5:.0%} of an untrained adapter",
        )
    if after.value < before.value:
        return False, f"not published: the held-out accuracy would fall from {before.value:.0%} to {after.value:.0%}"
    return (
        True,
        f"published: {after.value:.0%} of the {after.n} held-out choices come out right (before: {before.value:.0%})",
    )
