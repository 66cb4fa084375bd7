"""The batched, cached loop against slow references: one row at a time, no shared batch, transformers' own guidance."""

import time

import pytest
import torch
from transformers import DynamicCache

from app.decoding import rules
from app.decoding.arms import ARM_NAMES, DecodeSettings, build_arms
from app.decoding.batch import Batch
from app.decoding.engine import decode
from app.decoding.repeats import completing
from app.decoding.sampling import choose
from app.decoding.streaming import TextStream
from app.model import LanguageModel

ONE = torch.ones(1)
SYSTEM = "You are a helpful assistant."
PROMPT = "Why is the sky blue?"


def contexts_of(model, principle="The reader is seven years old."):
    chats = [
        [{"role": "system", "content": s}, {"role": "user", "content": PROMPT}]
        for s in (SYSTEM, f"{SYSTEM} {principle}")
    ]
    return [model.chat_ids(chat) for chat in chats]


def run(model, names, contexts=None, weights=ONE, stop=lambda: False, deadline=float("inf"), **values):
    settings = DecodeSettings(**{"max_new_tokens": 24, "temperature": 0.0, **values})
    tokens, reasons = {name: [] for name in names}, {}
    events = decode(
        model.forward,
        contexts or contexts_of(model),
        build_arms(list(names), weights, settings),
        settings,
        model.end_ids,
        stop=stop,
        deadline=deadline,
    )
    for step in events:
        for event in step:
            if event.token is not None:
                tokens[event.arm].append(event.token)
            if event.finish_reason:
                assert event.arm not in reasons
                reasons[event.arm] = event.finish_reason
    return tokens, reasons


def test_a_run_of_tokens_is_found_by_what_would_complete_it():
    assert completing([1, 2, 3, 1, 2], 3) == [3]
    assert completing([1, 2, 3, 1, 2, 4, 1, 2], 3) == [3, 4]
    assert completing([1, 1, 1], 3) == [1] and completing([1, 1], 3) == []
    # With 1 and 5 as beginnings: the words 1 2, 1 3 3, 5, 1 2, 1 3 3.
    assert (
        completing([1, 2, 1, 3, 3, 5, 1, 2, 1, 3, 3], 3, {1, 5}) == [5]
        and completing([1, 2, 1, 3, 3, 5, 1, 2, 1, 3], 3, {1, 5}) == []
    )
    assert completing([1, 2, 1, 3, 3, 5, 1, 2], 2, {1, 5}) == [1]
    assert completing([5, 6, 5], 1) == [5, 6, 5] and completing([1, 2, 1], 2) == [2] and completing([1, 1, 1], 0) == []


@pytest.mark.parametrize("length", [1, 2, 3])
def test_no_run_stands_twice_in_an_answer_whatever_the_arm(tiny_model, length):
    free, _ = run(tiny_model, ARM_NAMES, max_new_tokens=40)
    tokens, _ = run(tiny_model, ARM_NAMES, max_new_tokens=40, no_repeat_ngram=length)
    for name in ARM_NAMES:
        runs = [tuple(tokens[name][i : i + length]) for i in range(len(tokens[name]) - length + 1)]
        assert len(runs) == len(set(runs))
    if length == 1:
        assert any(free[name] != tokens[name] for name in ARM_NAMES)
    zero, _ = run(tiny_model, ARM_NAMES, max_new_tokens=40, no_repeat_ngram=length, ratio=0.0)
    assert zero["linear_aligned"] == zero["principle_prompted"]


@torch.inference_mode()
def two_cache_reference(model, contexts, ratio, top_p, length):
    """The authors' way, written from its description: two separate caches, one context each, greedy."""
    caches, inputs, chosen = [None, None], [torch.tensor([c]) for c in contexts], []
    for _ in range(length):
        logits = []
        for i in (0, 1):
            cache = caches[i] or DynamicCache(config=model._model.config)
            out = model._model(input_ids=inputs[i], past_key_values=cache, use_cache=True)
            caches[i] = out.past_key_values
            logits.append(out.logits[0, -1].float())
        base, prompted = logits
        probabilities = prompted.softmax(-1)
        values, order = probabilities.sort(descending=True)
        kept = order[(values.cumsum(-1) - values) < top_p]
        aligned = prompted + ratio * (prompted - base)
        token = int(kept[aligned[kept].argmax()])
        if token in model.end_ids:
            break
        chosen.append(token)
        inputs = [torch.tensor([[token]])] * 2
    return chosen


