"""The losses against arithmetic by hand, slow loops and TRL's own trainer."""

import math

import pytest
import torch

from app.refresh.objectives import answer_logps, dpo_loss
from tests.models import make_tokenizer

BETA = 0.1
POLICY_CHOSEN = torch.tensor([-10.0, -20.0])
POLICY_REJECTED = torch.tensor([-12.0, -15.0])
REF_CHOSEN = torch.tensor([-11.0, -18.0])
REF_REJECTED = torch.tensor([-11.5, -16.0])


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
    got = answer_logps(logits, ids, mask)
    assert got.dtype == torch.float32
    assert got.tolist() == pytest.approx(expected, abs=1e-4)
    assert expected[0] < expected[3] == 0.0


def test_answer_logps_see_only_the_answer():
    logits, ids = torch.randn(1, 6, 7, generator=torch.Generator().manual_seed(1)), torch.tensor([[1, 2, 3, 4, 5, 6]])
    mask = torch.tensor([[0, 0, 0, 1, 1, 0]])
    before = answer_logps(logits, ids, mask)
    logits = logits.clone().requires_grad_()
    answer_logps(logits, ids, mask).sum().backward()
    assert [bool(g.any()) for g in logits.grad[0]] == [False, False, True, True, False, False]
    elsewhere = torch.tensor([[6, 0, 0, 4, 5, 0]])
    assert torch.equal(answer_logps(logits.detach(), elsewhere, mask), before)


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
def our_loss(trainer, batch, smoothing):
    """The mean of our losses on TRL's batch, and our margins `d`, from the logits of TRL's own policy and reference."""
    model = trainer.accelerator.unwrap_model(trainer.model)
    inputs = {"input_ids": batch["input_ids"], "attention_mask": batch["attention_mask"]}
    policy = answer_logps(model(**inputs).logits, batch["input_ids"], batch["completion_mask"]).chunk(2)
    with model.disable_adapter():
        reference = answer_logps(model(**inputs).logits, batch["input_ids"], batch["completion_mask"]).chunk(2)
    losses, chosen, rejected = dpo_loss(*policy, *reference, BETA, smoothing)
    return losses.mean().item(), (chosen - rejected) / BETA


def swapped(batch):
    """A batch of TRL holds the chosen answers, then the rejected ones: here every label is turned round."""
    return {key: torch.cat(value.chunk(2)[::-1]) for key, value in batch.items()}


def test_the_loss_is_trls(trl_trainer):
    batch = next(iter(trl_trainer.get_train_dataloader()))
    with torch.no_grad():
        theirs = trl_trainer.compute_loss(trl_trainer.model, dict(batch)).item()
    ours, d = our_loss(trl_trainer, batch, 0.0)
    assert d.abs().min() > 0.1, "a pair on which policy and reference agree would compare nothing"
    assert ours == pytest.approx(theirs, abs=1e-4)
    assert abs(ours - math.log(2)) > 1e-2


def test_label_smoothing_is_trls_loss_with_that_share_of_labels_turned_round(trl_trainer):
    """TRL 1.16 has no conservative DPO of its own: its "sigmoid" leaves `label_smoothing` out. So the expectation is taken over
    its plain losses, (1 - e) on the labels as they are and e on the labels turned round."""
    batch = next(iter(trl_trainer.get_train_dataloader()))
    with torch.no_grad():
        right, wrong = (trl_trainer.compute_loss(trl_trainer.model, dict(b)).item() for b in (batch, swapped(batch)))
    ours, _ = our_loss(trl_trainer, batch, 0.1)
    assert ours == pytest.approx(0.9 * right + 0.1 * wrong, abs=1e-4)
    assert abs(ours - right) > 1e-3
    # Its "robust" loss (2403.00409) weighs the same two terms the other way: ((1 - e) right - e wrong) / (1 - 2e).
    loss_types, smoothing = trl_trainer.loss_types, trl_trainer.label_smoothing
    try:
        trl_trainer.loss_types, trl_trainer.label_smoothing = ["robust"], 0.1
        with torch.no_grad():
            robust = trl_trainer.compute_loss(trl_trainer.model, dict(batch)).item()
    finally:
        trl_trainer.loss_types, trl_trainer.label_smoothing = loss_types, smoothing
    assert ours == pytest.approx(0.8 * robust + 0.2 * wrong, abs=1e-4)
