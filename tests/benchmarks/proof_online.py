"""The proof's online part: the same loop, told three things, and as many labels without the loop.

The judge is the model itself (`app.annotators.implicit`) under a persona's principle; nothing else differs between two runs. Whether
the policy went there is told by rules that the judge does not know: words, dashes, words of a loving grandmother.
"""

import random
import sys
import time
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from app.annotators.implicit import ImplicitJudge
from app.annotators.preference import Annotator
from app.decoding.arms import DecodeSettings
from app.evaluation.questions import own_prompts
from app.evaluation.scoring import follows, well_formed
from app.insights import share
from app.insights.means import clustered_mean
from app.model import LanguageModel
from app.prompts import Message, frame, with_system
from app.refresh.answers import EncodedPair
from app.refresh.feedback import OnlineSettings, OnlineStep
from app.refresh.learner import Learner
from app.refresh.online import ROWS_AT_ONCE, OnlineLoop
from app.refresh.sampling import sample_answers
from app.starter import CORPUS_FOLDER
from app.starter.compose import load_topics
from app.starter.voices import Voice, load_voices
from personas import load_library
from tests.benchmarks.proof_run import difference, kept

TOLD = {"shorter": "curt", "warmer": "grandparent", "lists": "lister"}
TRAINED_ON = 200
SETTINGS = OnlineSettings(steps=40, prompts_per_step=8, evaluate_every=8, patience=1000, max_seconds=7200)


def measure(work: Path, limit: int, settings: OnlineSettings = SETTINGS) -> dict[str, Any]:
    """A curve for everything that the judge is told, online and offline.

    Args:
        work: where finished curves are kept.
        limit: how many of the own prompts are held out to measure on.
        settings: of both.
    """
    curves = curves_of(work, {told: (persona, limit, settings) for told, persona in TOLD.items()})
    ahead = {told: ahead_of(*(curves[f"{told}, {way}"][-1] for way in WAYS), told) for told in TOLD}
    return {"settings": settings.model_dump(), "told": TOLD, "curves": curves, "online minus offline": ahead}


def curves_of(work: Path, asked: dict[str, tuple[Any, ...]]) -> dict[str, list[dict[str, Any]]]:
    """The curves of the starter for everything that is asked for, by name and way; each is kept in `work` once it is finished.

    Args:
        work: where they are kept.
        asked: by name, what `online` and `offline` are given after the model.
    """
    curves = {}
    for told, arguments in asked.items():
        for way, learn in WAYS.items():

            def curve(learn=learn, arguments=arguments) -> list[dict[str, Any]]:
                return list(learn(LanguageModel.load("starter"), *arguments))

            points = curves[f"{told}, {way}"] = kept(work / f"{told}-{way}.json", curve)
            print(f"{told}, {way}: {points[-1]['seconds']:.0f} s", file=sys.stderr)
    return curves


def ahead_of(online_: dict[str, Any], offline_: dict[str, Any], told: str) -> dict[str, Any]:
    """By how much more of the same prompts' answers follow the rule at one point than at another."""
    gaps = np.array(online_["each"][told], float) - np.array(offline_["each"][told], float)
    return difference(gaps, np.arange(len(gaps)))


def prompts(limit: int) -> tuple[list[list[Message]], list[list[Message]]]:
    """Prompts of known topics to learn on, and own prompts to measure on."""
    asked = known_prompts(), [question.prompt for question in own_prompts()[:limit]]
    return tuple([[{"role": "user", "content": text}] for text in texts] for texts in asked)


@cache
def known_prompts() -> list[str]:
    """One of each of the topics that were drawn by lot."""
    topics = random.Random(7).sample(load_topics(CORPUS_FOLDER / "topics"), TRAINED_ON)
    return [topic["prompts"][0] for topic in topics]


@cache
def voices() -> dict[str, Voice]:
    """The rules of every persona's manner."""
    return load_voices(CORPUS_FOLDER / "voices")


def principle_of(persona: str) -> str:
    """What the judge is told."""
    found = load_library()[persona]
    return frame(found.principle, found.framing)


def point(answers: list[str], **where: float) -> dict[str, Any]:
    """What held-out answers are like: words, and by every rule, the judge's own among them, how many follow it."""
    mean = clustered_mean(np.array([len(text.split()) for text in answers], float), np.arange(len(answers)))
    follow = {told: [follows(text, voices()[persona]) for text in answers] for told, persona in TOLD.items()}
    found = {told: share(sum(flags), len(flags)).__dict__ for told, flags in follow.items()}
    found["well_formed"] = share(sum(well_formed(text, True) for text in answers), len(answers)).__dict__
    return {**where, "words": mean.__dict__, **found, "each": follow, "answers": answers}


