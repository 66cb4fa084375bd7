"""Many answers at once from one policy, as rows of one batch. It knows token ids; it knows no texts and no preferences.

A loop beside that of `app.decoding.engine`, for answers that are learnt from and not shown: all are of one arm, so one call makes the
distributions of all rows, and the token that ends an answer is a part of it, which a comparison's events do not tell.
"""

from collections.abc import Generator

import torch

from app.decoding.arms import DecodeSettings
from app.decoding.batch import Batch
from app.decoding.repeats import completing
from app.decoding.rules import plain_log_probs
from app.decoding.sampling import choose
from app.model import LanguageModel


@torch.inference_mode()
def sample_answers(
    model: LanguageModel, contexts: list[list[int]], adapter: str | None, settings: DecodeSettings, seeds: list[int]
) -> Generator[None, None, list[list[int]]]:
    """One answer to every context, by the baseline arm; gives way after every token. A context that stands twice is read once.

    Args:
        model: what answers.
        contexts: token ids of the chats; each leaves room for at least one token.
        adapter: the loaded adapter to answer with; None is the original model.
        settings: temperature, top_p, length and repeats; its seed and its ratio are not used.
        seeds: one an answer.

    Returns:
        Token ids of each answer, with the token that ends it where it ended by itself.
    """
    batch = Batch(model.forward_with(adapter), contexts, model.pad_id, model.device)
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    answers: list[list[int]] = [[] for _ in contexts]
    running = list(range(len(contexts)))
    longest = min(settings.max_new_tokens, model.context_length - max(map(len, contexts)))
    for position in range(longest):
        if position:
            batch.advance([answers[i][-1] for i in running])
        logits = batch.logits.clone()
        for row, i in enumerate(running):
            logits[row, completing(answers[i], settings.no_repeat_ngram, model.word_starts)] = float("-inf")
        log_probs = plain_log_probs(logits, settings.top_p, settings.temperature)
        for row, i in enumerate(running):
            answers[i].append(choose(log_probs[row], settings.temperature, generators[i]))
        yield None
        going_on = [row for row, i in enumerate(running) if answers[i][-1] not in model.end_ids]
        running = [running[row] for row in going_on]
        if not running:
            break
        batch.select(going_on)
    return answers
