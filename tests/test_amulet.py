"""Amulet against the authors' own figures, and its one step against the game played out on tensors."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.decoding import rules
from app.decoding.amulet import step_size
from app.decoding.arms import DecodeSettings, build_arms
from app.errors import InputError, checked

CASES = json.loads((Path(__file__).parent / "vectors" / "amulet.json").read_text())["cases"]
ONE = torch.ones(1)


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


def game(base: torch.Tensor, prompted: torch.Tensor, alpha: float, lambda_: float, eta: float, steps: int):
    """The paper's update, round by round, renormalised after each; in fp64."""
    base, prompted = base.double().log_softmax(-1), prompted.double().log_softmax(-1)
    policy, payoffs = prompted, torch.zeros_like(base)
    for t in range(1, steps + 1):
        payoffs = payoffs + alpha * (policy - base)
        leader = lambda_ * prompted + payoffs / t + policy / (eta * t)
        policy = (leader / (lambda_ + 1 / (eta * t))).log_softmax(-1)
    return policy


def amulet(base: torch.Tensor, prompted: torch.Tensor, top_p: float = 1.0, temperature: float = 1.0, **values: float):
    decode = DecodeSettings(top_p=top_p, temperature=temperature, **values)
    (arm,) = build_arms(["amulet"], ONE, decode)
    return arm.next_log_probs(torch.stack([base, prompted]))


@pytest.mark.parametrize("number", range(len(CASES)))
def test_figures_of_the_authors_code(number):
    case = CASES[number]
    base, prompted = torch.tensor(case["base_logits"]), torch.tensor(case["principle_logits"])
    found = amulet(
        base,
        prompted,
        amulet_alpha=case["alpha"],
        amulet_lambda=case["lambda_"],
        amulet_eta=case["eta"],
        amulet_steps=case["iterations"],
    )
    assert torch.allclose(found, torch.tensor(case["log_probabilities"]), rtol=0, atol=1e-5)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(0, 4), st.floats(2, 20), st.floats(0.1, 100), st.integers(1, 100))
def test_one_step_is_the_whole_game(seed, alpha, lambda_, eta, steps):
    base, prompted = random_logits(seed, 40).double(), random_logits(seed + 1, 40).double()
    ratio = step_size(alpha, lambda_, eta, steps)
    assert torch.allclose(
        (prompted + ratio * (prompted - base)).log_softmax(-1),
        game(base, prompted, alpha, lambda_, eta, steps),
        atol=1e-6,
    )


def test_one_round_by_hand():
    # c_2 = (alpha * 1 + 0) / (lambda + 1/eta) = 3 / (2 + 0.5).
    assert step_size(3, 2, 2, 1) == pytest.approx(1.2)
    # c_3 = (alpha * (1 + 2.2)/2 + 1.2 / 4) / (2 + 1/4) = (4.8 + 0.3) / 2.25.
    assert step_size(3, 2, 2, 2) == pytest.approx(5.1 / 2.25)


@pytest.mark.parametrize("temperature", [0.0, 0.5])
def test_alpha_0_is_the_prompted_arm(temperature):
    base, prompted = random_logits(0, 50), random_logits(1, 50)
    found = amulet(base, prompted, 0.8, temperature, amulet_alpha=0)
    assert torch.allclose(found.exp(), rules.plain_log_probs(prompted, 0.8, temperature).exp(), atol=1e-6)
    assert not torch.allclose(amulet(base, prompted, 0.8, temperature).exp(), found.exp(), atol=1e-2)


def test_it_is_linear_alignment_with_a_nucleus_of_its_own():
    """Without a nucleus the two arms are one, at the ratio that stands for Amulet's numbers."""
    base, prompted = random_logits(2, 50), random_logits(3, 50)
    decode = DecodeSettings(ratio=step_size(2, 2, 10, 60), top_p=1, temperature=1)
    (aligned,) = build_arms(["linear_aligned"], ONE, decode)
    assert torch.allclose(aligned.next_log_probs(torch.stack([base, prompted])), amulet(base, prompted), atol=1e-5)
    assert 4 < decode.ratio < 6


def test_with_several_principles_it_follows_their_mix():
    base, principles = random_logits(4, 50), random_logits(5, 2, 50)
    decode = DecodeSettings(top_p=1, temperature=1)
    weights = torch.tensor([1.0, -0.5])
    (arm,) = build_arms(["amulet"], weights, decode)
    mix = rules.mix_logits(base, principles, weights, torch.zeros(2))
    assert arm.contexts == (0, 1, 2)
    assert torch.allclose(arm.next_log_probs(torch.cat([base[None], principles])), amulet(base, mix), atol=1e-4)


@pytest.mark.parametrize(
    "values",
    [
        {"amulet_alpha": 4.1},
        {"amulet_alpha": math.nan},
        {"amulet_lambda": 1.9},
        {"amulet_eta": 0},
        {"amulet_steps": 101},
    ],
)
def test_numbers_out_of_bounds_are_refused_by_name(values):
    with pytest.raises(InputError, match=next(iter(values))):
        checked(DecodeSettings, **values)


def test_at_the_bounds_the_step_is_finite_and_what_may_not_be_said_stays_unsaid():
    """A run marks tokens that would repeat with one very low logit in all contexts; no step may lift it above the others."""
    base, prompted = random_logits(6, 50) + 8, random_logits(7, 50)
    base[3] = prompted[3] = -1e4
    found = amulet(base, prompted, amulet_alpha=4, amulet_lambda=2, amulet_eta=100, amulet_steps=100)
    assert not found.isnan().any() and found[3].exp() == 0
