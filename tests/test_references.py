"""What an objective measures against: which adapter it is, when it moves, and that nothing of it is left."""

import math

import pytest
import torch

from app.errors import InputError
from app.refresh.answers import encode, logps
from app.refresh.learner import Learner, RefreshSettings
from app.refresh.pairs import make_pair
from app.refresh.trainer import train

SETTINGS = RefreshSettings(learning_rate=1e-2, rank=4, seed=3, sft_weight=0.0)
TOPICS = ("tea", "the sky", "waves", "air")


def pairs_of(model):
    rows = [
        ([{"role": "user", "content": f"Tell me of {t}."}], f"{t}, matey!", f"One may consider {t}.") for t in TOPICS
    ]
    return encode(model, [make_pair(*row) for row in rows])


def weights(model, adapter):
    return [p.detach().clone() for key, p in model._model.named_parameters() if f".{adapter}." in key]


def losses(model, **values):
    steps = train(model, pairs_of(model), SETTINGS.model_copy(update={"epochs": 5, **values}), "taste")
    found = [step.loss for step in steps]
    model.drop_adapter("taste")
    return found


def held(model):
    return set(model._peft.peft_config)


def test_an_average_moves_as_trls_callback_moves_its_reference(llama):
    """Its alpha is the share of the policy, ours the share that stays."""
    callbacks = pytest.importorskip("trl.trainer.callbacks")
    learner = Learner(llama, SETTINGS.model_copy(update={"reference": "ema", "ema_decay": 0.7}), "taste", 4)
    average = torch.nn.ParameterList(weights(llama, "taste"))
    for _ in range(4):
        pairs = pairs_of(llama)
        learner.step(pairs, learner.reference(pairs))
        policy = torch.nn.ParameterList(weights(llama, "taste"))
        callbacks.SyncRefModelCallback._sync_target_model(policy, average, 1 - 0.7)
        for ours, theirs in zip(weights(llama, "taste_reference"), average, strict=True):
            assert torch.allclose(ours, theirs, atol=1e-6)
    assert not any(torch.equal(a, p) for a, p in zip(average, policy, strict=True)), (
        "an average that lags behind nothing"
    )
    learner.close()


def test_a_reference_that_follows_at_once_leaves_every_pair_at_its_start(llama):
    """With nothing kept of the average, policy and reference agree before every step: d = 0 and the loss is log 2."""
    assert losses(llama, reference="ema", ema_decay=0.0) == pytest.approx([math.log(2)] * 5, abs=1e-4)


@pytest.mark.parametrize("values", [{"reference": "ema", "ema_decay": 1.0}, {"reference": "previous"}])
def test_a_reference_that_never_moves_from_the_base_is_the_base(llama, values):
    plain = losses(llama)
    assert losses(llama, **values) == pytest.approx(plain, abs=1e-5) and plain[-1] < 0.6


def test_renewals_are_spread_evenly_and_make_the_policy_the_reference(llama):
    """Two renewals in six steps: after the second and the fourth."""
    settings = SETTINGS.model_copy(update={"reference": "previous", "renewals": 2})
    learner, pairs = Learner(llama, settings, "taste", 6), pairs_of(llama)
    stood = weights(llama, "taste")
    for step in range(1, 7):
        learner.step(pairs, learner.reference(pairs))
        stood = weights(llama, "taste") if step in (2, 4) else stood
        found = weights(llama, "taste_reference")
        assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, stood, strict=True))
    assert not learner.reference_policy.stays
    learner.close()


def test_nothing_of_a_reference_is_left(llama):
    for values in ({}, {"reference": "ema"}, {"reference": "previous"}):
        losses(llama, epochs=1, **values)
        assert held(llama) == {"unused"}
    running = train(llama, pairs_of(llama), SETTINGS.model_copy(update={"reference": "ema"}), "taste")
    next(running)
    assert held(llama) == {"unused", "taste", "taste_reference"}
    running.close()
    llama.drop_adapter("taste")
    assert held(llama) == {"unused"}


@pytest.fixture
def version(llama, tmp_path):
    """A saved version of rank 4 that is away from the base."""
    list(train(llama, pairs_of(llama), SETTINGS.model_copy(update={"epochs": 6}), "old"))
    llama.save_adapter("old", tmp_path / "v1")
    return tmp_path / "v1"


@pytest.mark.parametrize("rank", [4, 6])
def test_learning_may_begin_as_a_version_and_be_measured_against_it(llama, version, rank):
    settings = SETTINGS.model_copy(update={"reference": "previous", "rank": rank})
    learner, pairs = Learner(llama, settings, "taste", 1, version), pairs_of(llama)
    with torch.no_grad():
        old, new, base = (torch.stack(logps(llama, pairs, name)) for name in ("old", "taste", None))
    assert torch.allclose(old, new, atol=1e-3) and not torch.allclose(old, base, atol=0.1)
    reference = learner.reference(pairs)
    assert torch.allclose(reference, old, atol=1e-3)
    assert learner.step(pairs, reference).loss == pytest.approx(math.log(2), abs=1e-3)
    learner.close()
    assert held(llama) == {"unused", "old", "taste"}


def test_a_version_that_does_not_fit_is_refused(llama, version):
    with pytest.raises(InputError, match="has rank 4; an adapter of rank 3 cannot hold it: learn with rank 4 or more"):
        Learner(llama, SETTINGS.model_copy(update={"rank": 3}), "taste", 1, version)
    assert "taste_start" not in held(llama)