def online(
    model: LanguageModel, persona: str, limit: int, settings: OnlineSettings, judge: Annotator | None = None
) -> Iterator[dict[str, Any]]:
    """OAIF (arXiv 2402.04792); a point for the start and for every evaluation. Without a `judge` it is the model itself."""
    training, held_out = prompts(limit)
    loop = OnlineLoop(model, judge or ImplicitJudge(model), principle_of(persona), settings, "proof")
    labels = 0
    for event in loop.run(training, held_out):
        if isinstance(event, OnlineStep):
            if event.step == 1:
                yield point(loop.before, step=0, labels=0, seconds=0.0)
            labels += settings.prompts_per_step
            if event.win_rate:
                won = {"win_rate": event.win_rate.__dict__, "kl": event.kl}
                yield point(loop.after, step=event.step, labels=labels, seconds=event.seconds) | won


def offline(
    model: LanguageModel, persona: str, limit: int, settings: OnlineSettings, judge: Annotator | None = None
) -> Iterator[dict[str, Any]]:
    """As many labels on answers of the start alone, and as many steps of the same DPO on them. `judge` as in `online`."""
    training, held_out = prompts(limit)
    began = time.monotonic()
    yield point(greedy(model, held_out, None, settings), step=0, labels=0, seconds=0.0)
    chance = random.Random(settings.seed)
    order = [training[chance.randrange(len(training))] for _ in range(settings.steps * settings.prompts_per_step)]
    judge, principle = judge or ImplicitJudge(model), principle_of(persona)
    learner = Learner(model, settings.learner(), "proof", settings.steps)
    for step in range(1, settings.steps + 1):
        asked = order[(step - 1) * settings.prompts_per_step : step * settings.prompts_per_step]
        pairs = []
        for messages, (first, second) in zip(asked, sampled_twice(model, asked, settings, chance), strict=True):
            context = model.chat_ids(with_system(messages))
            choice = judge.prefer(messages, principle, model.decode(first), model.decode(second)).choice
            if choice:
                pairs.append(EncodedPair(context, *((first, second) if choice == "first" else (second, first))))
        if pairs:
            learner.step(pairs, learner.reference(pairs))
        if step % settings.evaluate_every == 0:
            answers = greedy(model, held_out, "proof", settings)
            seconds = round(time.monotonic() - began, 2)
            yield point(answers, step=step, labels=step * settings.prompts_per_step, seconds=seconds)


WAYS = {"online": online, "offline": offline}


def sampled_twice(
    model: LanguageModel, asked: list[list[Message]], settings: OnlineSettings, chance: random.Random
) -> list[tuple[list[int], list[int]]]:
    """Two answers of the original model to each prompt."""
    twice = [messages for messages in asked for _ in range(2)]
    answers = sampled(model, twice, settings, [chance.getrandbits(62) for _ in twice])
    return list(zip(answers[0::2], answers[1::2], strict=True))


def sampled(
    model: LanguageModel, asked: list[list[Message]], settings: OnlineSettings, seeds: Sequence[int], told: str = ""
) -> list[list[int]]:
    """An answer of the original model to each prompt, as token ids; `told` is a principle, framed."""
    return answered(model, asked, None, decoding(model, settings, settings.temperature), seeds, told)


def greedy(
    model: LanguageModel, asked: list[list[Message]], adapter: str | None, settings: OnlineSettings, told: str = ""
) -> list[str]:
    """The greedy answers of the policy; `told` is a principle, framed."""
    return [*map(model.decode, answered(model, asked, adapter, decoding(model, settings, 0.0), [0] * len(asked), told))]


def answered(
    model: LanguageModel,
    asked: list[list[Message]],
    adapter: str | None,
    decode: DecodeSettings,
    seeds: Sequence[int],
    told: str,
) -> list[list[int]]:
    """An answer to each prompt, some of them at once."""
    contexts, answers = [model.chat_ids(with_system(messages, told)) for messages in asked], []
    for start in range(0, len(asked), ROWS_AT_ONCE):
        part = slice(start, start + ROWS_AT_ONCE)
        answers += finished(sample_answers(model, contexts[part], adapter, decode, list(seeds[part])))
    return answers


def decoding(model: LanguageModel, settings: OnlineSettings, temperature: float) -> DecodeSettings:
    """As the online loop decodes."""
    return DecodeSettings(
        temperature=temperature,
        top_p=settings.top_p,
        max_new_tokens=settings.max_new_tokens,
        no_repeat_ngram=model.no_repeat_ngram,
    )


def finished(steps) -> Any:
    """What a generator returns."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
