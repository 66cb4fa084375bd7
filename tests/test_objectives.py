"""The losses against arithmetic by hand, slow loops and TRL's own trainer."""

import math

import pytest
import torch

from app.refresh.objectives import PAIR_LOSSES, answer_logps, dpo_loss, ipo_mean_loss, ipo_sum_loss, slic_loss
from app.refresh.refresh_settings import RefreshSettings
from app.refresh.row_losses import Rows, likelihood_weights, row_losses
from tests.models import make_tokenizer

BETA = 0.1
POLICY_CHOSEN = torch.tensor([-10.0, -20.0])
POLICY_REJECTED = torch.tensor([-12.0, -15.0])
REF_CHOSEN = torch.tensor([-11.0, -18.0])
REF_REJECTED = torch.tensor([-11.5, -16.0])
TOKENS = {"chosen_tokens": torch.tensor([4, 5]), "rejected_tokens": torch.tensor([2, 10])}


def test_dpo_by_hand():
    """Two pairs, beta 0.1.

    first:  a = -10 - -11 = 1    b = -12 - -11.5 = -0.5   d = a - b = 1.5    beta d = 0.15
    second: a = -20 - -18 = -2   b = -15 - -16   = 1      d = a - b = -3     beta d = -0.3

    -log sg(x) = log(1 + e^-x):
    first:  e^-0.15 = 0.860708   log 1.860708 = 0.620957
    second: e^0.3   = 1.349859   log 2.349859 = 0.854355
    rewards beta a: 0.1, -0.2; beta b: -0.05, 0.1
    """
    losses, chosen, rejected = dpo_loss(POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, BETA)
    assert losses.tolist() == pytest.approx([0.620957, 0.854355], abs=1e-6)
    assert chosen.tolist() == pytest.approx([0.1, -0.2], abs=1e-6)
    assert rejected.tolist() == pytest.approx([-0.05, 0.1], abs=1e-6)


def test_label_smoothing_by_hand():
    """The pairs of `test_dpo_by_hand`, with 1 label in 10 assumed wrong. -log sg(-x) = x - log sg(x):

    first:  0.9 * 0.620957 + 0.1 * (0.620957 + 0.15) = 0.620957 + 0.1 *  0.15 = 0.635957
    second: 0.9 * 0.854355 + 0.1 * (0.854355 - 0.3)  = 0.854355 + 0.1 * -0.3  = 0.824355
    """
    losses, chosen, _ = dpo_loss(POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, BETA, label_smoothing=0.1)
    assert losses.tolist() == pytest.approx([0.635957, 0.824355], abs=1e-6)
    assert chosen.tolist() == pytest.approx([0.1, -0.2], abs=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.4])
@pytest.mark.parametrize("beta", [0.01, 0.1, 5.0])
def test_the_loss_is_log_2_where_policy_and_reference_agree(beta, smoothing):
    losses, chosen, rejected = dpo_loss(POLICY_CHOSEN, POLICY_REJECTED, POLICY_CHOSEN, POLICY_REJECTED, beta, smoothing)
    assert losses.tolist() == pytest.approx([math.log(2)] * 2, abs=1e-6)
    assert chosen.tolist() == rejected.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_gradients_by_hand(smoothing):
    """Of `-(1 - e) log sg(beta d) - e log sg(-beta d)`, for a chosen answer: `-(1 - e) beta sg(-beta d) + e beta sg(beta d)`,
    which is `-beta sg(-beta d)` at e = 0; for the rejected one the same with the other sign.

    sg(-0.15) = 0.860708 / 1.860708 = 0.462570   e = 0:   -0.0462570   e = 0.1: -0.0462570 + 0.01 = -0.0362570
    sg(0.3)   = 1.349859 / 2.349859 = 0.574443   e = 0:   -0.0574443   e = 0.1: -0.0574443 + 0.01 = -0.0474443
    (since sg(x) + sg(-x) = 1, the second form is `-beta sg(-beta d) + e beta`)
    """
    chosen, rejected = POLICY_CHOSEN.clone().requires_grad_(), POLICY_REJECTED.clone().requires_grad_()
    losses, *rewards = dpo_loss(chosen, rejected, REF_CHOSEN, REF_REJECTED, BETA, smoothing)
    losses.sum().backward()
    expected = [-0.0462570 + 0.1 * smoothing, -0.0574443 + 0.1 * smoothing]
    assert chosen.grad.tolist() == pytest.approx(expected, abs=1e-6)
    assert rejected.grad.tolist() == pytest.approx([-g for g in expected], abs=1e-6)
    assert losses.requires_grad and not any(r.requires_grad for r in rewards)


