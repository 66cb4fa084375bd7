"""Token ids of preference pairs, and how likely a model finds their answers. It knows no objective and no optimiser."""

from dataclasses import dataclass

import torch
from torch import Tensor

from app.errors import InputError
from app.model import LanguageModel
from app.prompts import Message, with_system
from app.refresh.objectives import answer_logps
from app.refresh.packing import pack
from app.refresh.pairs import Pair

TOKENS_AT_ONCE = 1024


@dataclass(frozen=True)
class EncodedPair:
    """Token ids of the prompt's chat and of both answers with the token that ends them. One of the two may be empty: then the row is
    a single answer, chosen if it was liked, rejected if not.

    doubt: the chance that the choice is mistaken, as far as it is known of this one.
    weight: how much the choice counts beside others.
    rewards: of the chosen and of the rejected answer.
    demonstration: whether a person wrote the chosen answer.
    """

    context: list[int]
    chosen: list[int]
    rejected: list[int]
    doubt: float = 0.0
    weight: float = 1.0
    rewards: tuple[float, float] = (1.0, 0.0)
    demonstration: bool = False

    @property
    def tokens(self) -> int:
        """How many there are with the prompt read once."""
        return len(self.context) + len(self.chosen) + len(self.rejected)


def encode(model: LanguageModel, pairs: list[Pair], asked: str = "") -> list[EncodedPair]:
    """Token ids of pairs, on prompts without a principle; a system message of the pair's own is kept in place of ours.

    Args:
        model: whose token ids they are.
        pairs: choices.
        asked: a sentence that every prompt's system text ends with, as it would with a principle.

    Raises:
        InputError: a pair is longer than the model can read.
    """
    return [
        encode_row(model, f"pair {number}", pair.messages, pair.chosen, pair.rejected, asked)
        for number, pair in enumerate(pairs, start=1)
    ]


def encode_row(
    model: LanguageModel, name: str, messages: list[Message], chosen: str | None, rejected: str | None, asked: str = ""
) -> EncodedPair:
    """Token ids of one row, in which one of the answers may be missing; `name` is what an error calls it, the rest as `encode`."""
    try:
        context = model.chat_ids(with_system(messages, asked))
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    row = EncodedPair(context, *([] if text is None else model.answer_ids(text) for text in (chosen, rejected)))
    longest = len(row.context) + max(len(row.chosen), len(row.rejected))
    if longest > model.context_length:
        raise InputError(
            f"{name} is {longest} tokens long; this model reads {model.context_length}: leave it out or shorten it"
        )
    return row


def logps(model: LanguageModel, pairs: list[EncodedPair], adapter: str | None) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of chosen and rejected answers, each of shape (pairs,), in one forward.

    A pair is one row with its prompt read once where the model `takes_masks`; else two rows. An answer that is missing has 0.
    """
    if model.takes_masks:
        summed = _summed(model, [(pair.context, [pair.chosen, pair.rejected]) for pair in pairs], adapter)
    else:
        summed = row_logps(
            model, [(pair.context, answer) for pair in pairs for answer in (pair.chosen, pair.rejected)], adapter
        )
    return summed[0::2], summed[1::2]


def row_logps(model: LanguageModel, rows: list[tuple[list[int], list[int]]], adapter: str | None) -> Tensor:
    """Summed log-probabilities of the answers of (context, answer) rows of token ids, shape (rows,), in one forward."""
    return _summed(model, [(context, [answer]) for context, answer in rows], adapter)


@torch.inference_mode()
def fidelities(
    model: LanguageModel, rows: list[tuple[list[int], list[int], list[int]]], adapter: str | None = None
) -> list[tuple[float, float]]:
    """How well answers follow a principle, and how natural they are without it, by a model's own likelihoods, in one forward.

    Args:
        model, adapter: who judges; without an adapter the original model.
        rows: token ids of the chat without the principle, of the chat with it, and of the answer.

    Returns:
        Of each row `(log p(y | led) - log p(y | plain)) / tokens of y` and `log p(y | plain) / tokens of y`, nats a token.
    """
    if not rows:
        return []
    both = [(context, answer) for plain, led, answer in rows for context in (plain, led)]
    found = row_logps(model, both, adapter).view(-1, 2).tolist()
    lengths = [max(1, len(answer)) for _, _, answer in rows]
    return [((led - plain) / n, plain / n) for (plain, led), n in zip(found, lengths, strict=True)]


def _summed(model: LanguageModel, rows: list[tuple[list[int], list[list[int]]]], adapter: str | None) -> Tensor:
    packed = pack(rows, model.pad_id, model.device)
    logits = model.logits_at(
        packed.input_ids, packed.attention_mask, packed.position_ids, packed.rows, packed.columns, adapter
    )
    return answer_logps(logits, packed.targets, packed.lengths)


def micro_batches(pairs: list[EncodedPair], tokens_at_once: int = TOKENS_AT_ONCE) -> list[list[int]]:
    """Indices of pairs of like length together, so that little is padded, at most so many tokens, or else one pair, at a time."""
    batches: list[list[int]] = []
    for i in sorted(range(len(pairs)), key=lambda i: pairs[i].tokens):  # so the newest is the widest of its batch
        if batches and (len(batches[-1]) + 1) * pairs[i].tokens <= tokens_at_once:
            batches[-1].append(i)
        else:
            batches.append([i])
    return batches


@torch.inference_mode()
def margins(
    model: LanguageModel, pairs: list[EncodedPair], adapter: str | None, tokens_at_once: int = TOKENS_AT_ONCE
) -> Tensor:
    """`log p(chosen) - log p(rejected)` of each pair, shape (pairs,); the difference of two policies' margins is `d`."""
    found = torch.empty(len(pairs))
    for indices in micro_batches(pairs, tokens_at_once):
        chosen, rejected = logps(model, [pairs[i] for i in indices], adapter)
        found[indices] = (chosen - rejected).cpu()
    return found
