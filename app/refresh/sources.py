"""Where the pairs of an online step come from: answers are sampled and judged, or taken from what there is, as the method says.

A source knows the policy by the learner's adapter, the judge by a callable, and token ids; it makes no gradient step, stops nothing
and knows no database.
"""

import math
import random
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any

from app.annotators.preference import Preference
from app.errors import InputError
from app.prompts import Message
from app.refresh.answers import EncodedPair
from app.refresh.drawing import Drawn, Events, Hand, Prompt, Source, endless
from app.refresh.feedback import Judged, Judgement, OnlineSettings
from app.refresh.judging import Question
from app.refresh.labels import gap_of, implied, scores_of, weights_of
from app.refresh.methods import ONLINE


@dataclass(frozen=True)
class _Answered:
    """Two answers to a prompt, and what the judge said of them."""

    pair: EncodedPair
    preference: Preference | None = None


def source_of(
    settings: OnlineSettings, hand: Hand, prompts: list[Prompt], pairs: list[tuple[list[Message], EncodedPair]]
) -> Source:
    """The source that the method of the settings asks for.

    Args:
        settings: the method and its numbers.
        hand: what the source may do.
        prompts: to answer.
        pairs: choices that there are already, with their conversations.

    Raises:
        InputError: the method learns from choices, and there are none.
    """
    method = ONLINE[settings.method]
    if method.pairs and not pairs:
        raise InputError(
            f"the method {method.name!r} learns from choices that there are already, and there are none on prompts that are not "
            "kept aside: give a file of pairs, or collect some"
        )
    if method.sampler == "cut":
        return FromCuts(settings, hand, [pair for _, pair in pairs])
    if method.sampler == "stages":
        return ClearFirst(settings, hand, pairs)
    return Twice(settings, hand, prompts, [pair for _, pair in pairs] if method.pairs == "mixed" else [])


class Twice:
    """Two answers of the policy to every prompt, the better one chosen.

    OAIF (arXiv 2402.04792) as it stands; SAIL (2406.15567, recalled) where the policy's implicit reward labels and as many choices
    that there are already are mixed in; OSP (2405.14103, recalled) where the judge's strength softens the label; OPTune (2406.07657,
    recalled) where prompts that were rewarded well keep their answers; BPO (2406.12168) where the reference is renewed.
    """

    def __init__(self, settings: OnlineSettings, hand: Hand, prompts: list[Prompt], mixed: list[EncodedPair]):
        self._settings, self._hand, self._prompts = settings, hand, prompts
        self._method = ONLINE[settings.method]
        self._order = endless(range(len(prompts)), hand.chance)
        self._mixed = endless(mixed, hand.chance) if mixed else None
        self._last: dict[int, _Answered] = {}

    def draw(self, step: int) -> Generator[Events, None, Drawn]:
        """See `Source.draw`."""
        batch = [next(self._order) for _ in range(self._settings.prompts_per_step)]
        fresh = self._to_answer(batch)
        answered = yield from self._answered(step, [self._prompts[i] for i in fresh])
        now = answered
        if self._method.sampler == "lowest":
            self._last |= zip(fresh, answered, strict=True)
            now = [self._last[i] for i in dict.fromkeys(batch)]
        choices = [(a.pair, a.preference) for a in now if a.preference and a.preference.choice]
        weights = weights_of([preference for _, preference in choices], self._settings)
        rows = [
            replace(pair if preference.choice == "first" else turned(pair), doubt=doubt, weight=weight)
            for (pair, preference), (doubt, weight) in zip(choices, weights, strict=True)
        ]
        dropped = len(now) - len(rows)
        rows += [next(self._mixed) for _ in batch] if self._mixed else []
        return Drawn(rows, dropped, [a.pair for a in answered])

    def _to_answer(self, batch: list[int]) -> list[int]:
        if self._method.sampler != "lowest":
            return batch
        distinct = list(dict.fromkeys(batch))
        share = math.ceil(self._settings.regenerate * len(distinct))
        lowest = set(sorted(distinct, key=self._last_reward)[:share])
        return [i for i in distinct if i in lowest or i not in self._last]

    def _last_reward(self, prompt: int) -> float:
        # The mean of both answers; what was never answered or could not be judged comes first.
        preference = self._last[prompt].preference if prompt in self._last else None
        return sum(scores_of(preference)) / 2 if preference else -math.inf

    def _answered(self, step: int, prompts: list[Prompt]) -> Generator[Events, None, list[_Answered]]:
        hand = self._hand
        seeds = [hand.chance.getrandbits(62) for _ in range(2 * len(prompts))]
        answers = yield from hand.sample([p for p in prompts for _ in range(2)], hand.adapter, seeds)
        # Answers 2i and 2i + 1 are those to prompt i.
        pairs = [EncodedPair(p.context, *answers[2 * i : 2 * i + 2]) for i, p in enumerate(prompts)]
        if self._method.labels == "policy":
            preferences = yield from self._own_opinion(pairs)
        else:
            texts = [hand.decode(ids) for ids in answers]
            questions = [Question(p.messages, *texts[2 * i : 2 * i + 2]) for i, p in enumerate(prompts)]
            preferences = yield from hand.prefer(questions)
            yield Judged([Judgement(step, q, p) for q, p in zip(questions, preferences, strict=True) if p])
        return [_Answered(*both) for both in zip(pairs, preferences, strict=True)]

    def _own_opinion(self, pairs: list[EncodedPair]) -> Generator[None, None, list[Preference | None]]:
        # The label is 1 with chance sg(beta d). A draw, or the chance itself as a soft label, would pull nowhere on average, since
        # the gradient at a policy's own opinion is 0; so the likelier answer is taken. At the start d is 0, and nothing is said.
        learner = self._hand.learner
        policy = yield from learner.logps(pairs, self._hand.adapter)
        reference = yield from learner.logps(pairs, learner.reference_policy.adapter)
        gaps = ((policy - reference)[0] - (policy - reference)[1]).tolist()
        return [implied(gap) for gap in gaps]


