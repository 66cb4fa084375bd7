"""Trains a LoRA adapter on preference pairs, one step at a time, so that whoever owns the model can do other things between.

The reference is the base with the adapter off, computed once for every pair. It knows no database, no versions and no page.
"""

import math
import random
from collections.abc import Iterator

import torch

from app.model import LanguageModel
from app.refresh.answers import EncodedPair, encode, logps, margins, row_logps
from app.refresh.learner import Learner, RefreshSettings, Step, share_above_zero

# The trainer is the front of the refresh: whoever trains finds here what to train on and how, too.
__all__ = [
    "EncodedPair",
    "RefreshSettings",
    "Step",
    "encode",
    "logps",
    "margins",
    "row_logps",
    "share_above_zero",
    "train",
]

USUAL_STEPS, FEWEST_EPOCHS = 32, 2


def train(model: LanguageModel, pairs: list[EncodedPair], settings: RefreshSettings, adapter: str) -> Iterator[Step]:
    """Adds a fresh adapter named `adapter` to the model and trains it; yields after every optimiser step.

    Between two yields the model may be used with any other adapter. Whoever stops early should `drop_adapter`.
    """
    batches = _batches(len(pairs), settings)
    learner = Learner(model, settings, adapter, len(batches))
    reference = torch.full((2, len(pairs)), torch.nan, device=model.device)
    for indices in batches:
        batch = [pairs[i] for i in indices]
        if (
            reference[:, indices].isnan().any()
        ):  # once for every pair, in the first epoch, so that no step is a long one
            with torch.no_grad():
                reference[:, indices] = torch.stack(logps(model, batch, None))
        yield learner.step(batch, reference[:, indices])


def _batches(pairs: int, settings: RefreshSettings) -> list[list[int]]:
    order = random.Random(settings.seed)
    batches: list[list[int]] = []
    steps_an_epoch = math.ceil(pairs / settings.pairs_per_step)
    for _ in range(settings.epochs or max(FEWEST_EPOCHS, math.ceil(USUAL_STEPS / steps_an_epoch))):
        indices = list(range(pairs))
        order.shuffle(indices)
        batches += [indices[i : i + settings.pairs_per_step] for i in range(0, pairs, settings.pairs_per_step)]
    return batches
