"""The decoding rules against the authors' own figures, identities and hand-worked cases."""

import json
import math
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from app.decoding import rules
from app.decoding.guidance import guided_logits

CASES = json.loads((Path(__file__).parent / "vectors" / "linear_alignment.json").read_text())["cases"]
ONE = torch.ones(1)


def random_logits(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * 2


@pytest.mark.parametrize("case", CASES, ids=lambda c: f"r{c['ratio']}-t{c['temperature']}-p{c['top_p']}")
def test_figures_of_the_authors_code(case):
    base, prompted = torch.tensor(case["base_logits"]), torch.tensor(case["principle_logits"])
    log_probs = rules.aligned_log_probs(base, prompted[:, None], ONE, case["ratio"], case["top_p"], case["temperature"])
    assert torch.allclose(log_probs.exp(), torch.tensor(case["next_token_probabilities"]), atol=1e-5)
    assert log_probs.argmax(-1).tolist() == case["greedy_tokens"]
    support = [sorted(row.isfinite().nonzero().flatten().tolist()) for row in log_probs]
    expected = [
        sorted(i for i, kept in enumerate(row) if kept) if len(row) == base.shape[-1] else sorted(row)
        for row in case["support"]
    ]
    assert support == expected


def test_ratio_0_is_the_prompted_arm_and_minus_1_the_base():
    base, prompted = random_logits(0, 50), random_logits(1, 1, 50)
    assert torch.equal(rules.mix_logits(base, prompted, ONE, torch.zeros(1)), base + (prompted[0] - base))
    assert torch.equal(rules.mix_logits(base, prompted, ONE, torch.tensor([-1.0])), base)
    at_zero = rules.aligned_log_probs(base, prompted, ONE, 0.0, 0.8, 0.5)
    assert torch.allclose(at_zero.exp(), rules.plain_log_probs(prompted[0], 0.8, 0.5).exp(), atol=1e-6)


def test_two_principles_by_hand():
    base = torch.tensor([0.0, 0.0])
    principles = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    # 0 + (1+1)*1*(1-0) = 2 for the first token; (1+0.5)*(-0.5)*(2-0) = -1.5 for the second.
    mixed = rules.mix_logits(base, principles, torch.tensor([1.0, -0.5]), torch.tensor([1.0, 0.5]))
    assert mixed.tolist() == [2.0, -1.5]


def test_nucleus_by_hand():
    logits = torch.tensor([0.5, 0.3, 0.2]).log()
    assert rules.nucleus(logits, 0.5, 1.0).tolist() == [True, False, False]
    assert rules.nucleus(logits, 0.51, 1.0).tolist() == [True, True, False]
    assert rules.nucleus(logits, 1e-9, 1.0).tolist() == [True, False, False]
    assert rules.nucleus(logits, 1.0, 1.0).all()
    assert torch.equal(rules.nucleus(logits, 0.6, 0.0), rules.nucleus(logits, 0.6, 1.0))


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.05, 0.99), st.floats(0.3, 3.0))
def test_nucleus_of_a_large_flat_vocabulary_equals_a_full_sort(seed, top_p, temperature):
    """The short way (top-k first) must not change the set where the nucleus is longer than k."""
    logits = random_logits(seed, 2, 2000) * 0.3
    probabilities = (logits / temperature).softmax(-1)
    order = probabilities.argsort(-1, descending=True)
    for row, mask in enumerate(rules.nucleus(logits, top_p, temperature)):
        total, kept = 0.0, 0
        while total < top_p - 1e-6:
            total += float(probabilities[row, order[row, kept]])
            kept += 1
        assert abs(int(mask.sum()) - kept) <= 1
        assert set(mask.nonzero().flatten().tolist()) <= set(order[row, : kept + 1].tolist())


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.001, 3.0), st.floats(0.5, 10.0))
def test_kl_budget_is_kept_and_used_up(seed, budget, ratio):
    base, prompted = random_logits(seed, 64), random_logits(seed + 1, 64)
    target = prompted + ratio * (prompted - base)
    result = rules.within_kl_budget(prompted, target, budget)
    kl = torch.nn.functional.kl_div(prompted.log_softmax(-1), result.log_softmax(-1), log_target=True, reduction="sum")
    full = torch.nn.functional.kl_div(
        prompted.log_softmax(-1), target.log_softmax(-1), log_target=True, reduction="sum"
    )
    assert float(kl) <= budget + 1e-4
    assert float(kl) == pytest.approx(min(budget, float(full)), abs=2e-3)


def test_kl_grows_with_the_ratio_and_an_infinite_budget_is_the_plain_ratio():
    base, prompted = random_logits(3, 64), random_logits(4, 64)
    direction, reference = prompted - base, prompted.log_softmax(-1)
    divergences = [
        torch.nn.functional.kl_div(
            reference, (prompted + r * direction).log_softmax(-1), log_target=True, reduction="sum"
        )
        for r in torch.linspace(0, 8, 30)
    ]
    assert all(a <= b + 1e-6 for a, b in pairwise(divergences))
    target = prompted + 3 * direction
    assert torch.equal(rules.within_kl_budget(prompted, target, math.inf), target)


def test_some_token_always_remains_even_where_the_rule_hates_the_nucleus():
    prompted = torch.tensor([[10.0, 0.0, 0.0]])
    base = torch.tensor([30.0, 0.0, 0.0])
    log_probs = rules.aligned_log_probs(base, prompted, ONE, 20.0, 0.5, 0.5)
    assert log_probs.exp().tolist() == [1.0, 0.0, 0.0]


# --- one model guided by another


def test_guided_by_hand():
    original = torch.tensor([0.5, 0.3, 0.15, 0.05]).log()
    personal = torch.tensor([0.1, 0.3, 0.5, 0.1]).log()
    # Of the first two tokens the original gives 5/8 and 3/8, the personal model 1/4 and 3/4: log-ratios log(2/5) and log 2.
    found = guided_logits(original, personal, 2.0, 2)
    assert found[:2].tolist() == pytest.approx([math.log(0.5 * 0.4**2), math.log(0.3 * 4)])
    assert found[2:].tolist() == [-math.inf] * 2


@pytest.mark.parametrize("top_k", [1, 10, 50, 256])
def test_weight_0_is_the_original_and_weight_1_the_personal_model_among_the_first_tokens(top_k):
    original, personal = random_logits(8, 3, 50), random_logits(9, 3, 50)
    first = original >= original.topk(min(top_k, 50)).values[..., -1:]
    for weight, model in ((0.0, original), (1.0, personal)):
        found = guided_logits(original, personal, weight, top_k)
        assert torch.equal(found.isfinite(), first)
        assert torch.allclose(found.softmax(-1), model.masked_fill(~first, -math.inf).softmax(-1), atol=1e-6)


def test_guided_by_itself_a_model_says_what_it_says():
    original = random_logits(10, 50)
    assert torch.allclose(guided_logits(original, original, 3.0, 50), original, atol=1e-5)