def test_far_margins_stay_finite():
    far, zero = torch.tensor([1e4, -1e4]), torch.zeros(2)
    losses, _, _ = dpo_loss(far, zero, zero, zero, beta=1.0)
    assert losses.tolist() == [0.0, 1e4]


# --- IPO


def test_ipo_of_means_by_hand():
    """The log-ratios of `test_dpo_by_hand`, of 4 and 5 chosen and 2 and 10 rejected tokens; the target is 1 / (2 * 0.1) = 5.

    first:  a / 4 = 0.25   b / 2  = -0.25   d = 0.5    (0.5 - 5)^2  = 20.25
    second: a / 5 = -0.4   b / 10 = 0.1     d = -0.5   (-0.5 - 5)^2 = 30.25
    of sums: d = 1.5, -3:  (1.5 - 5)^2 = 12.25   (-3 - 5)^2 = 64
    The rewards are DPO's: of sums either way.
    """
    losses, *rewards = ipo_mean_loss(POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, BETA, **TOKENS)
    assert losses.tolist() == pytest.approx([20.25, 30.25], abs=1e-5)
    summed, *_ = ipo_sum_loss(POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, BETA)
    assert summed.tolist() == pytest.approx([12.25, 64.0], abs=1e-5)
    _, *dpos = dpo_loss(POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED, BETA)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rewards, dpos, strict=True))


def test_ipo_gradients_by_hand():
    """Of the loss for a chosen answer: 2 (d - 5) / chosen_tokens; for the rejected one -2 (d - 5) / rejected_tokens.

    first:  2 * -4.5 / 4 = -2.25   9 / 2   = 4.5
    second: 2 * -5.5 / 5 = -2.2    11 / 10 = 1.1
    """
    chosen, rejected = POLICY_CHOSEN.clone().requires_grad_(), POLICY_REJECTED.clone().requires_grad_()
    losses, *rewards = ipo_mean_loss(chosen, rejected, REF_CHOSEN, REF_REJECTED, BETA, **TOKENS)
    losses.sum().backward()
    assert chosen.grad.tolist() == pytest.approx([-2.25, -2.2], abs=1e-5)
    assert rejected.grad.tolist() == pytest.approx([4.5, 1.1], abs=1e-5)
    assert losses.requires_grad and not any(r.requires_grad for r in rewards)


@pytest.mark.parametrize(("beta", "target"), [(0.1, 5.0), (0.25, 2.0), (2.0, 0.25)])
def test_ipo_rests_at_its_target_and_pulls_back_beyond_it(beta, target):
    """Three pairs of 4 and 2 tokens with d short of the target by one nat a token, at it and one beyond."""
    a, b = 4 * (target + torch.tensor([-0.5, 0.0, 0.5])), 2 * torch.tensor([0.5, 0.0, -0.5])
    a.requires_grad_(), b.requires_grad_()
    zero, lengths = torch.zeros(3), {"chosen_tokens": torch.full((3,), 4), "rejected_tokens": torch.full((3,), 2)}
    losses, *_ = ipo_mean_loss(a, b, zero, zero, beta, **lengths)
    losses.sum().backward()
    assert losses[1] == a.grad[1] == b.grad[1] == 0.0
    assert losses.tolist() == pytest.approx([1.0, 0.0, 1.0], abs=1e-5)
    assert a.grad.tolist() == pytest.approx([-0.5, 0.0, 0.5], abs=1e-5)
    assert b.grad.tolist() == pytest.approx([1.0, 0.0, -1.0], abs=1e-5)


