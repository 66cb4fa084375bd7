"""Training on tiny real models: what moves, what stays, what repeats, and what happens between two steps."""

import math
import random
from typing import get_args

import pytest
import torch

from app.decoding.arms import DecodeSettings, build_arms
from app.decoding.engine import decode
from app.errors import InputError, checked
from app.model import LanguageModel
from app.prompts import SYSTEM_TEXT
from app.refresh.methods import OBJECTIVES
from app.refresh.pairs import make_pair
from app.refresh.trainer import RefreshSettings, encode, logps, margins, share_above_zero, train

TOPICS = (
    "tea",
    "water",
    "the sky",
    "waves",
    "air",
    "a captain",
    "the reader",
    "minutes",
    "blue",
    "short waves",
    "a helpful assistant",
    "you",
)
SETTINGS = RefreshSettings(epochs=6, learning_rate=1e-2, pairs_per_step=4, rank=4, seed=3)


@pytest.fixture(params=["llama", "gpt2"])
def model(request, tiny_folders):
    """A model with rotary and grouped attention and a chat template, and one with learned positions, Conv1D and no template."""
    return LanguageModel.load(str(tiny_folders[request.param]))


def pair(prompt, chosen, rejected, system=None):
    messages = [{"role": "user", "content": prompt}]
    return make_pair(([{"role": "system", "content": system}] if system else []) + messages, chosen, rejected)


def separable(model):
    """Twelve pairs, one taste: gruff, never stiff."""
    return encode(
        model, [pair(f"Tell me of {t}.", f"{t}, matey!", f"Indeed, one might well consider {t}.") for t in TOPICS]
    )


def some_logits(model, adapter=None):
    ids = torch.tensor([model.chat_ids([{"role": "user", "content": "Why is the sky blue?"}])])
    return model.logits(ids, torch.ones_like(ids), adapter).detach().clone()


def losses_of(steps):
    return [step.loss for step in steps]


# --- token ids and log-probabilities


def test_pairs_are_encoded_as_the_model_will_be_asked(model):
    ours, theirs = encode(model, [pair("Why?", "Ahoy", "No"), pair("Why?", "Ahoy", "No", system="Be kind.")])
    assert SYSTEM_TEXT in (text := model.decode(ours.context)) and "Why?" in text
    assert SYSTEM_TEXT not in (text := model.decode(theirs.context)) and "Be kind." in text
    assert ours.chosen[-1] in model.end_ids and ours.rejected[-1] in model.end_ids
    assert model.decode(ours.chosen).strip() == "Ahoy" and model.decode(ours.rejected).strip() == "No"


@pytest.mark.parametrize("where", ["prompt", "chosen", "rejected"])
def test_a_pair_that_is_too_long_is_refused_by_its_number(model, where):
    texts = {"prompt": "Why?", "chosen": "Ahoy", "rejected": "No"}
    with pytest.raises(InputError, match=r"pair 2\b.*\d{3,} tokens long; this model reads 25[56]"):
        encode(model, [pair(**texts), pair(**{**texts, where: "waves " * 300}), pair(**texts)])


def test_what_just_fits_is_taken(llama):
    (short,) = encode(llama, [pair("Why?", "No", "a")])
    room = llama.context_length - len(short.context) - 1
    (fits,) = encode(llama, [pair("Why?", "No", "7" * room)])
    assert len(fits.context) + len(fits.rejected) == llama.context_length
    assert torch.isfinite(margins(llama, [fits], None)).all()
    with pytest.raises(InputError, match="pair 1 is 257 tokens long; this model reads 256"):
        encode(llama, [pair("Why?", "No", "7" * (room + 1))])


def test_log_probabilities_of_padded_rows_are_those_of_each_row_alone(model):
    pairs = separable(model)[:5]
    chosen, rejected = (part.tolist() for part in logps(model, pairs, None))
    for i, item in enumerate(pairs):
        for answer, found in ((item.chosen, chosen[i]), (item.rejected, rejected[i])):
            row = torch.tensor([item.context + answer])
            with torch.no_grad():
                scores = model.logits(row, torch.ones_like(row), None)[0].log_softmax(-1)
            first = len(item.context)
            assert found == pytest.approx(
                sum(scores[first + j - 1, token].item() for j, token in enumerate(answer)), abs=1e-3
            )
    differences = torch.tensor(chosen) - torch.tensor(rejected)
    assert torch.allclose(margins(model, pairs, None, tokens_at_once=100), differences, atol=1e-3)


