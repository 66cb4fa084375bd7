"""`python -m tests.benchmarks.decoding`: the engine against its peers, and against itself with one visitor.

Parts: (a) the aligned arm alone, (b) the three arms of a comparison, (c) eight comparisons at once, (d) the first token with eight
visitors, (e) what traces cost. Everything is a ratio inside one run, on the same weights in one process; (d) uses the dtype that the product chooses.
"""

import argparse
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

import torch

from app.decoding.arms import ARM_NAMES, DecodeSettings
from app.model import LanguageModel
from app.services import build
from app.settings import Settings
from tests.benchmarks import shapes, visitors
from tests.benchmarks.race import Row, Seconds, Sides, race, ratios, report
from tests.benchmarks.sides import (
    PROMPTS,
    comparisons,
    generated,
    generated_thrice,
    guided,
    ours,
    ours_at_once,
    two_caches,
)

RATIO = 2.0
WAYS = {"sampled": 0.5, "greedy": 0.0}
ALONE_BARS = {("135m", "bfloat16"): 0.9, ("135m", "float32"): 0.6, ("starter", "float32"): 0.75}
TOGETHER_BARS = {("135m", "bfloat16"): 0.30, ("starter", "float32"): 0.45}
AT_ONCE_BAR, FIRST_TOKEN_BAR, TRACES_BAR = 2.5, 3.0, 1.1
VISITOR_TOKENS = 16


def alone(model: LanguageModel, key: tuple[str, str], tokens: int, repeats: int) -> list[Row]:
    """(a) The aligned arm alone: tokens/s against each peer's."""
    rows = []
    for way, temperature in WAYS.items():

        def heats(turn: int, temperature: float = temperature) -> Iterable[Sides]:
            settings = _settings(temperature, tokens, turn)
            for pair in comparisons(model, turn):
                yield {
                    "ours": lambda pair=pair: ours(model, pair, settings, ("linear_aligned",))["linear_aligned"],
                    "generate": lambda pair=pair: generated(model, pair[1], settings),
                    "guidance_scale": lambda pair=pair: guided(model, pair, settings),
                    "two caches": lambda pair=pair: two_caches(model, pair, settings),
                }

        seconds, written = race(heats, repeats)
        _check_lengths((text for heat in written for text in heat.values()), tokens)
        details: dict[str, Any] = {"tokens_per_second": _tokens_per_second(seconds, tokens * len(PROMPTS))}
        if temperature == 0:
            details["same_words_as_two_caches"] = _equal(written, "ours", "two caches")
        for peer in ("generate", "guidance_scale", "two caches"):
            what = f"aligned arm alone, {way}: tokens/s against {peer}{' of the prompted arm' * (peer == 'generate')}"
            bar = ALONE_BARS.get(key) if peer == "generate" else None
            rows.append(Row("a", what, ratios(seconds, peer, "ours"), bar, at_least=True, details=details))
    return rows


def together(model: LanguageModel, key: tuple[str, str], tokens: int, repeats: int) -> list[Row]:
    """(b) Three arms as rows of one batch against `generate`, `generate` and `generate(guidance_scale)`: share of the time."""
    rows = []
    for way, temperature in WAYS.items():

        def heats(turn: int, temperature: float = temperature) -> Iterable[Sides]:
            settings = _settings(temperature, tokens, turn)
            for pair in comparisons(model, turn):
                yield {
                    "ours": lambda pair=pair: ours(model, pair, settings),
                    "theirs": lambda pair=pair: generated_thrice(model, pair, settings),
                }

        seconds, written = race(heats, repeats)
        _check_lengths((text for heat in written for texts in heat.values() for text in texts.values()), tokens)
        details: dict[str, Any] = {
            "tokens_per_second": _tokens_per_second(seconds, tokens * len(ARM_NAMES) * len(PROMPTS))
        }
        if temperature == 0:  # without the aligned arm: our nucleus is the prompted one's, their guidance has another
            details["plain_arms_equal"] = {
                name: _equal([{s: texts[name] for s, texts in heat.items()} for heat in written], "ours", "theirs")
                for name in ARM_NAMES[:2]
            }
        what = f"three arms together, {way}: share of the time of generate, generate, guidance"
        rows.append(Row("b", what, ratios(seconds, "ours", "theirs"), TOGETHER_BARS.get(key), details=details))
    return rows


