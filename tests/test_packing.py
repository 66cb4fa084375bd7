"""One prompt read once for both answers: the same values and gradients as of rows that hold one answer each."""

import pytest
import torch

from app.model import LanguageModel
from app.refresh.answers import EncodedPair, encode, logps, micro_batches
from app.refresh.packing import pack
from app.refresh.pairs import make_pair

TAKE_MASKS = {"llama", "qwen2", "gemma", "gpt_neox", "gpt2"}  # gemma2 has a sliding window of 16 tokens


def pairs_of(model: LanguageModel) -> list[EncodedPair]:
    """Three pairs of unlike lengths, longer than any window."""
    texts = [
        ("Why is the sky blue?", "Air scatters short waves, matey.", "Because."),
        (
            "How is tea made?",
            "Boil the water.",
            "Add the tea and wait four minutes before you pour it, then wait again.",
        ),
        ("Who are you and who is the reader?", "A gruff sea captain", "You are a helpful assistant."),
    ]
    return encode(model, [make_pair([{"role": "user", "content": prompt}], good, bad) for prompt, good, bad in texts])


def with_moved_adapter(model: LanguageModel) -> list[torch.nn.Parameter]:
    """A LoRA named "moved" that is no longer the base."""
    parameters, generator = model.new_adapter("moved", rank=4, seed=0), torch.Generator().manual_seed(0)
    for parameter in parameters:
        parameter.data.add_(torch.randn(parameter.shape, generator=generator), alpha=0.1)
    return parameters


def values_and_gradients(model, parameters):
    chosen, rejected = logps(model, pairs_of(model), "moved")
    weights = torch.tensor([1.0, -2.0, 0.5])
    ((chosen * weights).sum() - (rejected * weights.flip(0)).sum()).backward()
    gradients = [p.grad.clone() for p in parameters]
    for p in parameters:
        p.grad = None
    return torch.stack([chosen, rejected]).detach(), gradients


# --- by hand


def test_a_packed_row_by_hand():
    """Context 5 6, answers 7 8 9 and 3 4, padded beside one of context 5 and answers 7 and 8: their only tokens are never read."""
    packed = pack([([5, 6], [[7, 8, 9], [3, 4]]), ([5], [[7], [8]])], pad_id=0, device=torch.device("cpu"))
    assert packed.input_ids.tolist() == [[5, 6, 7, 8, 3], [5, 0, 0, 0, 0]]
    assert packed.position_ids[0].tolist() == [0, 1, 2, 3, 2]
    assert packed.attention_mask.shape == (2, 1, 5, 5)
    assert packed.attention_mask[0, 0].long().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [1, 1, 1, 0, 0],
        [1, 1, 1, 1, 0],
        [1, 1, 0, 0, 1],
    ]
    assert packed.rows.tolist() == [0, 0, 0, 0, 0, 1, 1]
    assert packed.columns.tolist() == [1, 2, 3, 1, 4, 0, 0]
    assert packed.targets.tolist() == [7, 8, 9, 3, 4, 7, 8] and packed.lengths == [3, 2, 1, 1]
    assert packed.attention_mask.any(-1).all(), "a token that sees nothing has no softmax"


def test_rows_of_one_answer_have_a_plain_mask():
    packed = pack([([5, 6], [[7, 8]]), ([5], [[]])], pad_id=0, device=torch.device("cpu"))
    assert packed.input_ids.tolist() == [[5, 6, 7], [5, 0, 0]] and packed.attention_mask.tolist() == [
        [1, 1, 1],
        [1, 0, 0],
    ]
    assert packed.columns.tolist() == [1, 2] and packed.lengths == [2, 0]


# --- on models


def test_every_architecture_is_known_for_what_it_takes(tiny_model):
    assert tiny_model.takes_masks == (tiny_model._model.config.model_type in TAKE_MASKS)


def test_a_shared_prompt_changes_no_value_and_no_gradient(tiny_model):
    parameters = with_moved_adapter(tiny_model)
    shared, shared_gradients = values_and_gradients(tiny_model, parameters)
    tiny_model.takes_masks = False
    plain, plain_gradients = values_and_gradients(tiny_model, parameters)
    assert torch.allclose(shared, plain, atol=1e-4, rtol=0)
    scale = max(g.abs().max().item() for g in plain_gradients)
    assert scale > 0.1
    for ours, theirs in zip(shared_gradients, plain_gradients, strict=True):
        assert torch.allclose(ours, theirs, atol=1e-4 * max(1.0, scale), rtol=1e-4)


@torch.no_grad()
def test_log_probabilities_are_those_of_each_answer_alone(tiny_model):
    with_moved_adapter(tiny_model)
    pairs = pairs_of(tiny_model)
    found = torch.stack(logps(tiny_model, pairs, "moved"), dim=1)
    for i, pair in enumerate(pairs):
        for j, answer in enumerate((pair.chosen, pair.rejected)):
            row = torch.tensor([pair.context + answer])
            assert row.shape[1] > 16
            scores = tiny_model.logits(row, torch.ones_like(row), "moved")[0].log_softmax(-1)
            expected = sum(scores[len(pair.context) + k - 1, token].item() for k, token in enumerate(answer))
            assert found[i, j].item() == pytest.approx(expected, abs=1e-3)


def test_one_answer_does_not_see_the_other(llama):
    pairs = pairs_of(llama)
    others = [EncodedPair(p.context, p.chosen, [*p.rejected[::-1], 5]) for p in pairs]
    with torch.no_grad():
        (kept, before), (same, after) = logps(llama, pairs, None), logps(llama, others, None)
    assert torch.allclose(kept, same, atol=1e-4) and not torch.allclose(before, after, atol=1e-2)


def test_the_head_is_whole_again_after_a_look_at_some_places(llama):
    row = torch.tensor([[1, 2, 3]])
    before = llama.logits(row, torch.ones_like(row), None)
    place = torch.tensor([1])
    some = llama.logits_at(row, torch.ones_like(row), torch.arange(3)[None], torch.tensor([0]), place, None)
    assert some.shape == (1, before.shape[-1]) and torch.allclose(some[0], before[0, 1], atol=1e-5)
    assert torch.equal(llama.logits(row, torch.ones_like(row), None), before)


# --- micro-batches


@pytest.mark.parametrize("budget", [1, 20, 64, 10_000])
def test_micro_batches_hold_every_pair_once_sorted_and_within_the_budget(budget):
    lengths = [7, 30, 7, 12, 3, 90, 12, 40, 1]
    pairs = [EncodedPair([1] * n, [2], [3]) for n in lengths]
    batches = micro_batches(pairs, budget)
    flat = [i for batch in batches for i in batch]
    assert sorted(flat) == list(range(len(pairs)))
    assert [pairs[i].tokens for i in flat] == sorted(pair.tokens for pair in pairs)
    for batch in batches:
        assert len(batch) == 1 or len(batch) * max(pairs[i].tokens for i in batch) <= budget
    assert len(batches) == {1: 9, 10_000: 1}.get(budget, len(batches))
    assert micro_batches([], budget) == []
