"""How the cost of steps, answers and refreshes grows with their size, with the share of the machine's limits. Knows the model's
forward, the decoding and the trainer; no files and no plots.
"""

import itertools
import random
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import torch

from app.decoding.arms import DecodeSettings
from app.model import LanguageModel
from app.refresh.pairs import Pair, make_pair
from app.refresh.trainer import EncodedPair, RefreshSettings, encode, train
from app.starter import CORPUS_FOLDER
from app.starter.compose import load_topics
from tests.benchmarks import shapes
from tests.benchmarks.limits import Limits, settle, shares, step_bytes, token_operations
from tests.benchmarks.sides import comparisons, ours

ROWS, ROWS_CONTEXT = (1, 2, 4, 8, 16, 32), 128
CONTEXTS, CONTEXT_ROWS = (64, 128, 256, 512, 1024), 4
ANSWERS = (16, 32, 64, 128, 256)
PAIRS = (8, 16, 32, 64)
STEPS = 24
COMMON_TOKENS = 4000  # ids below this are in every vocabulary here

Points = list[dict[str, Any]]


def engine(model: LanguageModel, limits: Limits, repeats: int, sizes: int | None) -> dict[str, Points]:
    """Points along rows, context and answer."""
    small = shapes.narrow(model)
    return {
        "rows": _rows(model, small, limits, repeats, sizes),
        "context": _contexts(model, small, limits, repeats, sizes),
        "answer": _answers(model, small, limits, repeats, sizes),
    }


def refresh(model: LanguageModel, limits: Limits, repeats: int, sizes: int | None) -> dict[str, Points]:
    """Points along the pairs of a refresh of one epoch: from token ids to the last step, without the choice of a version."""
    small, points = shapes.narrow(model), []
    found = _in_turn(PAIRS[:sizes], repeats, lambda n: (_train(model, n), _train(small, n)))
    for n, measured in found.items():
        (seconds, python_seconds), pairs = _medians(measured), encode(model, _pairs(n))
        tokens = sum(len(p.context) + len(p.chosen) + len(p.rejected) for p in pairs)
        # The reference's forward, the policy's, and backward to the activations; a prompt counts once for both answers. The base
        # is frozen, so that its weights need no gradients.
        operations = tokens * 3 * token_operations(model, tokens / len(pairs) / 2)
        points.append(
            {
                "pairs": n,
                "refresh_seconds": seconds,
                "python_seconds": python_seconds,
                "tokens": tokens,
                "pairs_per_second": n / seconds,
                **shares(limits, seconds, python_seconds, operations),
            }
        )
    return {"pairs": points}


def _rows(model: LanguageModel, small: LanguageModel, limits: Limits, repeats: int, sizes: int | None) -> Points:
    points = []
    found = _in_turn(
        ROWS[:sizes], repeats, lambda n: (_steps(model, n, ROWS_CONTEXT)[1], _steps(small, n, ROWS_CONTEXT)[1])
    )
    for rows, measured in found.items():
        seconds, python_seconds = _medians(measured)
        columns = ROWS_CONTEXT + STEPS // 2
        points.append(
            {
                "rows": rows,
                "step_seconds": seconds,
                "python_seconds": python_seconds,
                "tokens_per_second": rows / seconds,
                **shares(
                    limits,
                    seconds,
                    python_seconds,
                    rows * token_operations(model, columns),
                    step_bytes(model, rows, columns),
                ),
            }
        )
    return points


def _contexts(model: LanguageModel, small: LanguageModel, limits: Limits, repeats: int, sizes: int | None) -> Points:
    points = []

    def once(columns: int) -> tuple[float, ...]:
        fitting = min(columns, model.context_length - STEPS)
        return (*_steps(model, CONTEXT_ROWS, fitting), *_steps(small, CONTEXT_ROWS, fitting))

    for context, measured in _in_turn(CONTEXTS[:sizes], repeats, once).items():
        prefill, step, python_prefill, python_step = _medians(measured)
        columns = min(context, model.context_length - STEPS)
        reading = shares(limits, prefill, python_prefill, columns * token_operations(model, columns / 2))
        writing = shares(
            limits,
            step,
            python_step,
            CONTEXT_ROWS * token_operations(model, columns),
            step_bytes(model, CONTEXT_ROWS, columns),
        )
        points.append(
            {
                "context": context,
                "prefill_seconds": prefill,
                "step_seconds": step,
                **{f"prefill_{key}": value for key, value in reading.items()},
                **{f"step_{key}": value for key, value in writing.items()},
            }
        )
    return points