class FromCuts:
    """SAPO (arXiv 2405.20830): the reference, a moving average of the policy, goes on from a cut of a chosen answer, and what it says
    there is rejected. No judge. Pairs are kept, and drawn with weight 1 / (how often they were + 1).
    """

    def __init__(self, settings: OnlineSettings, hand: Hand, pairs: list[EncodedPair]):
        self._settings, self._hand = settings, hand
        self._order = endless(pairs, hand.chance)
        # Each pair with how often it was learnt from.
        self._buffer: deque[list[Any]] = deque(maxlen=settings.buffer)

    def draw(self, step: int) -> Generator[Events, None, Drawn]:
        """See `Source.draw`."""
        hand = self._hand
        given = [next(self._order) for _ in range(self._settings.prompts_per_step)]
        cuts = [hand.chance.randrange(len(pair.chosen)) for pair in given]
        begun = [Prompt([], pair.context + pair.chosen[:cut]) for pair, cut in zip(given, cuts, strict=True)]
        seeds = [hand.chance.getrandbits(62) for _ in begun]
        ends = yield from hand.sample(begun, hand.learner.reference_policy.adapter, seeds)
        for pair, cut, end in zip(given, cuts, ends, strict=True):
            rejected = pair.chosen[:cut] + end
            if rejected != pair.chosen:
                self._buffer.append([EncodedPair(pair.context, pair.chosen, rejected), 0])
        drawn = seldom_first(self._buffer, len(given), hand.chance)
        for entry in drawn:
            entry[1] += 1
        rows = [pair for pair, _ in drawn]
        written = [EncodedPair(prompt.context, [], end) for prompt, end in zip(begun, ends, strict=True)]
        return Drawn(rows, len(given) - len(rows), written)


class ClearFirst:
    """MPO (arXiv 2403.19443, recalled): the pairs on which the judge sees a wide gap are learnt as they are; then the policy answers
    the prompts of the others twice, and is measured against what it had become. The steps are shared out by the number of pairs.
    """

    def __init__(self, settings: OnlineSettings, hand: Hand, pairs: list[tuple[list[Message], EncodedPair]]):
        self._settings, self._hand, self._pairs = settings, hand, pairs
        self._clear: Iterator[EncodedPair] | None = None
        self._clear_steps = 0
        self._hard: Twice | None = None

    def draw(self, step: int) -> Generator[Events, None, Drawn]:
        """See `Source.draw`."""
        if step == 1:
            yield from self._divide()
        if step <= self._clear_steps:
            rows = [next(self._clear) for _ in range(self._settings.prompts_per_step)]
            return Drawn(rows, 0, [])
        if step == self._clear_steps + 1:
            self._hand.learner.reference_policy.renew()
        return (yield from self._hard.draw(step))

    def _divide(self) -> Generator[Events, None, None]:
        decode = self._hand.decode
        questions = [Question(messages, decode(pair.chosen), decode(pair.rejected)) for messages, pair in self._pairs]
        preferences = yield from self._hand.prefer(questions)
        hard = [gap_of(preference) < self._settings.hard_below for preference in preferences]
        clear = [pair for (_, pair), is_hard in zip(self._pairs, hard, strict=True) if not is_hard]
        left = [
            Prompt(messages, pair.context)
            for (messages, pair), is_hard in zip(self._pairs, hard, strict=True)
            if is_hard
        ]
        self._clear_steps = round(self._settings.steps * len(clear) / len(self._pairs))
        self._clear = endless(clear, self._hand.chance) if clear else None
        self._hard = Twice(self._settings, self._hand, left, []) if left else None


def seldom_first(entries: deque[list[Any]], count: int, chance: random.Random) -> list[list[Any]]:
    """`count` of the entries, or all that there are, none twice; each drawn with weight 1 / (its second value + 1)."""
    # Of exponential waiting times with these rates, the shortest are such a draw (Efraimidis and Spirakis 2006).
    waits = [(chance.expovariate(1 / (entry[1] + 1)), i) for i, entry in enumerate(entries)]
    return [entries[i] for _, i in sorted(waits)[:count]]


def turned(pair: EncodedPair) -> EncodedPair:
    """The other answer chosen."""
    return EncodedPair(pair.context, chosen=pair.rejected, rejected=pair.chosen)
