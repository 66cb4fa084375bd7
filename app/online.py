"""The use case *online*: a judge in place of a person chooses between answers of the model as it learns (OAIF and its kin).

Here model, annotators and storage meet; it knows neither SQL nor Gradio. What a judge chose is stored as a judge's choice, apart
from people's; a version comes into use only where that was asked for and the kept-aside prompts say so.
"""

import hashlib
import json
import secrets
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

from app.annotators.preference import Cost
from app.catalogue import Catalogue
from app.errors import BusyError, InputError
from app.insights import Share, share
from app.judges import Judge
from app.learn import SAMPLES, Sample
from app.limits import spend
from app.model import LanguageModel
from app.prompts import MAX_PROMPT_CHARACTERS, Message, clean, with_system
from app.refresh.feedback import Judged, Judgement, OnlineSettings, OnlineStep
from app.refresh.judging import Asking
from app.refresh.online import OnlineLoop
from app.refresh.pairs import Pair
from app.text_files import read_text
from app.versions import Versions
from app.worker import Wait, Worker
from storage.records import AIVote, Version
from storage.store import Store

IN_LOOP = "in_online_loop"
ASKED_AT_ONCE = 4
FEWEST_PROMPTS = 6
LARGEST_FILE = 10_000_000


@dataclass(frozen=True)
class OnlineOutcome:
    """What a run did. `win_rate` is the last evaluation's; `curve` holds every step; `version` exists also if unpublished."""

    version: str
    run: str
    stopped: str
    win_rate: Share
    pairs: int
    dropped: int
    prompts: int
    prompts_heldout: int
    cost: Cost
    seconds: float
    published: bool
    reason: str
    curve: list[OnlineStep]
    samples: list[Sample] = field(default_factory=list)


class Online:
    """Runs the online loop.

    Args:
        model, worker: the model and the thread that owns it.
        store, versions, catalogue: votes, adapter versions and personas.
    """

    def __init__(
        self,
        model: LanguageModel,
        worker: Worker,
        store: Store,
        versions: Versions,
        catalogue: Catalogue,
    ):
        self.model, self._worker, self._store, self._versions = model, worker, store, versions
        self._catalogue = catalogue
        self._one_at_a_time = threading.Lock()

    def prompts(self, persona: str) -> list[list[Message]]:
        """What there is to answer without being given anything: the prompts of stored rounds, of one persona or with "" of all,
        and every example prompt of the library."""
        examples = [text for known in self._catalogue.library.values() for text in known.example_prompts]
        return self._store.conversations(persona or None) + [[{"role": "user", "content": text}] for text in examples]

    def run(
        self,
        judge: Judge,
        principle: str,
        scope: str = "",
        prompts: list[list[Message]] | None = None,
        settings: OnlineSettings | None = None,
        publish: bool = False,
        samples: bool = True,
        pairs: Sequence[Pair] = (),
        rater: str = "",
    ) -> Iterator[Asking | OnlineStep | OnlineOutcome]:
        """Runs in the background of the model's worker; yields how far the judge is, every step, then the outcome.

        Closing it leaves the model as it was; what the judge had chosen stays stored.

        Args:
            judge: who chooses.
            principle: what the judge goes by, framed.
            scope: what the version belongs to: a persona id, or "" for all.
            prompts: conversations to answer; None takes `prompts(scope)`, without those that do not fit the model.
            settings: how to learn and when to stop.
            publish: whether the version goes into use if it passes the gate.
            samples: whether the outcome shows some prompts that were kept aside; they may be other people's words.
            pairs: choices that there are already, for the methods that learn from such; none on prompts that are kept aside is.
            rater: where given, the version is this rater's own and is never published here.

        Raises:
            InputError: too few prompts, or one that does not fit, or the method needs pairs and there are none.
            BusyError: another run is under way.
            LimitError: too many runs just now.
            ModelError: the judge cannot be asked.
            StorageError: votes or version could not be written.
        """
        settings = OnlineSettings() if settings is None else settings
        if prompts is None:
            prompts = [messages for messages in self.prompts(scope) if self._fits(messages, principle, settings)]
        training, held_out = _split(prompts, settings)
        for messages in prompts:
            if not self._fits(messages, principle, settings):
                raise InputError(
                    f"the prompt {messages[-1]['content'][:40]!r} with the principle and an answer of {settings.max_new_tokens} "
                    f"tokens takes more than the {self.model.context_length} that this model reads: shorten it, or ask for shorter answers"
                )
        spend("refreshes", "")
        if not self._one_at_a_time.acquire(blocking=False):
            raise BusyError("a judge is at work already; please wait until it has finished, or stop it")
        try:
            known = [pair for pair in pairs if pair.messages not in held_out]
            publish = publish and not rater
            steps = partial(
                self._steps, judge, principle, scope, training, held_out, known, settings, publish, samples, rater
            )
            told = (Asking, OnlineStep, OnlineOutcome)
            with self._versions.adapters.underway("online", f"a judge's run for {scope or 'all personas'}"):
                yield from (item for item in self._worker.stream(steps, background=True) if isinstance(item, told))
        finally:
            self._one_at_a_time.release()

    def _fits(self, messages: list[Message], principle: str, settings: OnlineSettings) -> bool:
        # The implicit judge reads the most: the prompt, the principle and an answer.
        try:
            led = self.model.chat_ids(with_system(messages, principle))
        except InputError:
            return False
        return len(led) + settings.max_new_tokens <= self.model.context_length

    def _steps(
        self,
        judge: Judge,
        principle: str,
        scope: str,
        training: list[list[Message]],
        held_out: list[list[Message]],
        pairs: list[Pair],
        settings: OnlineSettings,
        publish: bool,
        samples: bool,
        rater: str,
    ) -> Iterator[Wait | Asking | Judged | OnlineStep | OnlineOutcome | None]:
        run, curve = secrets.token_urlsafe(9), []
        pool = ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="judge") if judge.waits else None
        try:
            loop = OnlineLoop(self.model, judge.annotator, principle, settings, IN_LOOP, pool)
            for event in loop.run(training, held_out, pairs):
                if isinstance(event, Judged):
                    self._store.add_ai_votes(
                        [self._vote(judgement, judge, run, scope, principle) for judgement in event.judgements]
                    )
                if isinstance(event, OnlineStep):
                    curve.append(event)
                yield event
            save = partial(self.model.save_adapter, IN_LOOP)
            version = self._versions.adapters.add(self._store.next_version_id(), save)
        finally:
            self.model.drop_adapter(IN_LOOP)
            if pool:
                pool.shutdown(wait=False, cancel_futures=True)
        last = curve[-1]
        passed, reason = _gate(last.win_rate)
        if passed and not publish:
            passed, reason = False, "it was not asked to be published; it can be published later"
        shown = zip(held_out[: SAMPLES if samples else 0], loop.before, loop.after, strict=False)
        outcome = OnlineOutcome(
            version=version,
            run=run,
            stopped=last.stopped,
            win_rate=last.win_rate,
            pairs=sum(step.kept for step in curve),
            dropped=sum(step.dropped for step in curve),
            prompts=len(training),
            prompts_heldout=len(held_out),
            cost=last.cost,
            seconds=last.seconds,
            published=passed,
            reason=reason,
            curve=curve,
            samples=[Sample(messages[-1]["content"], before, after) for messages, before, after in shown],
        )
        made = replace(self._record(outcome, judge, principle, scope, settings), rater=rater)
        self._store.add_version(made, publish=passed)
        yield outcome

    def _vote(self, judgement: Judgement, judge: Judge, run: str, scope: str, principle: str) -> AIVote:
        question, preference = judgement.question, judgement.preference
        return AIVote(
            run=run,
            step=judgement.step,
            persona=scope,
            principle=principle,
            annotator=judge.name,
            annotator_model=judge.model,
            messages=question.messages,
            first=question.first,
            second=question.second,
            choice=preference.choice or "",
            margin=preference.margin,
            **asdict(preference.cost),
            model=self.model.name,
            model_revision=self.model.revision,
        )

    def _record(
        self, outcome: OnlineOutcome, judge: Judge, principle: str, scope: str, settings: OnlineSettings
    ) -> Version:
        told = asdict(outcome)
        metrics = {key: told[key] for key in ("run", "stopped", "dropped", "cost", "curve", "samples")}
        # `before` and `after` as those of a refresh: shares that come out right, here of answers against the start's own.
        metrics |= {"before": asdict(share(0.5 * outcome.win_rate.n, outcome.win_rate.n)), "after": told["win_rate"]}
        metrics |= {"losses": [step.loss for step in outcome.curve if step.loss is not None]}
        # The principle is somebody's words, and settings are told to everybody.
        metrics |= {"principle": principle}
        return Version(
            id=outcome.version,
            scope=scope,
            model=self.model.name,
            model_revision=self.model.revision,
            settings=settings.model_dump() | {"annotator": judge.name, "annotator_model": judge.model},
            pairs_train=outcome.pairs,
            pairs_heldout=outcome.prompts_heldout,
            metrics=metrics,
            seconds=outcome.seconds,
            published=outcome.published,
            reason=outcome.reason,
            parent=self._versions.in_use(scope),
            reference=settings.learner().reference,
            origin="online",
        )