def _answers(model: LanguageModel, small: LanguageModel, limits: Limits, repeats: int, sizes: int | None) -> Points:
    points = []
    pair = comparisons(model, 0)[0]

    def once(model: LanguageModel, tokens: int) -> float:
        started = time.perf_counter()
        ours(model, pair, DecodeSettings(max_new_tokens=tokens))
        return time.perf_counter() - started

    found = _in_turn(ANSWERS[:sizes], repeats, lambda n: (once(model, n), once(small, n)))
    for tokens, measured in found.items():
        seconds, python_seconds = _medians(measured)
        read, columns, rows = sum(map(len, pair)), len(pair[1]) + tokens / 2, 4  # one, one, and two for the aligned arm
        operations = (read + rows * (tokens - 1)) * token_operations(model, columns)
        moved = tokens * step_bytes(model, rows, int(columns))
        points.append(
            {
                "answer": tokens,
                "comparison_seconds": seconds,
                "python_seconds": python_seconds,
                "seconds_per_token": seconds / tokens,
                **shares(limits, seconds, python_seconds, operations, moved),
            }
        )
    return points


@torch.inference_mode()
def _steps(model: LanguageModel, rows: int, columns: int) -> tuple[float, float]:
    # Seconds to read one context, and the median of a step with that many copies of it.
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(5, COMMON_TOKENS, (1, columns), generator=generator).to(model.device)
    mask, positions = torch.ones_like(ids), torch.arange(columns, device=model.device)[None]
    settle(model.device)
    started = time.perf_counter()
    _, cache = model.forward(ids, mask, positions, None)
    settle(model.device)
    prefill, seconds = time.perf_counter() - started, []
    cache.batch_repeat_interleave(rows)
    for step in range(STEPS):
        token = ids[:, step : step + 1].expand(rows, 1)
        mask = torch.ones(rows, columns + step + 1, dtype=torch.long, device=model.device)
        position = torch.full((rows, 1), columns + step, device=model.device)
        settle(model.device)
        started = time.perf_counter()
        _, cache = model.forward(token, mask, position, cache)
        settle(model.device)
        seconds.append(time.perf_counter() - started)
    return prefill, median(seconds)


def _train(model: LanguageModel, n: int) -> float:
    pairs: list[EncodedPair] = encode(model, _pairs(n))
    settings, name = RefreshSettings(epochs=1), "measured"
    started = time.perf_counter()
    for _ in train(model, pairs, settings, name):
        pass
    settle(model.device)
    seconds = time.perf_counter() - started
    model.drop_adapter(name)
    return seconds


def _pairs(n: int) -> list[Pair]:
    topics = list(itertools.islice(load_topics(CORPUS_FOLDER / "topics"), max(PAIRS)))
    random.Random(0).shuffle(topics)
    return [make_pair([{"role": "user", "content": t["prompts"][0]}], t["short"], t["plain"]) for t in topics[:n]]


def _in_turn(
    sizes: tuple[int, ...], repeats: int, once: Callable[[int], tuple[float, ...]]
) -> dict[int, list[tuple[float, ...]]]:
    # Upwards and downwards in turn, so that a machine that slows down does not look like growth; the first run is not counted.
    once(sizes[0])
    found: dict[int, list[tuple[float, ...]]] = {size: [] for size in sizes}
    for repeat in range(repeats):
        for size in sizes if repeat % 2 == 0 else reversed(sizes):
            found[size].append(once(size))
    return found


def _medians(measured: list[tuple[float, ...]]) -> tuple[float, ...]:
    return tuple(map(median, zip(*measured, strict=True)))
