"""The two sides of every race: this project's decoding, and its peers on the same weights: `generate`, `generate` with guidance, and
the two-cache loop of Linear Alignment's authors. Everything writes exactly `max_new_tokens` tokens. Knows no clock and no bar.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import DynamicCache

from app.decoding.arms import ARM_NAMES, DecodeSettings, build_arms
from app.decoding.engine import Engine
from app.decoding.run import Run
from app.model import LanguageModel
from app.prompts import contexts, frame
from personas import load_library

PERSONAS = ("for_child", "pirate", "curt")
PROMPTS = (
    "Why is the sky blue?",
    "How do I make a good cup of tea?",
    "What should I pack for a weekend at the sea?",
    "How can I fall asleep faster?",
    "What is a good way to learn a new language?",
    "How do I ask my boss for a day off?",
    "Why do cats purr?",
    "What can I cook with eggs and potatoes?",
)

Contexts = list[list[int]]
Texts = dict[str, list[int]]


def comparisons(model: LanguageModel, turn: int) -> list[Contexts]:
    """Both contexts of every prompt; each turn gives every prompt another persona."""
    library, found = load_library(), []
    for i, prompt in enumerate(PROMPTS):
        persona = library[PERSONAS[(i + turn) % len(PERSONAS)]]
        chats = contexts([{"role": "user", "content": prompt}], [frame(persona.principle, persona.framing)])
        found.append([model.chat_ids(chat) for chat in chats])
    return found


# --- ours


def ours(
    model: LanguageModel,
    pair: Contexts,
    settings: DecodeSettings,
    names: tuple[str, ...] = ARM_NAMES,
    traces: bool = False,
) -> Texts:
    """Tokens of the arms of one comparison, as rows of one batch."""
    return ours_at_once(model, [pair], settings, names, traces)[0]


def ours_at_once(
    model: LanguageModel,
    pairs: list[Contexts],
    settings: DecodeSettings,
    names: tuple[str, ...] = ARM_NAMES,
    traces: bool = False,
) -> list[Texts]:
    """Tokens of several comparisons that run at the same time."""
    arms = build_arms(list(names), torch.ones(1, device=model.device), settings)
    engine = Engine(model.forward_with, model.device, model.joins)
    written: dict[Run, Texts] = {}
    for pair in pairs:
        run = Run(pair, arms, settings, model.end_ids, traces=traces)
        written[run] = {name: [] for name in names}
        engine.add(run)
    while engine.busy:
        for run, outcome in engine.step():
            if isinstance(outcome, Exception):
                raise outcome
            for event in outcome:
                written[run][event.arm].append(event.token)
    return list(written.values())


# --- the peers


def generated(model: LanguageModel, context: list[int], settings: DecodeSettings, **extra: object) -> list[int]:
    """Tokens of one context by transformers' `generate`."""
    ids = torch.tensor([context], device=model.device)
    sampled = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    how = sampled if settings.temperature else {"do_sample": False}
    torch.manual_seed(settings.seed)
    with _as_transformers_loads_it(model):
        out = model._model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=settings.max_new_tokens, **how, **extra
        )
    return out[0, ids.shape[1] :].tolist()


def guided(model: LanguageModel, pair: Contexts, settings: DecodeSettings) -> list[int]:
    """Tokens by `generate(guidance_scale=)`, which is linear alignment without the nucleus of the prompted distribution."""
    base, prompted = pair
    negative = torch.tensor([base], device=model.device)
    return generated(
        model,
        prompted,
        settings,
        guidance_scale=1 + settings.ratio,
        negative_prompt_ids=negative,
        negative_prompt_attention_mask=torch.ones_like(negative),
    )


def generated_thrice(model: LanguageModel, pair: Contexts, settings: DecodeSettings) -> Texts:
    """The three arms of a comparison by `generate`, one after another."""
    base, prompted = pair
    texts = (generated(model, base, settings), generated(model, prompted, settings), guided(model, pair, settings))
    return dict(zip(ARM_NAMES, texts, strict=True))


def two_caches(model: LanguageModel, pair: Contexts, settings: DecodeSettings) -> list[int]:
    """Tokens of the aligned arm in the authors' way; see `_two_caches`."""
    with _as_transformers_loads_it(model):
        return _two_caches(model, pair, settings)


@contextmanager
def _as_transformers_loads_it(model: LanguageModel) -> Iterator[None]:
    """The peers get plain linear layers: packing their weights is this project's doing."""
    packed = {layer: vars(layer).pop("forward") for layer in model._model.modules() if "forward" in vars(layer)}
    try:
        yield
    finally:
        for layer, forward in packed.items():
            layer.forward = forward


@torch.inference_mode()
def _two_caches(model: LanguageModel, pair: Contexts, settings: DecodeSettings) -> list[int]:
    """Tokens of the aligned arm in the authors' way, written anew from its description: each context has a cache of its own and is
    forwarded by itself, the nucleus is found by sorting the vocabulary. Source: arXiv 2401.11458, `contra_generate`."""
    caches = [DynamicCache(config=model._model.config) for _ in pair]
    inputs, generator = pair, torch.Generator(device=model.device).manual_seed(settings.seed)
    chosen: list[int] = []
    for _ in range(settings.max_new_tokens):
        base, prompted = (_last(model, ids, cache) for ids, cache in zip(inputs, caches, strict=True))
        probabilities = (prompted / (settings.temperature or 1.0)).softmax(-1)
        values, order = probabilities.sort(descending=True)
        kept = order[(values.cumsum(-1) - values) < settings.top_p]
        aligned = (prompted + settings.ratio * (prompted - base))[kept]
        if settings.temperature:
            place = torch.multinomial((aligned / settings.temperature).softmax(-1), 1, generator=generator)
        else:
            place = aligned.argmax()
        chosen.append(int(kept[place]))
        inputs = [[chosen[-1]]] * 2
    return chosen


def _last(model: LanguageModel, ids: list[int], cache: DynamicCache) -> Tensor:
    out = model._model(
        input_ids=torch.tensor([ids], device=model.device), past_key_values=cache, use_cache=True, logits_to_keep=1
    )
    return out.logits[0, -1].float()