# --- learning


def test_training_moves_the_adapter_and_never_the_base(model):
    base = {name: p.detach().clone() for name, p in model._model.named_parameters()}
    before = some_logits(model)
    steps = train(model, separable(model), SETTINGS, "taste")
    next(steps)
    adapter = {n: p.detach().clone() for n, p in model._model.named_parameters() if ".taste." in n}
    unused = {n: p.detach().clone() for n, p in model._model.named_parameters() if ".unused." in n}
    list(steps)
    after = dict(model._model.named_parameters())
    assert len(adapter) == len(unused) > 0
    assert not [name for name, p in adapter.items() if torch.equal(after[name], p)], "adapter weights that did not move"
    assert all(torch.equal(after[name], p) for name, p in unused.items())
    kept = {name.replace(".base_layer", ""): p for name, p in after.items() if "lora_" not in name}
    assert kept.keys() == base.keys()
    assert not [name for name, p in base.items() if not torch.equal(kept[name], p)], "base weights that moved"
    assert not [name for name, p in kept.items() if p.requires_grad or p.grad is not None]
    assert torch.equal(some_logits(model), before)
    assert not torch.allclose(some_logits(model, "taste"), before, atol=1e-2)


def test_a_separable_taste_is_learned(model):
    pairs = separable(model)
    base = margins(model, pairs, None)
    steps = list(train(model, pairs, SETTINGS, "taste"))
    gaps = margins(model, pairs, "taste") - base
    assert share_above_zero(gaps) > 0.9
    assert [s.step for s in steps] == list(range(1, 19)) and {s.steps for s in steps} == {18}
    assert steps[0].loss == pytest.approx(math.log(2), abs=1e-5) and steps[0].margin == pytest.approx(0, abs=1e-4)
    assert all(s.loss < 0.6 and s.accuracy > 0.9 and s.margin > 0 for s in steps[-3:])


@pytest.mark.parametrize("smoothing", [0.0, 0.3])
def test_the_first_step_begins_at_the_reference(model, smoothing):
    """An adapter that has learned nothing is the base: d is 0, the loss log 2, and no pair is won or lost."""
    settings = SETTINGS.model_copy(update={"label_smoothing": smoothing, "pairs_per_step": 12, "beta": 1.0})
    first = next(train(model, separable(model), settings, "taste"))
    assert first.loss == pytest.approx(math.log(2), abs=1e-4) and first.margin == pytest.approx(0, abs=1e-3)
    model.new_adapter("fresh", rank=4, seed=0)
    assert share_above_zero(margins(model, separable(model), "fresh") - margins(model, separable(model), None)) == 0.5


@pytest.mark.parametrize(("objective", "start"), [("dpo", math.log(2)), ("ipo", 25.0), ("slic", 1.0)])
def test_every_objective_alone_raises_the_margin(llama, objective, start):
    """The loss at the reference is that objective's own at beta 0.1, so it is the one that was asked for."""
    pairs = separable(llama)
    steps = list(train(llama, pairs, SETTINGS.model_copy(update={"objective": objective, "sft_weight": 0.0}), "taste"))
    gaps = margins(llama, pairs, "taste") - margins(llama, pairs, None)
    assert steps[0].loss == pytest.approx(start, rel=1e-4) and steps[-1].loss < 0.9 * start
    assert share_above_zero(gaps) > 0.9 and gaps.mean() > 1
    assert all(step.accuracy > 0.9 and step.margin > 0 for step in steps[-3:])