@pytest.mark.parametrize("ratio", [0.0, 1.0, 3.0])
def test_greedy_equals_two_separate_caches(tiny_model, ratio):
    contexts = contexts_of(tiny_model)
    tokens, _ = run(tiny_model, ARM_NAMES, ratio=ratio)
    assert tokens["linear_aligned"] == two_cache_reference(tiny_model, contexts, ratio, 0.8, 24)
    assert len(tokens["linear_aligned"]) > 3


def test_plain_arms_equal_transformers_generate(tiny_model):
    contexts = contexts_of(tiny_model)
    tokens, _ = run(tiny_model, ARM_NAMES)
    for name, context in zip(ARM_NAMES[:2], contexts, strict=True):
        ids = torch.tensor([context])
        out = tiny_model._model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        expected = out[0, len(context) :].tolist()
        assert tokens[name] == expected[: len(tokens[name])]
        assert len(tokens[name]) == 24 or expected[len(tokens[name])] in tiny_model.end_ids


@pytest.mark.parametrize("temperature", [0.0, 0.9])
def test_ratio_0_is_the_prompted_arm_word_for_word(tiny_model, temperature):
    for seed in range(3):
        tokens, _ = run(tiny_model, ARM_NAMES, ratio=0.0, temperature=temperature, seed=seed)
        assert tokens["linear_aligned"] == tokens["principle_prompted"]


def test_without_the_mask_it_is_transformers_guidance(tiny_model):
    contexts = contexts_of(tiny_model)
    base, prompted = (torch.tensor([c]) for c in contexts)
    tokens, _ = run(tiny_model, ["linear_aligned"], ratio=1.5, top_p=1.0)
    out = tiny_model._model.generate(
        prompted,
        attention_mask=torch.ones_like(prompted),
        negative_prompt_ids=base,
        negative_prompt_attention_mask=torch.ones_like(base),
        guidance_scale=2.5,
        max_new_tokens=24,
        do_sample=False,
    )
    expected = out[0, prompted.shape[1] :].tolist()
    assert tokens["linear_aligned"] == expected[: len(tokens["linear_aligned"])]
    assert len(tokens["linear_aligned"]) > 3


def test_an_arm_does_not_depend_on_which_others_run(tiny_model):
    together, _ = run(tiny_model, ARM_NAMES, temperature=0.8, seed=5)
    for name in ARM_NAMES:
        alone, _ = run(tiny_model, [name], temperature=0.8, seed=5)
        assert alone[name] == together[name]


def test_several_principles_and_a_negative_weight(llama):
    base, first = contexts_of(llama)
    second = contexts_of(llama, "Answer as a gruff sea captain.")[1]
    mixed, _ = run(llama, ["linear_aligned"], [base, first, second], torch.tensor([1.0, 0.0]), ratio=2.0)
    single, _ = run(llama, ["linear_aligned"], [base, first], ratio=2.0)
    assert mixed == single
    against, _ = run(llama, ["linear_aligned"], [base, first, second], torch.tensor([1.0, -0.7]), ratio=2.0)
    assert against != single


def test_rows_leave_and_the_rest_goes_on(llama):
    """The prompted arm is made to end at its first token: the others must be what they are without it."""
    alone, _ = run(llama, ["baseline"])
    ended = run(llama, ["principle_prompted"])[0]["principle_prompted"][0]
    settings = DecodeSettings(max_new_tokens=24, temperature=0.0)
    arms = build_arms(["principle_prompted", "baseline"], ONE, settings)
    expected = alone["baseline"]
    expected = expected[: expected.index(ended)] if ended in expected else expected
    assert len(expected) > 3
    steps = list(decode(llama.forward, contexts_of(llama), arms, settings, frozenset({ended})))
    assert steps[0][0].finish_reason == "end" and steps[0][0].token is None
    assert [e.token for step in steps for e in step if e.arm == "baseline" and e.token is not None] == expected