def at_once(model: LanguageModel, key: tuple[str, str], tokens: int, repeats: int) -> list[Row]:
    """(c) Eight comparisons at once against the same ones after another: throughput."""

    def heats(turn: int) -> Iterable[Sides]:
        pairs, settings = comparisons(model, turn), _settings(WAYS["sampled"], tokens, turn)
        yield {
            "at once": lambda: ours_at_once(model, pairs, settings),
            "one after another": lambda: [ours(model, pair, settings) for pair in pairs],
        }

    seconds, written = race(heats, repeats)
    answers = [{side: text[name] for side, text in zip(heat, texts, strict=True)}
               for heat in written for texts in zip(*heat.values(), strict=True) for name in ARM_NAMES]  # fmt: skip
    _check_lengths((text for heat in answers for text in heat.values()), tokens)
    details = {
        "tokens_per_second": _tokens_per_second(seconds, tokens * len(ARM_NAMES) * len(PROMPTS)),
        "equal_answers": _equal(answers, "at once", "one after another"),
    }
    what = f"{len(PROMPTS)} comparisons at once, sampled: throughput against one after another"
    values = ratios(seconds, "one after another", "at once")
    return [Row("c", what, values, AT_ONCE_BAR, at_least=True, details=details)]


def first_token(name: str, device: str, repeats: int) -> list[Row]:
    """(d) The first token of a visitor among eight against that of a visitor alone, through the use case *compare*."""
    with tempfile.TemporaryDirectory() as folder:
        source = shapes.save(name, Path(folder) / "model")
        services = build(Settings(data=Path(folder) / "data", device=device), source)
        scenes = {"alone": visitors.alone, "at once": visitors.at_once, "joining": visitors.joining}
        for scene in scenes.values():
            scene(services, VISITOR_TOKENS)  # what the first calls of a process cost concerns no scene
        sides = {side: lambda scene=scene: scene(services, VISITOR_TOKENS) for side, scene in scenes.items()}
        _, waited = race(lambda turn: [sides], repeats)
        dtype = str(services.model._model.dtype).removeprefix("torch.")
    details = {"dtype": dtype, "seconds": waited}

    def values(scene: str, of: Callable[[list[float]], float]) -> list[float]:
        return [of(heat[scene]) / median(heat["alone"]) for heat in waited]

    return [
        Row("d", f"first token, {what}, against alone ({dtype})", values(scene, of), FIRST_TOKEN_BAR, details=details)
        for what, scene, of in (
            ("8 visitors in one moment, median", "at once", median),
            ("8 visitors in one moment, slowest", "at once", max),
            ("while 7 are being answered, median", "joining", median),
        )
    ]


def traced(model: LanguageModel, key: tuple[str, str], tokens: int, repeats: int) -> list[Row]:
    """(e) With a trace of every token against without: share of the time."""

    def heats(turn: int) -> Iterable[Sides]:
        pairs, settings = comparisons(model, turn), _settings(WAYS["sampled"], tokens, turn)
        yield {
            "alone": lambda: [ours(model, pair, settings) for pair in pairs],
            "alone, traced": lambda: [ours(model, pair, settings, traces=True) for pair in pairs],
            "at once": lambda: ours_at_once(model, pairs, settings),
            "at once, traced": lambda: ours_at_once(model, pairs, settings, traces=True),
        }

    seconds, _ = race(heats, repeats)
    return [
        Row(
            "e", f"a trace of every token, {what}: time with against without", ratios(seconds, traced, bare), TRACES_BAR
        )
        for what, traced, bare in (
            ("comparisons one after another", "alone, traced", "alone"),
            (f"{len(PROMPTS)} comparisons at once", "at once, traced", "at once"),
        )
    ]


PARTS = {"a": alone, "b": together, "c": at_once, "e": traced}


def _settings(temperature: float, tokens: int, seed: int) -> DecodeSettings:
    return DecodeSettings(ratio=RATIO, temperature=temperature, max_new_tokens=tokens, seed=seed)


def _tokens_per_second(seconds: Seconds, tokens: int) -> dict[str, float]:
    return {side: median(tokens / sums[side] for sums in seconds) for side in seconds[0]}


def _equal(heats: list[dict[str, list[int]]], one: str, other: str) -> str:
    return f"{sum(heat[one] == heat[other] for heat in heats)} of {len(heats)}"


def _check_lengths(texts: Iterable[list[int]], tokens: int) -> None:
    if any(len(text) != tokens for text in texts):
        raise RuntimeError(f"a side did not write exactly {tokens} tokens; the sides cannot be compared")


def main() -> None:
    """Prints a row a figure, and keeps everything as JSON where asked."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.decoding", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=shapes.NAMES, default="starter")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", default="a,b,c,d,e", help="comma-separated")
    parser.add_argument("--tokens", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    parts, rows = options.parts.split(","), []
    if chosen := [PARTS[part] for part in parts if part in PARTS]:
        model = shapes.load(options.model, getattr(torch, options.dtype), options.device)
        for part in chosen:
            part(model, ("", ""), 4, 1)  # what the first calls of a process cost concerns no side
        for part in chosen:
            rows += part(model, (options.model, options.dtype), options.tokens, options.repeats)
        del model
    if "d" in parts:
        rows += first_token(options.model, options.device, options.repeats)
    about = {key: getattr(options, key) for key in ("model", "dtype", "device", "tokens", "repeats")}
    report(rows, about, options.json)


if __name__ == "__main__":
    main()
