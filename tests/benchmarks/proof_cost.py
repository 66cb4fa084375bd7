"""The proof's part on cost: the same questions answered by every arm in turn, so that what else the machine does strikes all alike."""

from pathlib import Path
from typing import Any

from app.annotators.implicit import ImplicitJudge
from app.decoding.arms import DecodeSettings
from app.evaluation.answering import answer
from app.evaluation.contestants import parse_all
from app.evaluation.plan import Written
from app.evaluation.questions import cases, own_principles, own_prompts
from app.model import LanguageModel
from tests.benchmarks.race import race, ratios

ARMS = ("principle_prompted", "linear_aligned ratio=2", "linear_aligned kl_budget=0.5", "amulet", "best_of_n count=4")
REPEATS, AT_ONCE = 5, 12
TOKENS = 64


def measure(work: Path, limit: int, arms: tuple[str, ...] = ARMS) -> dict[str, Any]:
    """Seconds of each arm for every second of the prompted one; answers are made equally long, so that only the method counts.

    Args:
        work: not used; nothing is kept on the way.
        limit: how many repeats at most.
        arms: the first is what the others are measured against.
    """
    model = LanguageModel.load("starter")
    model.end_ids = frozenset()
    asked = cases(own_prompts()[:REPEATS], own_principles())
    settings = DecodeSettings(temperature=0, max_new_tokens=TOKENS)
    contestants = {one.name: one for one in parse_all(list(arms))}

    def heats(repeat: int) -> list[dict[str, Any]]:
        batch = asked[repeat * AT_ONCE : (repeat + 1) * AT_ONCE]

        def run(one) -> list[Written]:
            steps = answer(model, one, batch, settings, None, ImplicitJudge(model))
            while True:
                try:
                    next(steps)
                except StopIteration as end:
                    return end.value

        return [{name: lambda one=one: run(one) for name, one in contestants.items()}]

    seconds, returned = race(heats, min(limit, REPEATS))
    first = next(iter(contestants))
    return {
        "tokens": TOKENS,
        "answers at once": AT_ONCE,
        "arms": {
            name: {
                "seconds of prompted": ratios(seconds, name, first),
                "forwards an answer": returned[0][name][0].forwards,
            }
            for name in contestants
        },
    }
