"""Lets a model answer many prompts at once, in every arm, with the product's own engine. It knows no measures."""

from dataclasses import dataclass, field

import torch
from tqdm import tqdm

from app.decoding.arms import Arm, DecodeSettings, build_arms
from app.decoding.engine import decode
from app.model import LanguageModel
from app.prompts import SYSTEM_TEXT
from app.starter.dataset import Sample

ROWS_AT_ONCE = 96
MAX_NEW_TOKENS = 140
BUDGET = 0.5  # nats a token
# What is decoded: name -> (arm of the product, ratio, KL budget).
ARMS: dict[str, tuple[str, float, float | None]] = {
    "baseline": ("baseline", 0.0, None),
    "prompted": ("principle_prompted", 0.0, None),
    "aligned 1": ("linear_aligned", 1.0, None),
    "aligned 2": ("linear_aligned", 2.0, None),
    "aligned 3": ("linear_aligned", 3.0, None),
    "budget 5": ("linear_aligned", 5.0, BUDGET),
    "budget 10": ("linear_aligned", 10.0, BUDGET),
}


@dataclass
class Case:
    """One prompt under one persona description, and what each arm answered: arm -> (text, whether it ended by itself)."""

    sample: Sample
    answers: dict[str, tuple[str, bool]] = field(default_factory=dict)

    def text(self, arm: str) -> str:
        """The answer of one arm."""
        return self.answers[arm][0]


def answer(model: LanguageModel, cases: list[Case], arms: list[str], temperature: float, label: str) -> None:
    """Decodes `arms` (keys of `ARMS`) for every case and keeps the texts in the cases.

    Args:
        model: any model.
        cases: many of them become rows of one batch.
        arms: which to decode.
        temperature: 0 for greedy. Every arm of every case draws from the same seed, as in the product.
        label: shown beside the progress.
    """
    rows = sum(1 if name in ("baseline", "prompted") else 2 for name in arms)
    size = max(1, ROWS_AT_ONCE // rows)
    ordered = sorted(cases, key=lambda case: len(case.sample.user) + len(case.sample.system))
    for start in tqdm(range(0, len(ordered), size), desc=label, mininterval=5):
        _answer_batch(model, ordered[start : start + size], arms, temperature, seed=start)


def _answer_batch(model: LanguageModel, cases: list[Case], arms: list[str], temperature: float, seed: int) -> None:
    contexts: list[list[int]] = []
    running: list[Arm] = []
    tokens: dict[str, list[int]] = {}
    ended: dict[str, bool] = {}
    for number, case in enumerate(cases):
        first, messages = len(contexts), case.sample.messages()
        contexts.append(model.chat_ids([{"role": "system", "content": SYSTEM_TEXT}, *messages[1:]]))
        contexts.append(model.chat_ids(messages))
        for name in arms:
            kind, ratio, budget = ARMS[name]
            settings = DecodeSettings(ratio=ratio, kl_budget=budget, temperature=temperature)
            (arm,) = build_arms([kind], torch.ones(1), settings)
            running.append(Arm(f"{number}/{name}", tuple(first + i for i in arm.contexts), arm.next_log_probs))
            tokens[f"{number}/{name}"] = []
    settings = DecodeSettings(
        temperature=temperature, max_new_tokens=MAX_NEW_TOKENS, seed=seed, no_repeat_ngram=model.no_repeat_ngram
    )
    stream = decode(
        model.forward, contexts, running, settings, model.end_ids, model.device, word_starts=model.word_starts
    )
    for events in stream:
        for event in events:
            if event.token is not None:
                tokens[event.arm].append(event.token)
            if event.finish_reason:
                ended[event.arm] = event.finish_reason == "end"
    for key, ids in tokens.items():
        number, name = key.split("/", 1)
        cases[int(number)].answers[name] = (model.decode(ids), ended[key])