def test_ipo_with_label_smoothing_rests_at_the_share_of_its_target_that_is_left():
    """With 1 label in 4 assumed wrong and beta 0.1: (1 - 2 * 0.25) * 5 = 2.5, where 0.75 * 2.5^2 + 0.25 * 7.5^2 = 18.75 is left."""
    d, zero, ones = torch.tensor([2.0, 2.5, 3.0], requires_grad=True), torch.zeros(3), torch.ones(3)
    losses, *_ = ipo_mean_loss(d, zero, zero, zero, BETA, 0.25, chosen_tokens=ones, rejected_tokens=ones)
    losses.sum().backward()
    assert losses[1].item() == pytest.approx(18.75, abs=1e-5) and losses[1] < min(losses[0], losses[2])
    assert d.grad[0] < 0 == d.grad[1] < d.grad[2]


# --- SLiC


def test_slic_by_hand():
    """The pairs of `test_dpo_by_hand`: beta d = 0.15 and -0.3, so 1 - 0.15 = 0.85 and 1 + 0.3 = 1.3.

    With beta 1, d = 1.5 lies beyond the margin and costs nothing; d = -3 costs 1 + 3 = 4.
    With 1 label in 10 assumed wrong: 0.9 * 0.85 + 0.1 * 1.15 = 0.88   0.9 * 1.3 + 0.1 * 0.7 = 1.24
    """
    pairs = (POLICY_CHOSEN, POLICY_REJECTED, REF_CHOSEN, REF_REJECTED)
    losses, *rewards = slic_loss(*pairs, BETA)
    assert losses.tolist() == pytest.approx([0.85, 1.3], abs=1e-6)
    assert slic_loss(*pairs, 1.0)[0].tolist() == [0.0, 4.0]
    assert slic_loss(*pairs, BETA, 0.1)[0].tolist() == pytest.approx([0.88, 1.24], abs=1e-6)
    _, *dpos = dpo_loss(*pairs, BETA)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(rewards, dpos, strict=True))


def test_slic_pulls_with_beta_up_to_the_margin_and_with_nothing_beyond():
    """With beta 0.5 the margin is at d = 2."""
    chosen, rejected = (
        torch.tensor([-9.0, 0.0, 1.75, 2.0, 2.25, 50.0]).requires_grad_(),
        torch.zeros(6).requires_grad_(),
    )
    losses, *rewards = slic_loss(chosen, rejected, torch.zeros(6), torch.zeros(6), 0.5)
    losses.sum().backward()
    assert losses.tolist() == [5.5, 1.0, 0.125, 0.0, 0.0, 0.0]
    assert chosen.grad.tolist() == [-0.5, -0.5, -0.5, 0.0, 0.0, 0.0]
    assert rejected.grad.tolist() == [0.5, 0.5, 0.5, 0.0, 0.0, 0.0]
    assert losses.requires_grad and not any(r.requires_grad for r in rewards)


# --- all


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("beta", [0.1, 5.0])
def test_where_policy_and_reference_agree_the_loss_is_the_same_for_every_pair(beta, smoothing):
    """And pulls chosen answers up, rejected ones down."""
    target = 1 / (4 * beta**2)
    expected = {"dpo": math.log(2), "ipo": target, "ipo_sum": target, "slic": 1.0}
    assert expected.keys() == PAIR_LOSSES.keys()
    for name, loss_of in PAIR_LOSSES.items():
        chosen, rejected = POLICY_CHOSEN.clone().requires_grad_(), POLICY_REJECTED.clone().requires_grad_()
        lengths = TOKENS if name == "ipo" else {}
        losses, *rewards = loss_of(chosen, rejected, POLICY_CHOSEN, POLICY_REJECTED, beta, smoothing, **lengths)
        losses.sum().backward()
        assert losses.tolist() == pytest.approx([expected[name]] * 2, rel=1e-5)
        assert (chosen.grad < 0).all() and (rejected.grad > 0).all()
        assert [r.tolist() for r in rewards] == [[0.0, 0.0], [0.0, 0.0]]


# --- log-probabilities of answers


