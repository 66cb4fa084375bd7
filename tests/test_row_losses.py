"""The objectives beyond a pair's margin: arithmetic by hand, hand-written gradients, and that each is its parent at its neutral value."""

import json
import math
from dataclasses import astuple

import pytest
import torch

from app.refresh.answers import EncodedPair
from app.refresh.likelihoods import advantage
from app.refresh.methods import OBJECTIVES, PAIRWISE, REWARDS
from app.refresh.refresh_settings import RefreshSettings
from app.refresh.row_losses import Rows, likelihood_weights, row_losses

CPU = torch.device("cpu")
BETA = 0.5
# Two choices, a demonstration and a disliked answer. Token ids stand for nothing here but their number.
BATCH = [
    EncodedPair([1], [7] * 4, [7] * 2, rewards=(1.0, 0.0)),
    EncodedPair([1], [7] * 5, [7] * 10, rewards=(3.0, -1.0)),
    EncodedPair([1], [7] * 3, [], rewards=(2.0, 2.0), demonstration=True),
    EncodedPair([1], [], [7] * 6, rewards=(0.0, 0.0)),
]
POLICY = torch.tensor([[-10.0, -20.0, -6.0, 0.0], [-12.0, -15.0, 0.0, -9.0]])
REFERENCE = torch.tensor([[-11.0, -18.0, -7.0, 0.0], [-11.5, -16.0, 0.0, -13.0]])
# a = 1, -2, 1, -   b = -0.5, 1, -, 4   d = 1.5, -3
D = (1.5, -3.0)


def sg(x):
    return 1 / (1 + math.exp(-x))


def losses_of(objective, batch=BATCH, policy=POLICY, reference=REFERENCE, **values):
    settings = RefreshSettings(**{"objective": objective, "beta": BETA, **values})
    rows = Rows.of(batch, CPU)
    return row_losses(policy, reference, rows, likelihood_weights(rows, settings), settings)


def gradient_of(objective, batch=BATCH, **values):
    policy = POLICY.clone().requires_grad_()
    losses_of(objective, batch, policy, **values).sum().backward()
    return policy.grad


DPO = [-math.log(sg(BETA * d)) for d in D]
PULL = [BETA * sg(-BETA * d) for d in D]  # how hard DPO pulls a pair apart: sg(-0.75) / 2, sg(1.5) / 2


def test_pairs_alone_count_where_two_answers_are_compared():
    for objective in PAIRWISE:
        losses = losses_of(objective)
        assert losses[2:].tolist() == [0.0, 0.0] and (losses[:2] != 0).all()
        assert torch.isfinite(gradient_of(objective)).all() and not gradient_of(objective)[:, 2:].any()
    assert losses_of("dpo")[:2].tolist() == pytest.approx(DPO, abs=1e-6)


def test_ulma_by_hand():
    """Liked answers cost -lp: 10, 20, 6. Disliked ones -log(1 - sg(b / 2)):

    b = -0.5: log(1 + e^-0.25) = log 1.778801 = 0.575940
    b = 1:    log(1 + e^0.5)   = log 2.648721 = 0.974077
    b = 4:    log(1 + e^2)     = log 8.389056 = 2.126928
    """
    expected = [10 + 0.575940, 20 + 0.974077, 6, 2.126928]
    assert losses_of("ulma").tolist() == pytest.approx(expected, abs=1e-5)


def test_aihf_by_hand_and_at_its_neutral_value():
    """w1 = 0.2: the demonstration costs 0.2 * 6; chosen answers of choices are no demonstrations."""
    assert losses_of("aihf", demonstration_weight=0.2).tolist() == pytest.approx([*DPO, 1.2, 0.0], abs=1e-6)
    assert torch.equal(losses_of("aihf", demonstration_weight=0.0), losses_of("dpo"))
    assert torch.equal(gradient_of("aihf", demonstration_weight=0.0), gradient_of("dpo"))