@pytest.mark.parametrize("objective", ["dpo", "ipo", "slic"])
def test_the_loss_of_a_step_is_that_of_its_pairs_before_it(llama, objective):
    """Worked out pair by pair from summed log-probabilities; IPO divides each by its tokens, the one that ends an answer too."""
    pairs, beta = separable(llama), 0.5
    settings = SETTINGS.model_copy(update={"objective": objective, "beta": beta, "pairs_per_step": 12, "epochs": 3})
    steps = train(llama, pairs, settings, "taste")
    next(steps)
    with torch.no_grad():
        a, b = (
            policy - base for policy, base in zip(logps(llama, pairs, "taste"), logps(llama, pairs, None), strict=True)
        )
    expected = {
        "dpo": lambda a, b, p: math.log(1 + math.exp(-beta * (a - b))),
        "ipo": lambda a, b, p: (a / len(p.chosen) - b / len(p.rejected) - 1 / (2 * beta)) ** 2,
        "slic": lambda a, b, p: max(0.0, 1 - beta * (a - b)),
    }[objective]
    losses = [expected(*row) for row in zip(a.tolist(), b.tolist(), pairs, strict=True)]
    step = next(steps)
    assert step.loss == pytest.approx(sum(losses) / len(losses), abs=1e-3)
    assert step.margin == pytest.approx(beta * (a - b).mean().item(), abs=1e-3)


def test_settings_know_the_objectives_that_there_are():
    assert list(OBJECTIVES) == list(get_args(RefreshSettings.model_fields["objective"].annotation))
    with pytest.raises(InputError, match=r"objective is 'ppo': input should be 'dpo', 'ipo', .*'rwr' or 'ca'"):
        checked(RefreshSettings, objective="ppo")


def test_learning_the_opposite_loses_the_original_pairs(llama):
    pairs = separable(llama)
    turned = [type(p)(p.context, p.rejected, p.chosen) for p in pairs]
    list(train(llama, turned, SETTINGS, "taste"))
    assert share_above_zero(margins(llama, pairs, "taste") - margins(llama, pairs, None)) < 0.1


def test_every_pair_is_seen_once_an_epoch_even_if_the_last_batch_is_small(llama):
    steps = list(
        train(llama, separable(llama), SETTINGS.model_copy(update={"pairs_per_step": 5, "epochs": 2}), "taste")
    )
    assert len(steps) == 6
    assert len(list(train(llama, separable(llama)[:1], SETTINGS.model_copy(update={"epochs": 1}), "other"))) == 1


# --- what repeats


@pytest.mark.parametrize(("pairs", "steps"), [(8, 32), (12, 33), (100, 50)])
def test_few_pairs_are_seen_more_often_than_many(llama, pairs, steps):
    """Four pairs a step: 8 pairs make 2 steps an epoch, so 16 epochs; 12 make 3, so 11; 100 make 25, and 2 is the fewest."""
    encoded = (separable(llama) * 9)[:pairs]
    running = train(llama, encoded, SETTINGS.model_copy(update={"epochs": None}), "taste")
    assert next(running).steps == steps


def test_without_sft_weight_only_dpo_is_followed(llama):
    """The likelihood of chosen answers rises beside DPO; the reported loss is DPO's own either way, log 2 at the start."""
    encoded, chosen = separable(llama), {}
    for weight in (0.0, 5.0):
        steps = list(train(llama, encoded, SETTINGS.model_copy(update={"sft_weight": weight}), "taste"))
        assert steps[0].loss == pytest.approx(math.log(2), abs=1e-4)
        with torch.no_grad():
            chosen[weight] = logps(llama, encoded, "taste")[0].sum()
        llama.drop_adapter("taste")
    assert chosen[5.0] > chosen[0.0]


def test_the_same_seed_gives_the_same_losses(model):
    pairs, runs = separable(model), []
    for number in range(2):
        torch.manual_seed(number)
        runs.append(losses_of(train(model, pairs, SETTINGS, f"run{number}")))
        model.drop_adapter(f"run{number}")
    assert runs[0] == runs[1]
    assert losses_of(train(model, pairs, SETTINGS.model_copy(update={"seed": 4}), "other")) != runs[0]