def masked_logps(logits, ids, mask):
    """Of rows of logits as a model gives them: each token of the answer is predicted at the place before it."""
    rows, columns = mask[:, 1:].nonzero(as_tuple=True)
    return answer_logps(logits[rows, columns], ids[rows, columns + 1], mask[:, 1:].sum(1).tolist())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_answer_logps_equal_a_slow_loop(dtype):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4, 9, 13, generator=generator).mul(4).to(dtype)
    ids = torch.randint(13, (4, 9), generator=generator)
    mask = torch.tensor([
        [0, 0, 0, 1, 1, 1, 1, 1, 1],
        [0, 0, 0, 0, 0, 1, 1, 0, 0],
        [0, 1, 0, 1, 0, 0, 0, 0, 1],
        [0, 0, 0, 0, 0, 0, 0, 0, 0],
    ])  # fmt: skip
    expected = []
    for row in range(4):
        total = 0.0
        for position in range(1, 9):
            if mask[row, position]:
                before = [float(x) for x in logits[row, position - 1]]
                total += before[ids[row, position]] - math.log(sum(math.exp(x) for x in before))
        expected.append(total)
    got = masked_logps(logits, ids, mask)
    assert got.dtype == torch.float32
    assert got.tolist() == pytest.approx(expected, abs=1e-4)
    assert expected[0] < expected[3] == 0.0


# --- TRL

ROWS = [
    {"prompt": "Why is the sky blue?", "chosen": " Air scatters short waves, matey.", "rejected": " Because."},
    {
        "prompt": "How is tea made?",
        "chosen": " Boil the water.",
        "rejected": " Add the tea and wait four minutes before you pour it.",
    },
    {"prompt": "Who are you?", "chosen": " A gruff sea captain.", "rejected": " You are a helpful assistant."},
    {"prompt": "How long?", "chosen": " Four minutes", "rejected": " Seven years"},
]


@pytest.fixture(scope="module")
def trl_trainer(tiny_folders, tmp_path_factory):
    """TRL's DPOTrainer on the tiny Llama, with a LoRA that was moved away from the base."""
    datasets, trl, peft = (pytest.importorskip(name) for name in ("datasets", "trl", "peft"))
    from transformers import AutoModelForCausalLM

    settings = trl.DPOConfig(
        output_dir=str(tmp_path_factory.mktemp("trl")), use_cpu=True, bf16=False, gradient_checkpointing=False, report_to=[],
        per_device_train_batch_size=len(ROWS), beta=BETA, loss_type="sigmoid", disable_tqdm=True, save_strategy="no",
    )  # fmt: skip
    trainer = trl.DPOTrainer(
        model=AutoModelForCausalLM.from_pretrained(tiny_folders["llama"]), args=settings, processing_class=make_tokenizer(None),
        train_dataset=datasets.Dataset.from_list(ROWS),
        peft_config=peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_dropout=0.0, target_modules="all-linear"),
    )  # fmt: skip
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in trainer.model.named_parameters():
            if "lora_" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.3)
    return trainer


@torch.no_grad()
def our_loss(trainer, batch, smoothing, objective="dpo", beta=BETA):
    """The mean of our losses on TRL's batch, and our margins `d`, from the logits of TRL's own policy and reference."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    policy = masked_logps(model(**inputs).logits, batch["input_ids"], batch["completion_mask"]).chunk(2)
    with model.disable_adapter():
        reference = masked_logps(model(**inputs).logits, batch["input_ids"], batch["completion_mask"]).chunk(2)
    chosen_tokens, rejected_tokens = batch["completion_mask"].sum(1).chunk(2)
    lengths = {"chosen_tokens": chosen_tokens, "rejected_tokens": rejected_tokens} if objective == "ipo" else {}
    losses, chosen, rejected = PAIR_LOSSES[objective](*policy, *reference, beta, smoothing, **lengths)
    return losses.mean().item(), (chosen - rejected) / beta


def their_loss(trainer, batch, **attributes):
    """TRL's loss on a batch with some of the trainer's attributes changed for this once."""
    usual = {name: getattr(trainer, name) for name in attributes}
    try:
        vars(trainer).update(attributes)
        with torch.no_grad():
            return trainer.compute_loss(trainer.model, dict(batch)).item()
    finally:
        vars(trainer).update(usual)


def swapped(batch):
    """A batch of TRL holds the chosen answers, then the rejected ones: here every label is turned round."""
    return {key: torch.cat(value.chunk(2)[::-1]) for key, value in batch.items()}


def test_the_loss_is_trls(trl_trainer):
    batch = next(iter(trl_trainer.get_train_dataloader()))
    theirs = their_loss(trl_trainer, batch)
    ours, d = our_loss(trl_trainer, batch, 0.0)
    assert d.abs().min() > 0.1, "a pair on which policy and reference agree would compare nothing"
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert abs(ours - math.log(2)) > 1e-2


@pytest.mark.parametrize("labels", ["as they are", "turned round"])
@pytest.mark.parametrize(("objective", "loss_type"), [("dpo", "sigmoid"), ("ipo", "ipo"), ("slic", "hinge")])
def test_every_objective_is_trls(trl_trainer, objective, loss_type, labels):
    """With betas that put the margin of SLiC and the target of IPO among the pairs' own margins."""
    batch = next(iter(trl_trainer.get_train_dataloader()))
    batch = batch if labels == "as they are" else swapped(batch)
    for beta in (BETA, 0.5, 2.0):
        theirs = their_loss(trl_trainer, batch, loss_types=[loss_type], beta=beta)
        ours, d = our_loss(trl_trainer, batch, 0.0, objective, beta)
        assert ours == pytest.approx(theirs, rel=1e-4, abs=1e-4)
        others = {name: our_loss(trl_trainer, batch, 0.0, name, beta)[0] for name in PAIR_LOSSES}
        assert all(abs(ours - loss) > 1e-2 for name, loss in others.items() if name != objective), others
    assert ((beta * d) > 1).any() and ((beta * d) < 1).any(), (
        "every pair on one side of the hinge would hide half of it"
    )


