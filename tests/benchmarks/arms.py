"""`python -m tests.benchmarks.arms`: three arms as rows of one batch against transformers' `generate`, called three times.

Both sides use the same weights in one process, write the same number of tokens and take turns at going first. `generate` gets no
processor that it does not need: the end token is unknown to it, so that it always writes on to the last token.
"""

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from transformers import GenerationConfig

from app.decoding.arms import ARM_NAMES, DecodeSettings, build_arms
from app.decoding.engine import decode
from app.model import LanguageModel
from app.prompts import contexts, frame
from personas import load_library
from tests.benchmarks.machine import machine

BAR = 0.60
RATIO = 2.0
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

Texts = dict[str, list[int]]


def ours(model: LanguageModel, pair: list[list[int]], settings: DecodeSettings) -> tuple[Texts, float]:
    """Tokens of the three arms, from one batch, and the seconds to the first of them."""
    started, first, tokens = time.perf_counter(), 0.0, {name: [] for name in ARM_NAMES}
    arms = build_arms(list(ARM_NAMES), torch.ones(1, device=model.device), settings)
    for events in decode(model.forward, pair, arms, settings, frozenset(), model.device):
        first = first or time.perf_counter() - started
        for event in events:
            tokens[event.arm].append(event.token)
    return tokens, first


def theirs(model: LanguageModel, pair: list[list[int]], settings: DecodeSettings) -> Texts:
    """Tokens of the same three arms by `generate`, one after another."""
    base, prompted = (torch.tensor([ids], device=model.device) for ids in pair)
    guidance = {
        "guidance_scale": 1 + settings.ratio,
        "negative_prompt_ids": base,
        "negative_prompt_attention_mask": torch.ones_like(base),
    }
    sampled = {"do_sample": True, "temperature": settings.temperature, "top_p": settings.top_p, "top_k": 0}
    common = {"max_new_tokens": settings.max_new_tokens, **(sampled if settings.temperature else {"do_sample": False})}
    torch.manual_seed(settings.seed)
    tokens = {}
    for name, ids, extra in zip(ARM_NAMES, (base, prompted, prompted), ({}, {}, guidance), strict=True):
        out = model._model.generate(ids, attention_mask=torch.ones_like(ids), **common, **extra)
        tokens[name] = out[0, ids.shape[1] :].tolist()
    return tokens


def comparisons(model: LanguageModel, turn: int) -> Iterator[list[list[int]]]:
    """Both contexts of every prompt; each turn gives every prompt another persona."""
    library = load_library()
    for i, prompt in enumerate(PROMPTS):
        persona = library[PERSONAS[(i + turn) % len(PERSONAS)]]
        chats = contexts([{"role": "user", "content": prompt}], [frame(persona.principle, persona.framing)])
        yield [model.chat_ids(chat) for chat in chats]


def measure(model: LanguageModel, temperature: float, tokens: int, repeats: int) -> dict[str, Any]:
    """Times every prompt on both sides, `repeats` times over; a ratio belongs to one repeat, the medians to all comparisons."""
    turns: list[dict[str, list[float]]] = []
    firsts, same_words, order = [], 0, 0
    for turn in range(repeats):
        seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
        for pair in comparisons(model, turn):
            settings = DecodeSettings(ratio=RATIO, temperature=temperature, max_new_tokens=tokens, seed=turn)
            written = {}
            for side in ("ours", "theirs") if order % 2 == 0 else ("theirs", "ours"):
                started = time.perf_counter()
                if side == "ours":
                    written[side], first = ours(model, pair, settings)
                else:
                    written[side] = theirs(model, pair, settings)
                seconds[side].append(time.perf_counter() - started)
            if any(len(ids) != tokens for texts in written.values() for ids in texts.values()):
                raise RuntimeError(f"a side did not write exactly {tokens} tokens; the two cannot be compared")
            firsts.append(first)
            # The aligned arm is left out: our nucleus is the prompted one's, their guidance has another.
            same_words += all(written["ours"][name] == written["theirs"][name] for name in ARM_NAMES[:2])
            order += 1
        turns.append(seconds)
    ratios = [sum(seconds["ours"]) / sum(seconds["theirs"]) for seconds in turns]
    medians = {side: median(s for seconds in turns for s in seconds[side]) for side in ("ours", "theirs")}
    return {
        "temperature": temperature,
        "ours_seconds": medians["ours"],
        "theirs_seconds": medians["theirs"],
        "ours_tokens_per_second": len(ARM_NAMES) * tokens / medians["ours"],
        "theirs_tokens_per_second": len(ARM_NAMES) * tokens / medians["theirs"],
        "ours_first_token_seconds": median(firsts),
        "ratio": median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
        "ratios": ratios,
        # Means something only where nothing is drawn by chance: both sides then choose the same tokens.
        "plain_arms_equal": f"{same_words} of {order}" if temperature == 0 else None,
        "passed": median(ratios) <= BAR,
    }


def main() -> None:
    """Prints a row for sampled and one for greedy answers, and keeps everything as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.arms", description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="starter")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model = LanguageModel.load(options.model)
    model._model.generation_config = GenerationConfig(pad_token_id=model.pad_id)
    settings = DecodeSettings(max_new_tokens=8)
    for pair in comparisons(model, 0):  # what the first calls of a process cost concerns neither side
        ours(model, pair, settings)
        theirs(model, pair, settings)
    rows = {name: measure(model, t, options.tokens, options.repeats) for name, t in (("sampled", 0.5), ("greedy", 0.0))}
    report = {
        "machine": machine(),
        "model": options.model,
        "revision": model.revision,
        "tokens": options.tokens,
        "bar": BAR,
        **rows,
    }
    print(", ".join(f"{key} {value}" for key, value in report["machine"].items()))
    print(f"{len(PROMPTS)} prompts, {options.repeats} repeats, 3 arms of {options.tokens} tokens; medians a comparison")
    print(
        f"{'':8}{'ours s':>8}{'theirs s':>10}{'ours tok/s':>12}{'theirs tok/s':>14}{'first s':>9}{'ratio':>8}  min to max     bar {BAR}"
    )
    for name, row in rows.items():
        print(
            f"{name:8}{row['ours_seconds']:8.2f}{row['theirs_seconds']:10.2f}{row['ours_tokens_per_second']:12.0f}"
            f"{row['theirs_tokens_per_second']:14.0f}{row['ours_first_token_seconds']:9.3f}{row['ratio']:8.2f}"
            f"  {row['ratio_min']:.2f} to {row['ratio_max']:.2f}   {'pass' if row['passed'] else 'miss'}"
        )
    print(f"greedy plain arms with the same tokens on both sides: {rows['greedy']['plain_arms_equal']}")
    if options.json:
        options.json.write_text(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
