"""Online AI feedback (OAIF, arXiv 2402.04792): two answers from the current policy, an annotator chooses, one gradient step, again.

The loop is a generator, so that whoever owns the model can do other things between. It knows chats, answers and annotators; it
knows no database, no versions and no page.
"""

import random
import time
from collections.abc import Generator, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from app.annotators.preference import Annotator, Cost, Message, Preference
from app.decoding.arms import DecodeSettings
from app.insights import Share, share
from app.model import LanguageModel
from app.prompts import with_system
from app.refresh.answers import EncodedPair, logps, micro_batches
from app.refresh.feedback import Judged, Judgement, OnlineSettings, OnlineStep
from app.refresh.judging import Asking, Question, ask
from app.refresh.learner import Learner
from app.refresh.sampling import sample_answers
from app.worker import Wait

ROWS_AT_ONCE = 16


@dataclass(frozen=True)
class _Prompt:
    messages: list[Message]
    context: list[int]


class OnlineLoop:
    """The loop over one fresh adapter, which starts as the original model. Whoever stops early should `drop_adapter`.

    Args:
        model: the policy under the adapter, the reference without it.
        annotator, principle: who chooses, and what they go by (framed).
        settings: how it learns and when it stops.
        adapter: the name of the new adapter.
        pool: where an annotator that waits for a network is asked; None asks it between two yields.

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
    ):
        self._model, self._annotator, self._principle = model, annotator, principle
        self._settings, self._adapter, self._pool = settings, adapter, pool
        self._cost, self._asked = Cost(), 0
        self.before: list[str] = []
        self.after: list[str] = []

    def run(
        self, prompts: list[list[Message]], held_out: list[list[Message]]
    ) -> Iterator[Wait | Asking | Judged | OnlineStep | None]:
        """Learns from answers to `prompts` and measures itself on `held_out`; None only gives way.

        Raises:
            InputError: a prompt leaves no room for an answer.
            ModelError: the annotator cannot be asked.
        """
        settings, began = self._settings, time.monotonic()
        training, kept_aside = self._read(prompts), self._read(held_out)
        self.before = yield from self._greedy(kept_aside, None)
        learner = Learner(self._model, settings.learner(), self._adapter, settings.steps)
        chance = random.Random(settings.seed)
        order = _endless(training, chance)
        best, stale, stopped = 0.5, 0, ""
        for step in range(1, settings.steps + 1):
            batch = [next(order) for _ in range(settings.prompts_per_step)]
            seeds = [chance.getrandbits(62) for _ in range(2 * len(batch))]
            made = yield from self._step(learner, step, batch, seeds)
            win_rate = (yield from self._win_rate(kept_aside)) if step % settings.evaluate_every == 0 else None
            if step == settings.steps:
                stopped = "steps"
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
        self, learner: Learner, step: int, batch: list[_Prompt], seeds: list[int]
    ) -> Generator[Wait | Asking | Judged | None, None, OnlineStep]:
        twice = [prompt for prompt in batch for _ in range(2)]
        answers = yield from self._sampled(twice, self._adapter, seeds)
        texts = [self._model.decode(ids) for ids in answers]
        # Answers 2i and 2i + 1 are those to prompt i.
        questions = [Question(p.messages, *texts[2 * i : 2 * i + 2]) for i, p in enumerate(batch)]
        preferences = yield from self._preferences(questions)
        yield Judged([Judgement(step, q, p) for q, p in zip(questions, preferences, strict=True) if p])
        sampled = [EncodedPair(p.context, *answers[2 * i : 2 * i + 2]) for i, p in enumerate(batch)]
        reference = yield from self._logps(sampled, None)
        policy = yield from self._logps(sampled, self._adapter)
        firsts = [i for i, p in enumerate(preferences) if p and p.choice == "first"]
        seconds = [i for i, p in enumerate(preferences) if p and p.choice == "second"]
        pairs = [sampled[i] for i in firsts] + [_turned(sampled[i]) for i in seconds]
        of_pairs = torch.cat([reference[:, firsts], reference.flip(0)[:, seconds]], dim=1)
        learnt = learner.step(pairs, of_pairs) if pairs else None
        yield None
        written = sum(map(len, answers))
        return OnlineStep(
            step=step,
            steps=self._settings.steps,
            loss=learnt and learnt.loss,
            margin=learnt and learnt.margin,
            kept=len(pairs),
            dropped=len(batch) - len(pairs),
            tokens=written / len(answers),
            kl=float((policy - reference).sum()) / written,
        )

    def _read(self, prompts: list[list[Message]]) -> list[_Prompt]:
        return [_Prompt(messages, self._model.chat_ids(with_system(messages))) for messages in prompts]

    def _greedy(self, prompts: list[_Prompt], adapter: str | None) -> Generator[None, None, list[str]]:
        answers = yield from self._sampled(prompts, adapter, None)
        return [self._model.decode(ids) for ids in answers]

    def _sampled(
        self, prompts: list[_Prompt], adapter: str | None, seeds: list[int] | None
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

    def _win_rate(self, prompts: list[_Prompt]) -> Generator[Wait | Asking | None, None, Share]:
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

    def _logps(self, pairs: list[EncodedPair], adapter: str | None) -> Generator[None, None, Tensor]:
        # Of both answers, shape (2, pairs).
        found = torch.empty(2, len(pairs), device=self._model.device)
        for indices in micro_batches(pairs):
            with torch.no_grad():
                found[:, indices] = torch.stack(logps(self._model, [pairs[i] for i in indices], adapter))
            yield None
        return found

    def _can_pay(self, questions: int) -> bool:
        spent = self._cost.prompt_tokens + self._cost.completion_tokens
        return spent + questions * spent / max(1, self._asked) <= self._settings.max_judge_tokens


def _endless(prompts: list[_Prompt], order: random.Random) -> Iterator[_Prompt]:
    while True:
        yield from order.sample(prompts, len(prompts))


def _turned(pair: EncodedPair) -> EncodedPair:
    return EncodedPair(pair.context, chosen=pair.rejected, rejected=pair.chosen)
