"""The proof's part on cost: the same questions answered by every arm in turn, so that what else the machine does strikes all alike.

Arms that need something learnt get the versions that `proof_blends` learns, and a mixture is made before the race: what that takes is told
apart, since it is paid once and not at every token.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from app.annotators.implicit import ImplicitJudge
from app.blends import is_blend
from app.decoding.arms import DecodeSettings
from app.evaluation.answering import answer, written
from app.evaluation.contestants import Contestant, parse_all
from app.evaluation.plan import Written
from app.evaluation.questions import Case, cases, own_principles, own_prompts
from app.services import Services, build
from app.settings import Settings
from tests.benchmarks.proof_blends import ONE, OTHER, learnt
from tests.benchmarks.proof_online import finished
from tests.benchmarks.proof_several import PAIRS, WAYS, runs
from tests.benchmarks.proof_soups import half
from tests.benchmarks.race import race, ratios

# What stands in braces is a version, by what it was learnt for.
PAD = f"adapter_guided @ {{{ONE}}}"
SOUP = f"baseline @ {{{ONE}}}*0.5+{{{OTHER}}}*0.5"
EXPO = f"baseline @ {{{half(ONE)}}}*2"
SEVERAL = next(way for way in WAYS if way.name == "aligned, weights 1 and 1")
ARMS = (
    "principle_prompted",
    "baseline",
    "linear_aligned ratio=2",
    "linear_aligned kl_budget=0.5",
    "amulet",
    PAD,
    f"baseline @ {{{ONE}}}",
    SOUP,
    EXPO,
    "best_of_n count=4",
)
REPEATS, AT_ONCE, MIXED = 5, 12, 5
SETTINGS = DecodeSettings(temperature=0, max_new_tokens=64)


def measure(work: Path, limit: int, arms: tuple[str, ...] = ARMS) -> dict[str, Any]:
    """Seconds of each arm for every second of the prompted one; answers are made equally long, so that only the method counts.

    Args:
        work: not used; nothing but the versions is kept on the way.
        limit: how many repeats at most.
        arms: the first is what the others are measured against. Beside them runs linear alignment with two principles.
    """
    versions = learnt() if any("{" in arm for arm in arms) else {}
    contestants = parse_all([arm.format(**versions) for arm in arms])
    services = build(Settings())
    # On the thread that owns the model, as the product answers.
    found = services.worker.call(partial(timed, services, contestants, min(limit, REPEATS)))
    return {"versions": versions} | found


def timed(
    services: Services, contestants: list[Contestant], repeats: int, settings: DecodeSettings = SETTINGS
) -> dict[str, Any]:
    """The race, and before it the seconds that every mixture took to be made.

    Args:
        services: with the versions among its own.
        contestants: the first is what the others are measured against.
        repeats: each with other questions, at most `REPEATS`.
        settings: how long every answer is.
    """
    model = services.model
    model.end_ids = frozenset()
    mixing = {one.adapter: mixed(services, one.adapter) for one in contestants if is_blend(one.adapter)}
    asked = cases(own_prompts()[:REPEATS], own_principles())

    def heats(repeat: int) -> list[dict[str, Callable[[], list[Written]]]]:
        batch = asked[repeat * AT_ONCE : (repeat + 1) * AT_ONCE]
        sides = {one.name: partial(answered, services, one, batch, settings) for one in contestants}
        return [sides | {SEVERAL.name: partial(answered_to_several, services, batch, settings)}]

    seconds, returned = race(heats, repeats)
    first = contestants[0].name
    return {
        "tokens": settings.max_new_tokens,
        "answers at once": AT_ONCE,
        "arms": {
            name: {
                "seconds of prompted": ratios(seconds, name, first),
                "forwards an answer": answers[0].forwards,
            }
            for name, answers in returned[0].items()
        },
        "seconds to mix": mixing,
    }


def mixed(services: Services, mixture: str) -> list[float]:
    """How long a mixture takes to be made of versions that are loaded, several times."""
    seconds = []
    name = services.versions.load(mixture)
    for _ in range(MIXED):
        services.model.drop_adapter(name)
        started = time.perf_counter()
        services.versions.load(mixture)
        seconds.append(time.perf_counter() - started)
    return seconds


def answered(services: Services, one: Contestant, batch: list[Case], settings: DecodeSettings) -> list[Written]:
    """What one contestant answers."""
    adapter = services.versions.load(one.adapter)
    return finished(answer(services.model, one, batch, settings, adapter, ImplicitJudge(services.model)))


def answered_to_several(services: Services, batch: list[Case], settings: DecodeSettings) -> list[Written]:
    """What linear alignment answers to the same prompts with two principles."""
    prompts = [case.prompt for case in batch]
    return finished(written(services.model, runs(services.model, PAIRS[0], SEVERAL, prompts, settings)))
