"""One step at a time: what it counts, that cutting a batch up changes nothing, and what bf16 does."""

import math

import pytest
import torch

from app.refresh import learner as learner_module
from app.refresh.answers import encode, logps, micro_batches
from app.refresh.learner import Learner, RefreshSettings
from app.refresh.pairs import make_pair

SETTINGS = RefreshSettings(learning_rate=1e-2, rank=4, seed=3)
TOPICS = ("tea", "the sky", "waves", "a gruff captain of the short waves", "air")


def pairs_of(model):
    return encode(
        model,
        [
            make_pair([{"role": "user", "content": f"Tell me of {t}."}], f"{t}, matey!", f"One might consider {t}.")
            for t in TOPICS
        ],
    )


def run(model, settings, steps=6):
    pairs, learner = pairs_of(model), Learner(model, settings, "taste", steps)
    reference = learner.reference(pairs)
    found = [learner.step(pairs, reference) for _ in range(steps)]
    model.drop_adapter("taste")
    return found


def test_the_reference_is_the_base_pair_by_pair(llama):
    pairs = pairs_of(llama)
    reference = Learner(llama, SETTINGS, "taste", 1).reference(pairs)
    with torch.no_grad():
        each = torch.cat([torch.stack(logps(llama, [pair], None)) for pair in pairs], dim=1)
    assert reference.shape == (2, 5) and torch.allclose(reference, each, atol=1e-4)


def test_steps_count_themselves_and_learn(llama):
    steps = run(llama, SETTINGS)
    assert [(s.step, s.steps, s.shares) for s in steps] == [(i, 6, (5,)) for i in range(1, 7)]
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5) and steps[0].accuracy == 0.5
    assert steps[-1].loss < 0.6 and steps[-1].accuracy == 1.0 and steps[-1].margin > 0


def test_cutting_a_batch_into_parts_changes_no_loss(llama, monkeypatch):
    whole = run(llama, SETTINGS)
    monkeypatch.setattr(learner_module, "micro_batches", lambda pairs: micro_batches(pairs, 1))
    cut = run(llama, SETTINGS)
    assert [s.loss for s in cut] == pytest.approx([s.loss for s in whole], abs=1e-4)
    assert [s.margin for s in cut] == pytest.approx([s.margin for s in whole], abs=1e-3)


def test_bf16_begins_at_the_reference_and_learns_the_same_but_for_rounding(llama):
    exact, rounded = run(llama, SETTINGS), run(llama, SETTINGS.model_copy(update={"precision": "bf16"}))
    assert rounded[0].loss == pytest.approx(math.log(2), abs=1e-5)
    assert [s.loss for s in rounded] == pytest.approx([s.loss for s in exact], abs=0.1)
    assert [s.loss for s in rounded[1:]] != [s.loss for s in exact[1:]]
    assert rounded[-1].accuracy == 1.0


def test_auto_is_one_of_the_two(llama):
    """Which one, the machine decides; the losses are those of that one to the last bit."""
    losses = {
        p: [s.loss for s in run(llama, SETTINGS.model_copy(update={"precision": p}), 3)]
        for p in ("fp32", "bf16", "auto")
    }
    assert losses["auto"] in (losses["fp32"], losses["bf16"])
