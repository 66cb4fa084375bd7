"""The loop: all arms of one comparison as rows of one batched, KV-cached forward a step. Knows no texts, no personas, no page."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from app.decoding.arms import Arm, DecodeSettings
from app.decoding.batch import Batch, Forward
from app.decoding.repeats import completing
from app.decoding.sampling import choose

UNLIKELY = -1e4  # a logit, the same in every context, so that no rule moves it


@dataclass(frozen=True)
class TokenEvent:
    """One step of one arm. `finish_reason` is None while the arm goes on, then "end", "length", "cancelled" or "deadline";
    `token` is None where an arm finishes without a new token (the end token itself is not part of an answer)."""

    arm: str
    token: int | None
    finish_reason: str | None = None


@torch.inference_mode()
def decode(
    forward: Forward,
    contexts: list[list[int]],
    arms: list[Arm],
    settings: DecodeSettings,
    end_ids: frozenset[int],
    device: torch.device | str = "cpu",
    stop: Callable[[], bool] = lambda: False,
    deadline: float = float("inf"),
) -> Iterator[list[TokenEvent]]:
    """Decodes every arm until all have finished; yields the events of one step at a time.

    Each context is read once, then copied to the rows that need it. A finished arm's rows leave the batch.

    Args:
        forward: the model, see `batch.Forward`.
        contexts: token ids of each context; `Arm.contexts` points into this list.
        arms: what to decode.
        settings: temperature, seed, length and repeats; the rest is already in the arms.
        end_ids: tokens that end an answer.
        device: of the tensors.
        stop: asked before every step; True cancels what is left.
        deadline: `time.monotonic()` after which what is left is cut off.
    """
    written: dict[str, list[int]] = {arm.name: [] for arm in arms}
    generators = {arm.name: torch.Generator().manual_seed(settings.seed) for arm in arms}
    running, batch, tokens = list(arms), None, []
    used = sorted({context for arm in arms for context in arm.contexts})
    for position in range(settings.max_new_tokens):
        cut = "cancelled" if stop() else "deadline" if time.monotonic() > deadline else None
        if cut:
            yield [TokenEvent(arm.name, None, cut) for arm in running]
            return
        if batch is None:
            batch = Batch(forward, [contexts[i] for i in used], min(end_ids, default=0), device)
            batch.select([used.index(i) for arm in arms for i in arm.contexts])
        else:
            batch.advance([token for arm, token in zip(running, tokens, strict=True) for _ in arm.contexts])
        events, tokens, survivors, rows, first_row = [], [], [], [], 0
        for arm in running:
            arm_rows = range(first_row, first_row := first_row + len(arm.contexts))
            logits = batch.logits[arm_rows.start : arm_rows.stop]
            if banned := completing(written[arm.name], settings.no_repeat_ngram):
                logits = logits.clone()
                logits[:, banned] = UNLIKELY
            log_probs = arm.next_log_probs(logits)
            token = choose(log_probs, settings.temperature, generators[arm.name])
            last = position + 1 == settings.max_new_tokens
            if token in end_ids:
                events.append(TokenEvent(arm.name, None, "end"))
            else:
                events.append(TokenEvent(arm.name, token, "length" if last else None))
                written[arm.name].append(token)
                if not last:
                    survivors.append(arm)
                    tokens.append(token)
                    rows.extend(arm_rows)
        running = survivors
        yield events
        if not running:
            return
        batch.select(rows)
