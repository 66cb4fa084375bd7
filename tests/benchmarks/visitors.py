"""How long visitors wait for their first token: each on a thread of their own, through the use case *compare*, as handlers of the page are.

Knows the use cases and threads; no bar and no table.
"""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from app.compare import Request
from app.decoding.arms import DecodeSettings
from app.services import Services
from tests.benchmarks.sides import PERSONAS, PROMPTS

LONG = 512  # tokens that nobody waits for: whoever was there first is still being answered when another arrives
GIVE_UP_SECONDS = 300.0


def alone(services: Services, tokens: int) -> list[float]:
    """Seconds to the first token of visitors who come one after another."""
    return [_visit(services, i, tokens) for i in range(len(PROMPTS))]


def at_once(services: Services, tokens: int) -> list[float]:
    """Seconds to the first token of as many visitors who all come in the same moment."""
    gate = threading.Barrier(len(PROMPTS))
    with ThreadPoolExecutor(len(PROMPTS)) as pool:
        return list(pool.map(lambda i: _visit(services, i, tokens, gate), range(len(PROMPTS))))


def joining(services: Services, tokens: int) -> list[float]:
    """Seconds to the first token of each visitor in turn, while all the others are being answered."""
    return [_join(services, i, tokens) for i in range(len(PROMPTS))]


def _join(services: Services, newcomer: int, tokens: int) -> float:
    leave = threading.Event()
    others = [i for i in range(len(PROMPTS)) if i != newcomer]
    began = {i: threading.Event() for i in others}
    with ThreadPoolExecutor(len(others)) as pool:
        jobs = [pool.submit(_visit, services, i, LONG, None, began[i], leave) for i in others]
        try:
            if not all(event.wait(GIVE_UP_SECONDS) for event in began.values()):
                raise RuntimeError(f"not all of {len(others)} visitors had a first token after {GIVE_UP_SECONDS} s")
            return _visit(services, newcomer, tokens)
        finally:
            leave.set()
            for job in jobs:
                job.result()


def _visit(
    services: Services,
    number: int,
    tokens: int,
    gate: threading.Barrier | None = None,
    began: threading.Event | None = None,
    leave: threading.Event | None = None,
) -> float:
    request = Request(
        messages=(("user", PROMPTS[number]),),
        persona=PERSONAS[number % len(PERSONAS)],
        settings=DecodeSettings(max_new_tokens=tokens, seed=number),
        adapter="none",
    )
    if gate:
        gate.wait(GIVE_UP_SECONDS)
    started, seconds = time.perf_counter(), 0.0
    comparison = services.compare.start(request, f"visitor-{number}")
    for progress in services.compare.run(comparison):
        if not seconds and any(answer.token_ids or answer.finish_reason for answer in progress.answers.values()):
            seconds = time.perf_counter() - started
            if began:
                began.set()
        if leave and leave.is_set():
            services.compare.cancel(comparison.round_id)
    return seconds