def test_hpo_by_hand_and_at_its_neutral_value():
    """The pairs' rewards 1, 0, 3, -1 have the mean 0.75, so that A = 0.25, -0.75, 2.25, -1.75; gamma 0.1, alpha 2.

    first:  0.1 (10 e^0.125 + 12 e^-0.375) = 0.1 (11.331485 + 8.247471) = 1.957896
    second: 0.1 (20 e^1.125 + 15 e^-0.875) = 0.1 (61.604334 + 6.252931) = 6.785727
    """
    values = {"reward_weight": 0.1, "reward_temperature": 2.0}
    expected = [DPO[0] + 1.957896, DPO[1] + 6.785727]
    assert losses_of("hpo", BATCH[:2], POLICY[:, :2], REFERENCE[:, :2], **values).tolist() == pytest.approx(
        expected, abs=1e-4
    )
    neutral = {**values, "reward_weight": 0.0}
    assert torch.equal(losses_of("hpo", **neutral), losses_of("dpo"))
    assert torch.equal(gradient_of("hpo", **neutral), gradient_of("dpo"))


@pytest.mark.parametrize("shift", [-7.0, 0.0, 100.0])
def test_an_advantage_is_blind_to_a_reward_for_everybody(shift):
    rewards, present = torch.tensor([1.0, 0.0, 3.0, 9.0]), torch.tensor([1.0, 1.0, 1.0, 0.0])
    plain, moved = advantage(rewards, present, 2.0), advantage(rewards + shift, present, 2.0)
    assert moved.tolist() == pytest.approx(plain.tolist(), rel=1e-4)
    assert plain[3] == 0 and plain[:3].log().mul(2).sum() == pytest.approx(0.0, abs=1e-5)


def test_an_answer_far_from_all_others_weighs_no_more_than_can_be_learnt():
    weights = advantage(torch.tensor([0.0, -9e4]), torch.ones(2), 0.05)
    assert weights.tolist() == [pytest.approx(math.exp(5)), 0.0]


@pytest.mark.parametrize(
    ("objective", "values", "weights"),
    [
        # Answers in the order of the rows, chosen and then rejected; a missing one weighs nothing.
        ("fa", {"reward_threshold": 0.5}, [[1, 1, 1, 0], [0, 0, 0, 0]]),
        ("fa", {"reward_threshold": 1.0}, [[0, 1, 1, 0], [0, 0, 0, 0]]),
        ("fa", {"reward_threshold": -0.5}, [[1, 1, 1, 0], [1, 0, 0, 1]]),
        ("rwr", {}, [[math.e, math.e**3, math.e**2, 0], [1, 1 / math.e, 0, 1]]),
        ("rwr", {"reward_temperature": 2.0}, [[math.e**0.5, math.e**1.5, math.e, 0], [1, math.e**-0.5, 0, 1]]),
        ("ca", {}, [[1, 1, 1, 0], [1, 1, 0, 1]]),
    ],
)
def test_alignment_by_likelihood_alone(objective, values, weights):
    """The loss is `-w lp` and the gradient `-w`, whatever the reference says."""
    weights = torch.tensor(weights, dtype=torch.float32)
    assert torch.allclose(losses_of(objective, **values), -(weights * POLICY).sum(0))
    assert torch.allclose(gradient_of(objective, **values), -weights)
    assert torch.equal(losses_of(objective, reference=REFERENCE - 3, **values), losses_of(objective, **values))


def test_gradients_by_hand():
    """Of what each adds to DPO's, which is -beta sg(-beta d) for the chosen answer and as much up for the rejected one."""
    dpo = torch.tensor([[-PULL[0], -PULL[1], 0, 0], [PULL[0], PULL[1], 0, 0]])
    assert torch.allclose(gradient_of("dpo"), dpo)
    demonstration = torch.tensor([[0, 0, -0.2, 0], [0, 0, 0, 0]])
    assert torch.allclose(gradient_of("aihf", demonstration_weight=0.2), dpo + demonstration)
    mean = (1 + 3 + 2 + 0 - 1 + 0) / 6
    rewards = torch.tensor([[1.0, 3.0, 2.0, 0.0], [0.0, -1.0, 0.0, 0.0]])
    towards = ((rewards - mean) / 2).exp() * torch.tensor([[1, 1, 1, 0], [1, 1, 0, 1]])
    hybrid = gradient_of("hpo", reward_weight=0.1, reward_temperature=2.0)
    assert torch.allclose(hybrid, dpo - 0.1 * towards)
    down = [BETA * sg(BETA * b) for b in (-0.5, 1.0, 4.0)]
    point_wise = torch.tensor([[-1.0, -1.0, -1.0, 0.0], [down[0], down[1], 0.0, down[2]]])
    assert torch.allclose(gradient_of("ulma"), point_wise)


