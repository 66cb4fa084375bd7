"""Trains a LoRA adapter on preference pairs, one step at a time, so that whoever owns the model can do other things between.

Where the reference stays as it is, it is computed once for every pair. It knows no database, no versions and no page.
"""

import json
import math
import random
from collections.abc import Iterator
from dataclasses import astuple
from pathlib import Path

import torch

from app.model import LanguageModel
from app.refresh import processes
from app.refresh.answers import EncodedPair, encode, logps, margins
from app.refresh.learner import Learner, Step, count_above_zero, share_above_zero
from app.refresh.refresh_settings import RefreshSettings

# The trainer is the front of the refresh: whoever trains finds here what to train on and how, too.
__all__ = [
    "EncodedPair",
    "RefreshSettings",
    "Step",
    "count_above_zero",
    "encode",
    "follow",
    "logps",
    "margins",
    "share_above_zero",
    "train",
]

# Not fewer, and no end as soon as margins are wide: the loss is at zero after ten steps, and the style is not there before thirty
# (`tests/benchmarks/schedule.py`).
USUAL_STEPS, FEWEST_EPOCHS = 32, 2


def train(
    model: LanguageModel, pairs: list[EncodedPair], settings: RefreshSettings, adapter: str, start: Path | None = None
) -> Iterator[Step]:
    """Adds a fresh adapter named `adapter` to the model and trains it; yields after every optimiser step.

    Between two yields the model may be used with any other adapter. Whoever stops early should `drop_adapter`. Of several
    processes the first calls this, and all others `follow`. `start`: the folder of the version to begin as, where there is one.
    """
    if processes.count() > 1:
        told = [settings.model_dump(), [astuple(pair) for pair in pairs], start and str(start)]
        processes.from_first(json.dumps(told))
    yield from _train(model, pairs, settings, adapter, start)


def follow(model: LanguageModel, adapter: str) -> None:
    """What every process but the first does in place of `train`: the same steps with a share of the pairs, and nothing else."""
    settings, pairs, start = json.loads(processes.from_first(""))
    rows = [EncodedPair(*pair) for pair in pairs]
    for _ in _train(model, rows, RefreshSettings(**settings), adapter, start and Path(start)):
        pass


def batches(pairs: int, settings: RefreshSettings) -> list[list[int]]:
    """Which pairs each step sees, by their numbers, all epochs one after another, each in an order of its own."""
    order = random.Random(settings.seed)
    steps: list[list[int]] = []
    steps_an_epoch = math.ceil(pairs / settings.pairs_per_step)
    for _ in range(settings.epochs or max(FEWEST_EPOCHS, math.ceil(USUAL_STEPS / steps_an_epoch))):
        indices = list(range(pairs))
        order.shuffle(indices)
        steps += [indices[i : i + settings.pairs_per_step] for i in range(0, pairs, settings.pairs_per_step)]
    return steps


def _train(
    model: LanguageModel, pairs: list[EncodedPair], settings: RefreshSettings, adapter: str, start: Path | None
) -> Iterator[Step]:
    steps = batches(len(pairs), settings)
    learner = Learner(model, settings, adapter, len(steps), start)
    reference = torch.full((2, len(pairs)), torch.nan, device=model.device)
    try:
        for indices in steps:
            batch = [pairs[i] for i in indices]
            # Once for every pair, in the first epoch, so that no step is a long one; but for a reference that moves.
            if not learner.reference_policy.stays or reference[:, indices].isnan().any():
                reference[:, indices] = learner.reference(batch)
            yield learner.step(batch, reference[:, indices])
    finally:
        learner.close()