def test_training_leaves_the_global_generators_alone(llama):
    random.seed(5)
    torch.manual_seed(5)
    expected = random.Random(5).random(), torch.rand(1, generator=torch.Generator().manual_seed(5)).item()
    list(train(llama, separable(llama)[:4], SETTINGS.model_copy(update={"epochs": 1}), "taste"))
    assert (random.random(), torch.rand(1).item()) == expected


def test_whatever_is_done_between_two_steps_changes_nothing(model, tiny_folders, tmp_path):
    """Another adapter answers, the base answers, one is loaded, one is made and dropped: the losses are those of a run alone."""
    alone = LanguageModel.load(str(tiny_folders[model._model.config.model_type]))
    expected = list(train(alone, separable(alone), SETTINGS, "taste"))

    for p in model.new_adapter("saved", rank=2, seed=9):
        p.data.add_(0.1)
    model.save_adapter("saved", tmp_path / "saved")
    base, other = some_logits(model), some_logits(model, "saved")
    contexts = [separable(model)[0].context, separable(model)[1].context]
    settings = DecodeSettings(max_new_tokens=6)
    disturbed, asides = [], []
    for step in train(model, separable(model), SETTINGS, "taste"):
        disturbed.append(step)
        asides.append([])
        for adapter in ("saved", None):
            events = decode(
                lambda *inputs, a=adapter: model.forward(*inputs, adapter=a), contexts, build_arms(["baseline", "linear_aligned"], torch.ones(1), settings),
                settings, model.end_ids,
            )  # fmt: skip
            asides[-1].append([event for step_events in events for event in step_events])
        assert torch.equal(some_logits(model), base) and torch.equal(some_logits(model, "saved"), other)
        if step.step == 3:
            model.new_adapter("passing", rank=2, seed=1)
            some_logits(model, "passing")
        if step.step == 5:
            model.drop_adapter("passing")
        if step.step in (6, 7):
            model.load_adapter("loaded", tmp_path / "saved")
            assert torch.allclose(some_logits(model, "loaded"), other, atol=1e-5)
        if step.step == 8:
            model.drop_adapter("loaded")
    assert disturbed == expected
    assert all(aside == asides[0] for aside in asides) and asides[0][0] != asides[0][1]
    assert torch.allclose(some_logits(model, "taste"), some_logits(alone, "taste"), atol=1e-6)


def test_decoding_that_is_half_done_is_not_disturbed_by_a_step(model):
    contexts = [separable(model)[0].context, separable(model)[1].context]
    settings = DecodeSettings(max_new_tokens=8)

    def answer():
        return decode(
            model.forward,
            contexts,
            build_arms(["baseline", "linear_aligned"], torch.ones(1), settings),
            settings,
            model.end_ids,
        )

    expected = list(answer())
    alone = losses_of(train(model, separable(model), SETTINGS, "alone"))
    events, losses, training = [], [], train(model, separable(model), SETTINGS, "taste")
    for step in answer():
        events.append(step)
        losses.append(next(training).loss)
    assert events == expected
    assert losses + losses_of(training) == alone


def test_stopping_early_and_dropping_leaves_the_base_as_it_was(model):
    base = some_logits(model)
    steps = train(model, separable(model), SETTINGS, "taste")
    first = [next(steps).loss for _ in range(3)]
    assert not torch.equal(some_logits(model, "taste"), base)
    steps.close()
    model.drop_adapter("taste")
    assert torch.equal(some_logits(model), base)
    assert not [name for name, _ in model._model.named_parameters() if ".taste." in name]
    assert losses_of(train(model, separable(model), SETTINGS, "taste"))[:3] == first


# --- counting


@pytest.mark.parametrize(
    ("gaps", "share"),
    [
        ([1.0, 2.0], 1.0),
        ([-1.0, -0.1], 0.0),
        ([0.0, 0.0, 0.0], 0.5),
        ([1.0, 0.0], 0.75),
        ([1.0, 1.0, 0.0, -1.0], 0.625),
        ([-1.0, 0.0, 0.0], 1 / 3),
    ],
)
def test_share_above_zero_counts_ties_as_half(gaps, share):
    assert share_above_zero(torch.tensor(gaps)) == pytest.approx(share)
