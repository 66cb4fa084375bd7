"""Rows of token ids that hold a context once and all its answers after it, and who may see whom in them. It knows no model.

    context context context | chosen chosen chosen | rejected rejected
    0       1       2         3      4      5        3        4

Both answers begin at the position after the context, and neither sees the other: what is computed at a token is what would be
computed in a row of that answer alone.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packed:
    """Right-padded rows, and where in them each token of the answers is predicted.

    input_ids, position_ids: shape (rows, tokens).
    attention_mask: of ones and zeros, shape (rows, tokens), if every row holds one answer; else whether a token (third dimension)
        sees another (fourth), shape (rows, 1, tokens, tokens).
    rows, columns: the places at which the answers' tokens are predicted, one answer after another, shape (answer tokens,).
    targets: those tokens, shape (answer tokens,).
    lengths: how many tokens each answer has.
    """

    input_ids: Tensor
    position_ids: Tensor
    attention_mask: Tensor
    rows: Tensor
    columns: Tensor
    targets: Tensor
    lengths: list[int]


def pack(rows: list[tuple[list[int], list[list[int]]]], pad_id: int, device: torch.device) -> Packed:
    """Packs (context, answers) rows; a context has at least one token, and all rows as many answers."""
    ids, positions, parts = [], [], []
    predicted_in, predicted_at, targets, lengths = [], [], [], []
    for number, (context, answers) in enumerate(rows):
        row, places, owners = list(context), list(range(len(context))), [0] * len(context)
        for part, answer in enumerate(answers, start=1):
            # Predicted at the context's end, then at each token but the last: nobody asks what comes after that, so it stays out.
            predicted_at += [len(context) - 1, *range(len(row), len(row) + len(answer) - 1)][: len(answer)]
            predicted_in += [number] * len(answer)
            targets += answer
            lengths.append(len(answer))
            row += answer[:-1]
            places += range(len(context), len(context) + len(answer) - 1)
            owners += [part] * (len(answer) - 1)
        ids.append(row)
        positions.append(places)
        parts.append(owners)
    width = max(len(row) for row in ids)

    def padded(rows: list[list[int]], fill: int) -> Tensor:
        return torch.tensor([row + [fill] * (width - len(row)) for row in rows], device=device)

    owner = padded(parts, -1)
    if all(len(answers) == 1 for _, answers in rows):
        attention_mask = (owner >= 0).long()
    else:
        earlier = torch.ones(width, width, dtype=torch.bool, device=device).tril()
        same = owner[:, :, None] == owner[:, None, :]
        attention_mask = (earlier & (same | (owner == 0)[:, None, :]))[:, None]
    places = (torch.tensor(values, dtype=torch.long, device=device) for values in (predicted_in, predicted_at, targets))
    return Packed(padded(ids, pad_id), padded(positions, 0), attention_mask, *places, lengths)
