"""A judge of pairs: which of two contestants' answers follows the principle better. Knows annotators, not who wrote what.

A judge that reads two answers one after the other may lean to the first. `app.annotators.endpoint` therefore asks in both orders
and makes no choice where the replies disagree; that is a tie here.
"""

from concurrent.futures import ThreadPoolExecutor

from app.annotators.preference import Annotator
from app.evaluation.questions import Case

ASKED_AT_ONCE = 4  # questions on their way to an endpoint
WIN = {"first": 1.0, "second": 0.0, None: 0.5}


def judge_pairs(annotator: Annotator, cases: list[Case], ones: list[str], others: list[str]) -> list[float]:
    """For each case 1 where the annotator prefers the one answer, 0 where the other, and 0.5 where it cannot tell.

    An empty answer loses to one that says something, and nobody is asked.

    Args:
        annotator: see `Annotator.prefer`; one that waits for a network and may be asked on several threads.
        cases: what was asked.
        ones, others: the answers of two contestants, one a case.

    Raises:
        ModelError: the annotator cannot be asked.
    """
    with ThreadPoolExecutor(ASKED_AT_ONCE, thread_name_prefix="judge") as pool:
        return list(pool.map(lambda asked: _win(annotator, *asked), zip(cases, ones, others, strict=True)))


def _win(annotator: Annotator, case: Case, one: str, other: str) -> float:
    if not (one.strip() and other.strip()):
        return (1 + bool(one.strip()) - bool(other.strip())) / 2
    messages = [{"role": "user", "content": case.prompt}]
    return WIN[annotator.prefer(messages, case.principle.text, one, other).choice]