def _split(prompts: list[list[Message]], settings: OnlineSettings) -> tuple[list[list[Message]], list[list[Message]]]:
    """Prompts to learn on and prompts kept aside, by a hash of the prompt and the seed; equal ones count once."""
    distinct = {json.dumps([settings.seed, messages]): messages for messages in prompts}
    if len(distinct) < FEWEST_PROMPTS:
        raise InputError(
            f"there are {len(distinct)} different prompts that fit; a judge needs {FEWEST_PROMPTS} at least: give "
            f"{FEWEST_PROMPTS - len(distinct)} more"
        )
    ranked = [distinct[key] for key in sorted(distinct, key=lambda key: hashlib.sha256(key.encode()).digest())]
    held_out = min(settings.eval_prompts, len(ranked) // 3)
    return ranked[held_out:], ranked[:held_out]


def _gate(win_rate: Share) -> tuple[bool, str]:
    low, _ = win_rate.interval
    found = f"on {win_rate.n} prompts kept aside the judge prefers its answers to the start's in {win_rate.value:.0%}"
    if low > 0.5:
        return True, f"published: {found}, and at least in {low:.0%} with 95 % confidence"
    return (
        False,
        f"not published: {found}, which may be chance: the 95 % interval begins at {low:.0%} and should lie above 50%",
    )


def read_prompts(path: Path) -> list[list[Message]]:
    """Prompts from a text file, one a line; empty lines are passed over.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is no UTF-8 text, or too large, or a prompt is too long.
    """
    return prompts_of(read_text(path, "the prompts file", "give a text file with one prompt a line", LARGEST_FILE))


def prompts_of(lines: str) -> list[list[Message]]:
    """One prompt a line; empty lines are passed over.

    Raises:
        InputError: a prompt is too long.
    """
    kept = [line for line in lines.splitlines() if line.strip()]
    return [[{"role": "user", "content": clean(line, "a prompt", MAX_PROMPT_CHARACTERS)}] for line in kept]
