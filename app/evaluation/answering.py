"""Lets a contestant answer a batch of prompts together, and counts what that cost. It knows the model; no judge and no statistics."""

import hashlib
import time
from collections.abc import Generator, Iterator

import torch

from app.annotators.preference import Annotator
from app.best_of import best_of
from app.decoding.arms import DecodeSettings, build_arms
from app.decoding.engine import Engine
from app.decoding.run import Run
from app.evaluation.contestants import BEST_OF_N, Contestant
from app.evaluation.plan import Written
from app.evaluation.questions import Case
from app.model import LanguageModel
from app.prompts import contexts


def answer(
    model: LanguageModel,
    contestant: Contestant,
    batch: list[Case],
    settings: DecodeSettings,
    adapter: str | None,
    annotator: Annotator | None,
) -> Generator[None, None, list[Written]]:
    """The answers of one contestant; gives way between two steps, whose time is not counted.

    Every contestant draws from the same seed for the same prompt.

    Args:
        model: what answers, on the thread that owns it.
        contestant: who answers.
        batch: what is asked; where the contestant is not told the principle, only the prompts count.
        settings: those of the evaluation.
        adapter: what the model calls the contestant's version; None is the original.
        annotator: who chooses for best-of-n; nobody else needs one.

    Raises:
        InputError: a prompt is too long.
    """
    settings = contestant.settings(settings).model_copy(update={"no_repeat_ngram": model.no_repeat_ngram})
    if contestant.arm == BEST_OF_N:
        return (yield from _best(model, contestant, batch, settings, adapter, annotator))
    return (yield from written(model, [_run(model, contestant, case, settings) for case in batch], adapter))


def written(model: LanguageModel, runs: list[Run], adapter: str | None = None) -> Generator[None, None, list[Written]]:
    """The answers of runs that have one arm each, written together; gives way as `answer` does.

    Args:
        model: on the thread that owns it.
        runs: what is decoded.
        adapter: what the model calls the version that answers; None is the original.
    """
    engine = Engine(model.forward_with, model.device, model.joins, at_once=len(runs))
    for run in runs:
        engine.add(run, adapter)
    tokens: dict[Run, list[int]] = {run: [] for run in runs}
    reason: dict[Run, str] = {}
    seconds = 0.0
    while engine.busy:
        started = time.perf_counter()
        outcomes = engine.step()
        seconds += time.perf_counter() - started
        for run, outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
            for event in outcome:
                if event.token is not None:
                    tokens[run].append(event.token)
                reason[run] = event.finish_reason or ""
        yield None
    return [_written(model, run, tokens[run], reason[run] == "end", seconds / len(runs)) for run in runs]


def _run(model: LanguageModel, contestant: Contestant, case: Case, settings: DecodeSettings) -> Run:
    principles = [case.principle.text] if contestant.told else []
    asked = [model.chat_ids(chat) for chat in contexts([{"role": "user", "content": case.prompt}], principles)]
    room = model.context_length - max(map(len, asked))
    settings = _seeded(settings, case).model_copy(update={"max_new_tokens": min(settings.max_new_tokens, room)})
    arms = build_arms([contestant.arm], torch.ones(1, device=model.device), settings)
    return Run(asked, arms, settings, model.end_ids, word_starts=model.word_starts)


def _seeded(settings: DecodeSettings, case: Case) -> DecodeSettings:
    own = int.from_bytes(hashlib.sha256(case.prompt.encode()).digest()[:4], "big")
    return settings.model_copy(update={"seed": settings.seed + own})


def _written(model: LanguageModel, run: Run, tokens: list[int], ended: bool, seconds: float) -> Written:
    return Written(model.decode(tokens), ended, len(run.contexts) * (len(tokens) + ended), seconds)


def _best(
    model: LanguageModel,
    contestant: Contestant,
    batch: list[Case],
    settings: DecodeSettings,
    adapter: str | None,
    annotator: Annotator,
) -> Generator[None, None, list[Written]]:
    found = []
    for case in batch:
        messages, principle = [{"role": "user", "content": case.prompt}], case.principle.text
        asking = best_of(model, annotator, messages, principle, contestant.count, _seeded(settings, case), adapter)
        best, seconds = yield from _timed(asking)
        ended = best.finish_reason == "end"
        found.append(Written(best.text, ended, best.tokens + best.cost.forwards, seconds))
    return found


def _timed(steps: Iterator[None]) -> Generator[None, None, tuple]:
    seconds = 0.0
    while True:
        started = time.perf_counter()
        try:
            next(steps)
        except StopIteration as end:
            return end.value, seconds + time.perf_counter() - started
        seconds += time.perf_counter() - started
        yield None