def test_label_smoothing_is_trls_loss_with_that_share_of_labels_turned_round(trl_trainer):
    """TRL 1.16 has no conservative DPO of its own: its "sigmoid" leaves `label_smoothing` out. So the expectation is taken over
    its plain losses, (1 - e) on the labels as they are and e on the labels turned round."""
    batch = next(iter(trl_trainer.get_train_dataloader()))
    right, wrong = (their_loss(trl_trainer, b) for b in (batch, swapped(batch)))
    ours, _ = our_loss(trl_trainer, batch, 0.1)
    assert ours == pytest.approx(0.9 * right + 0.1 * wrong, abs=1e-4)
    assert abs(ours - right) > 1e-3
    # Its "robust" loss (2403.00409) weighs the same two terms the other way: ((1 - e) right - e wrong) / (1 - 2e).
    robust = their_loss(trl_trainer, batch, loss_types=["robust"], label_smoothing=0.1)
    assert ours == pytest.approx(0.8 * robust + 0.2 * wrong, abs=1e-4)


def test_aihf_is_trls_loss_with_likelihood_beside_it_and_fa_that_alone(trl_trainer):
    """TRL's "sft" is the mean over all tokens of the chosen answers, ours the sum of an answer's, so that weights differ by tokens."""
    batch = next(iter(trl_trainer.get_train_dataloader()))
    model = trl_trainer.accelerator.unwrap_model(trl_trainer.model)
    with torch.no_grad():
        logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        with model.disable_adapter():
            base = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
    policy, reference = (
        torch.stack(masked_logps(found, batch["input_ids"], batch["completion_mask"]).chunk(2))
        for found in (logits, base)
    )
    tokens = torch.stack(batch["completion_mask"].sum(1).chunk(2))
    count = tokens.shape[1]
    rows = Rows(
        tokens,
        torch.tensor([[1.0], [0.0]]).expand(2, count),
        torch.zeros(count),
        torch.ones(count),
        torch.ones(count) > 0,
    )

    def ours(**values):
        settings = RefreshSettings(beta=BETA, **values)
        return row_losses(policy, reference, rows, likelihood_weights(rows, settings), settings).mean().item()

    weight = 0.3
    theirs = their_loss(trl_trainer, batch, loss_types=["sigmoid", "sft"], loss_weights=[1.0, weight])
    a_sum = weight * count / tokens[0].sum().item()
    assert ours(objective="aihf", demonstration_weight=a_sum) == pytest.approx(theirs, rel=1e-4)
    likelihood = their_loss(trl_trainer, batch, loss_types=["sft"], loss_weights=[1.0])
    assert ours(objective="fa") * count / tokens[0].sum().item() == pytest.approx(likelihood, rel=1e-4)
    assert abs(theirs - ours(objective="dpo")) > 1e-2
