"""The online loop (OAIF, arXiv 2402.04792, and its kin): pairs from the current policy, one gradient step, again, until it stops.

The loop is a generator, so that whoever owns the model can do other things between. Where a step's pairs come from stands in
`sources`. It knows chats, answers and annotators; it knows no database, no versions and no page.
"""

import random
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import replace

import torch
from torch import Tensor

from app.annotators.preference import Annotator, Cost, Preference
from app.decoding.arms import DecodeSettings
from app.insights import Share, share
from app.model import LanguageModel
from app.prompts import Message, with_system
from app.refresh.answers import EncodedPair, encode
from app.refresh.drawing import Hand, Prompt, Source
from app.refresh.feedback import Judged, OnlineSettings, OnlineStep
from app.refresh.judging import Asking, Question, ask
from app.refresh.learner import Learner
from app.refresh.methods import ONLINE
from app.refresh.pairs import Pair
from app.refresh.sampling import sample_answers
from app.refresh.sources import source_of
from app.worker import Wait

ROWS_AT_ONCE = 16


class OnlineLoop:
    """The loop over one fresh adapter, which starts as the original model. Whoever stops early should `drop_adapter`.

    Args:
        model: the policy under the adapter, the base without it.
        annotator, principle: who chooses, or where the method needs no judge only measures, and what they go by (framed).
        settings: how it learns and when it stops.
        adapter: the name of the new adapter.
        pool: where an annotator that waits for a network is asked; None asks it between two yields.
        enough: once it is set, the step under way is the last one, with its evaluation.

    After the end `before` and `after` hold the greedy answers to the prompts kept aside, of the start and of the last evaluation.
    """

    def __init__(
        self,
        model: LanguageModel,
        annotator: Annotator,
        principle: str,
        settings: OnlineSettings,
        adapter: str,
        pool: Executor | None = None,
        enough: threading.Event | None = None,
    ):
        self._model, self._annotator, self._principle = model, annotator, principle
        self._enough = enough or threading.Event()
        self._settings, self._adapter, self._pool = settings, adapter, pool
        self._cost, self._asked = Cost(), 0
        self.before: list[str] = []
        self.after: list[str] = []

    def run(
        self, prompts: list[list[Message]], held_out: list[list[Message]], pairs: Sequence[Pair] = ()
    ) -> Iterator[Wait | Asking | Judged | OnlineStep | None]:
        """Learns from answers to `prompts`, or from `pairs` where the method does, and measures itself on `held_out`, which no pair
        should be of; None only gives way.

        Raises:
            InputError: a prompt leaves no room for an answer, a pair is too long, or the method needs pairs and there are none.
            ModelError: the annotator cannot be asked.
        """
        settings = self._settings
        training, kept_aside = self._read(prompts), self._read(held_out)
        pairs = list(pairs) if ONLINE[settings.method].pairs else []
        given = [(p.messages, row) for p, row in zip(pairs, encode(self._model, pairs), strict=True)]
        learner = Learner(self._model, settings.learner(), self._adapter, settings.steps)
        try:
            hand = Hand(
                self._sampled,
                self._preferences,
                self._model.decode,
                learner,
                self._adapter,
                random.Random(settings.seed),
            )
            source = source_of(settings, hand, training, given)
            yield from self._learn(learner, source, kept_aside)
        finally:
            learner.close()

    def _learn(
        self, learner: Learner, source: Source, kept_aside: list[Prompt]
    ) -> Generator[Wait | Asking | Judged | OnlineStep | None, None, None]:
        settings, began = self._settings, time.monotonic()
        self.before = yield from self._greedy(kept_aside, None)
        best, stale, stopped = 0.5, 0, ""
        for step in range(1, settings.steps + 1):
            made = yield from self._step(learner, source, step)
            win_rate = (yield from self._win_rate(kept_aside)) if step % settings.evaluate_every == 0 else None
            if step == settings.steps:
                stopped = "steps"
            elif self._enough.is_set():
                stopped = "button"
            elif time.monotonic() - began > settings.max_seconds:
                stopped = "seconds"
            elif not self._can_pay(settings.prompts_per_step + len(kept_aside)):
                stopped = "tokens"
            if stopped and win_rate is None:
                win_rate = yield from self._win_rate(kept_aside)
            if win_rate:
                stale = 0 if win_rate.value > best else stale + 1
                best = max(best, win_rate.value)
                stopped = stopped or ("plateau" if stale >= settings.patience else "")
            seconds = round(time.monotonic() - began, 2)
            yield replace(made, win_rate=win_rate, cost=self._cost, seconds=seconds, stopped=stopped)
            if stopped:
                return

    def _step(
        self, learner: Learner, source: Source, step: int
    ) -> Generator[Wait | Asking | Judged | None, None, OnlineStep]:
        drawn = yield from source.draw(step)
        base = yield from learner.logps(drawn.written, None)
        policy = yield from learner.logps(drawn.written, self._adapter)
        learnt = None
        if drawn.rows:
            reference = _known(drawn.rows, drawn.written, base) if learner.reference_policy.adapter is None else None
            if reference is None:
                reference = yield from learner.logps(drawn.rows, learner.reference_policy.adapter)
            learnt = learner.step(drawn.rows, reference)
        yield None
        lengths = [len(answer) for row in drawn.written for answer in (row.chosen, row.rejected) if answer]
        return OnlineStep(
            step=step,
            steps=self._settings.steps,
            loss=learnt and learnt.loss,
            margin=learnt and learnt.margin,
            kept=len(drawn.rows),
            dropped=drawn.dropped,
            tokens=sum(lengths) / len(lengths) if lengths else None,
            kl=float((policy - base).sum()) / sum(lengths) if lengths else None,
        )

    def _read(self, prompts: list[list[Message]]) -> list[Prompt]:
        return [Prompt(messages, self._model.chat_ids(with_system(messages))) for messages in prompts]

    def _greedy(self, prompts: list[Prompt], adapter: str | None) -> Generator[None, None, list[str]]:
        answers = yield from self._sampled(prompts, adapter, None)
        return [self._model.decode(ids) for ids in answers]

    def _sampled(
        self, prompts: list[Prompt], adapter: str | None, seeds: list[int] | None
    ) -> Generator[None, None, list[list[int]]]:
        # Without seeds: greedy.
        settings = DecodeSettings(
            temperature=0 if seeds is None else self._settings.temperature,
            top_p=self._settings.top_p,
            max_new_tokens=self._settings.max_new_tokens,
            no_repeat_ngram=self._model.no_repeat_ngram,
        )
        seeds = [0] * len(prompts) if seeds is None else seeds
        answers: list[list[int]] = []
        for start in range(0, len(prompts), ROWS_AT_ONCE):
            part = slice(start, start + ROWS_AT_ONCE)
            contexts = [prompt.context for prompt in prompts[part]]
            answers += yield from sample_answers(self._model, contexts, adapter, settings, seeds[part])
        return answers

    def _preferences(self, questions: list[Question]) -> Generator[Wait | Asking, None, list[Preference | None]]:
        """None where there was nothing to ask: equal answers, or no answer at all."""
        asked = [i for i, q in enumerate(questions) if q.first.strip() and q.second.strip() and q.first != q.second]
        given = yield from ask(self._annotator, self._principle, [questions[i] for i in asked], self._pool)
        preferences: list[Preference | None] = [None] * len(questions)
        for i, preference in zip(asked, given, strict=True):
            preferences[i] = preference
        self._asked += len(asked)
        self._cost = sum((preference.cost for preference in given), self._cost)
        return preferences

    def _win_rate(self, prompts: list[Prompt]) -> Generator[Wait | Asking | None, None, Share]:
        self.after = yield from self._greedy(prompts, self._adapter)
        # The policy's answer stands first and second in turn, so that a lean of the annotator to one side evens out.
        sides = [
            (new, old)[:: -1 if i % 2 else 1] for i, (new, old) in enumerate(zip(self.after, self.before, strict=True))
        ]
        questions = [Question(p.messages, *answers) for p, answers in zip(prompts, sides, strict=True)]
        preferences = yield from self._preferences(questions)
        wins = 0.0
        for i, (new, old, preference) in enumerate(zip(self.after, self.before, preferences, strict=True)):
            if preference and preference.choice:
                wins += (preference.choice == "first") == (i % 2 == 0)
            else:  # a tie, but for an empty answer beside one that says something
                wins += (1 + bool(new.strip()) - bool(old.strip())) / 2
        return share(wins, len(prompts))

    def _can_pay(self, questions: int) -> bool:
        spent = self._cost.prompt_tokens + self._cost.completion_tokens
        return spent + questions * spent / max(1, self._asked) <= self._settings.max_judge_tokens


def _known(rows: list[EncodedPair], written: list[EncodedPair], found: Tensor) -> Tensor | None:
    """What was found of written answers, shape (2, written), in the order of the rows, shape (2, rows), so that nothing is computed
    twice; None where a row has another answer."""
    of = {
        (tuple(row.context), tuple(answer)): found[side, i]
        for i, row in enumerate(written)
        for side, answer in enumerate((row.chosen, row.rejected))
    }
    asked = [
        [(tuple(row.context), tuple(row.chosen)) for row in rows],
        [(tuple(row.context), tuple(row.rejected)) for row in rows],
    ]
    if not all(key in of for side in asked for key in side):
        return None
    return torch.stack([torch.stack([of[key] for key in side]) for side in asked])
