"""Token ids of preference pairs, and how likely a model finds their answers. It knows no objective and no optimiser."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.errors import InputError
from app.model import LanguageModel
from app.prompts import with_system
from app.refresh.objectives import answer_logps
from app.refresh.pairs import Pair


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of the prompt's chat and of both answers with the token that ends them."""

    context: list[int]
    chosen: list[int]
    rejected: list[int]


def encode(model: LanguageModel, pairs: list[Pair]) -> list[EncodedPair]:
    """Token ids of pairs, on prompts without a principle; a system message of the pair's own is kept in place of ours.

    Raises:
        InputError: a pair is longer than the model can read.
    """
    encoded = []
    for number, pair in enumerate(pairs, start=1):
        try:
            context = model.chat_ids(with_system(pair.messages))
        except InputError as error:
            raise InputError(f"pair {number}: {error}") from error
        item = EncodedPair(context, model.answer_ids(pair.chosen), model.answer_ids(pair.rejected))
        longest = len(item.context) + max(len(item.chosen), len(item.rejected))
        if longest > model.context_length:
            raise InputError(
                f"pair {number} is {longest} tokens long; this model reads {model.context_length}: leave it out or shorten it"
            )
        encoded.append(item)
    return encoded


def logps(model: LanguageModel, pairs: list[EncodedPair], adapter: str | None) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of chosen and rejected answers, each of shape (pairs,), in one forward of 2 x pairs rows."""
    rows = [(p.context, p.chosen) for p in pairs] + [(p.context, p.rejected) for p in pairs]
    summed = row_logps(model, rows, adapter)
    return summed[: len(pairs)], summed[len(pairs) :]


def row_logps(model: LanguageModel, rows: list[tuple[list[int], list[int]]], adapter: str | None) -> Tensor:
    """Summed log-probabilities of the answers of (context, answer) rows of token ids, shape (rows,), in one forward."""
    width = max(len(context) + len(answer) for context, answer in rows)

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in rows], device=model.device)

    ids = padded([context + answer for context, answer in rows], model.pad_id)
    attended = padded([[1] * (len(context) + len(answer)) for context, answer in rows], 0)
    answered = padded([[0] * len(context) + [1] * len(answer) for context, answer in rows], 0)
    return answer_logps(model.logits(ids, attended, adapter), ids, answered)


@torch.inference_mode()
def margins(model: LanguageModel, pairs: list[EncodedPair], adapter: str | None, at_once: int = 8) -> Tensor:
    """`log p(chosen) - log p(rejected)` of each pair, shape (pairs,); the difference of two policies' margins is `d`."""
    parts = [logps(model, pairs[i : i + at_once], adapter) for i in range(0, len(pairs), at_once)]
    return torch.cat([chosen - rejected for chosen, rejected in parts]).cpu()