@pytest.mark.parametrize("doubt", [0.0, 0.2, 0.5])
def test_a_doubt_is_osps_soft_label(doubt):
    """q = 1 - doubt: the loss is -[q log sg(beta d) + (1 - q) log sg(-beta d)], its pull beta (sg(beta d) - q); at q = 1, DPO's."""
    q = 1 - doubt
    batch = [EncodedPair(p.context, p.chosen, p.rejected, doubt=doubt) for p in BATCH[:2]]
    expected = [-(q * math.log(sg(BETA * d)) + (1 - q) * math.log(sg(-BETA * d))) for d in D]
    found = losses_of("dpo", batch, POLICY[:, :2], REFERENCE[:, :2])
    assert found.tolist() == pytest.approx(expected, abs=1e-5)
    pulls = [BETA * (sg(BETA * d) - q) for d in D]
    policy = POLICY[:, :2].clone().requires_grad_()
    losses_of("dpo", batch, policy, REFERENCE[:, :2]).sum().backward()
    assert policy.grad.tolist() == [pytest.approx(pulls, abs=1e-6), pytest.approx([-p for p in pulls], abs=1e-6)]
    if doubt == 0.0:
        assert torch.equal(found, losses_of("dpo", BATCH[:2], POLICY[:, :2], REFERENCE[:, :2]))


def test_a_policys_own_opinion_as_a_soft_label_teaches_nothing():
    """At q = sg(beta d) the two pulls cancel: why SAIL takes the likelier answer for chosen, and mixes in people's choices."""
    batch = [EncodedPair([1], [7], [7], doubt=1 - sg(BETA * d)) for d in D]
    policy = POLICY[:, :2].clone().requires_grad_()
    losses_of("dpo", batch, policy, REFERENCE[:, :2]).sum().backward()
    assert policy.grad.abs().max() < 1e-6


def test_a_doubt_and_label_smoothing_are_one_error_or_the_other_and_not_both():
    """0.1 and 0.2: 0.1 * 0.8 + 0.9 * 0.2 = 0.26."""
    both = [EncodedPair([1], [7] * 4, [7] * 2, doubt=0.2)]
    one = [EncodedPair([1], [7] * 4, [7] * 2, doubt=0.26)]
    at = (POLICY[:, :1], REFERENCE[:, :1])
    assert torch.allclose(losses_of("dpo", both, *at, label_smoothing=0.1), losses_of("dpo", one, *at))


@pytest.mark.parametrize("objective", PAIRWISE)
def test_a_weight_multiplies_loss_and_pull(objective):
    heavy = [EncodedPair(p.context, p.chosen, p.rejected, weight=2.5) for p in BATCH[:2]] + BATCH[2:]
    assert torch.allclose(losses_of(objective, heavy), 2.5 * losses_of(objective))
    assert torch.allclose(gradient_of(objective, heavy), 2.5 * gradient_of(objective))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_part_of_a_batch_has_that_part_of_its_losses(objective):
    settings = RefreshSettings(objective=objective, beta=BETA)
    rows = Rows.of(BATCH, CPU)
    likelihoods, at = likelihood_weights(rows, settings), [3, 1]
    part = row_losses(POLICY[:, at], REFERENCE[:, at], rows[at], likelihoods[:, at], settings)
    assert torch.equal(part, row_losses(POLICY, REFERENCE, rows, likelihoods, settings)[at])
    assert rows[at].paired.tolist() == [False, True]


def test_rows_reach_other_processes_as_they_are():
    """The trainer sends them as JSON."""
    batch = [*BATCH, EncodedPair([1], [2], [3], doubt=0.25, weight=2.0)]
    sent = [EncodedPair(*row) for row in json.loads(json.dumps([astuple(row) for row in batch]))]
    for ours, theirs in zip(vars(Rows.of(batch, CPU)).values(), vars(Rows.of(sent, CPU)).values(), strict=True):
        assert torch.equal(ours, theirs) and ours.dtype == theirs.dtype


def test_the_table_names_parts_that_there_are():
    for objective in OBJECTIVES.values():
        assert objective.pair or objective.likelihood, "an objective that minimises nothing"
        assert objective.reward in ("", *REWARDS) and "choices" in objective.learns_from
        assert len(objective.paper) == len("2305.18290")
        settings = RefreshSettings(objective=objective.name)
        assert likelihood_weights(Rows.of(BATCH, CPU), settings).any() == bool(objective.likelihood)