def test_cancel_and_deadline_stop_within_one_step(llama):
    calls = []
    tokens, reasons = run(llama, ARM_NAMES, stop=lambda: len(calls) >= 5 or calls.append(1))
    assert set(reasons.values()) == {"cancelled"} and max(map(len, tokens.values())) == 5
    tokens, reasons = run(llama, ARM_NAMES, deadline=time.monotonic() - 1)
    assert set(reasons.values()) == {"deadline"} and not any(tokens.values())


def test_sampling_follows_the_distribution():
    log_probs = torch.tensor([0.5, 0.0, 0.3, 0.2]).log()
    generator = torch.Generator().manual_seed(1)
    counts = torch.bincount(torch.tensor([choose(log_probs, 1.0, generator) for _ in range(4000)]), minlength=4) / 4000
    assert counts[1] == 0
    assert torch.allclose(counts, log_probs.exp(), atol=0.03)
    assert choose(log_probs, 0.0, generator) == 0


def test_kl_budget_reaches_the_loop(llama):
    free, _ = run(llama, ["linear_aligned"], ratio=10.0)
    tight, _ = run(llama, ["linear_aligned"], ratio=10.0, kl_budget=1e-6)
    prompted, _ = run(llama, ["principle_prompted"])
    assert tight["linear_aligned"] == prompted["principle_prompted"] != free["linear_aligned"]


def test_gradients_stay_on_outside_the_loop(llama):
    settings = DecodeSettings(max_new_tokens=4)
    for _ in decode(
        llama.forward, contexts_of(llama), build_arms(["baseline"], ONE, settings), settings, llama.end_ids
    ):
        assert torch.is_grad_enabled() and not torch.is_inference_mode_enabled()


def test_streaming_never_shows_half_a_character(llama):
    text = "Tee \N{TEACUP WITHOUT HANDLE} für \N{FAMILY}, naïve"
    stream, shown = TextStream(llama.decode), ""
    for token in llama.tokenizer(text)["input_ids"]:
        shown += stream.push(token)
        assert "\N{REPLACEMENT CHARACTER}" not in shown and text.startswith(shown)
    assert shown + stream.close() == text
    broken = TextStream(llama.decode)
    broken.push(llama.tokenizer("\N{FAMILY}")["input_ids"][0])
    assert broken.text == "" and broken.close() == "\N{REPLACEMENT CHARACTER}"


def test_rules_are_used_with_the_prompted_nucleus(llama):
    """With a nucleus of one token the aligned arm can only follow the prompted one, whatever the ratio."""
    tokens, _ = run(llama, ["linear_aligned", "principle_prompted"], ratio=15.0, top_p=1e-6)
    assert tokens["linear_aligned"] == tokens["principle_prompted"]
    assert rules.nucleus(torch.zeros(5), 1e-6, 1.0).sum() == 1


@pytest.mark.parametrize("kind", ["llama", "gemma2"])
def test_the_short_context_goes_on_rightly_when_the_long_one_leaves(kind, tiny_folders):
    """Left padding that only the long row needed is trimmed, or left where the cache has sliding windows: the logits tell."""
    model = LanguageModel.load(str(tiny_folders[kind]))
    base, prompted = contexts_of(model, "The reader is seven years old and likes to hear of captains and of tea.")
    with torch.inference_mode():
        together, alone = (Batch(model.forward, rows, model.pad_id, "cpu") for rows in ([base, prompted], [base]))
        together.select([0])
        for token in (40, 41, 42):
            together.advance([token])
            alone.advance([token])
            assert torch.allclose(together.logits, alone.logits, atol=1e-4)
