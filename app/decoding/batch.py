"""Rows of token ids with one left-padded key-value cache: prefill, copy rows, advance, join, drop rows. Knows no arms, no rules."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Forward(Protocol):
    """One pass of a model over new tokens; returns the logits after the last of them, shape (rows, vocabulary), and the cache."""

    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor, position_ids: Tensor, cache: object | None
    ) -> tuple[Tensor, object]: ...


class Batch:
    """Rows that advance together, one token each a step.

    Args:
        forward: the model.
        contexts: token ids of every row; left-padded here to the longest. Equal ones are read once, and the row is copied.
        pad_id: any token id; padded places are masked.
        device: where the tensors live.

    After construction and after every change `logits` holds the next-token logits, shape (rows, vocabulary), in fp32.
    """

    def __init__(self, forward: Forward, contexts: list[list[int]], pad_id: int, device: torch.device | str):
        self._forward = forward
        distinct: dict[tuple[int, ...], int] = {}
        rows = [distinct.setdefault(tuple(ids), len(distinct)) for ids in contexts]
        contexts = [list(ids) for ids in distinct]
        width = max(map(len, contexts))
        ids = torch.tensor([[pad_id] * (width - len(row)) + row for row in contexts], device=device)
        self._mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in contexts], device=device)
        positions = (self._mask.cumsum(-1) - 1).clamp(min=0)
        self._next_position = positions[:, -1:] + 1
        logits, self._cache = forward(ids, self._mask, positions, None)
        self.logits = logits.float()
        self.select(rows)

    def __len__(self) -> int:
        return len(self.logits)

    def select(self, rows: list[int]) -> None:
        """Keeps these rows, in this order; a row named twice is copied, a row not named leaves."""
        if rows == list(range(len(self))):
            return
        index = torch.tensor(rows, device=self.logits.device)
        self._cache.batch_select_indices(index)
        self._mask, self._next_position = self._mask[index], self._next_position[index]
        self.logits = self.logits[index]
        # Columns that only pad the rows that are left would be paid for at every step.
        unused = int(self._mask.argmax(-1).min())
        if unused and _trim_left(self._cache, unused):
            self._mask = self._mask[:, unused:]

    def joining(self, other: "Batch") -> Callable[[], None]:
        """Makes what it takes to put the rows of another batch of the same model below these; the narrower is left-padded to the
        wider. Calling the result does it. Until then nothing is touched: where memory runs out, both batches go on.

        Every layer of both caches has to keep all its columns (no sliding windows).
        """
        width, added = self._mask.shape[1], other._mask.shape[1]
        missing, surplus = max(0, added - width), max(0, width - added)
        layers = [
            (_below(mine.keys, theirs.keys, missing, surplus), _below(mine.values, theirs.values, missing, surplus))
            for mine, theirs in zip(self._cache.layers, other._cache.layers, strict=True)
        ]
        pad = torch.nn.functional.pad
        mask = torch.cat([pad(self._mask, (missing, 0)), pad(other._mask, (surplus, 0))])
        positions = torch.cat([self._next_position, other._next_position])
        logits = torch.cat([self.logits, other.logits])

        def change() -> None:
            for layer, (keys, values) in zip(self._cache.layers, layers, strict=True):
                layer.keys, layer.values = keys, values
            self._mask, self._next_position, self.logits = mask, positions, logits

        return change

    def advance(self, tokens: list[int]) -> None:
        """Appends one token to every row."""
        ids = torch.tensor(tokens, device=self.logits.device).unsqueeze(1)
        self._mask = torch.nn.functional.pad(self._mask, (0, 1), value=1)
        logits, self._cache = self._forward(ids, self._mask, self._next_position, self._cache)
        self._next_position = self._next_position + 1
        self.logits = logits.float()


def _below(upper: Tensor, lower: Tensor, missing: int, surplus: int) -> Tensor:
    # Keys or values, shape (rows, heads, columns, size), grown by empty columns on the left.
    pad = torch.nn.functional.pad
    return torch.cat([pad(upper, (0, 0, missing, 0)), pad(lower, (0, 0, surplus, 0))])


def _trim_left(cache: object, columns: int) -> bool:
    # Layers with a sliding window count their own columns; where there is one, the cache and its mask stay as wide as they are.
    if not all(getattr(layer, "keeps_all_columns", False) for layer in cache.layers):
        return False
    for layer in cache.layers:
        layer.keys, layer.values = layer.keys[:, :, columns:], layer.values[:, :, columns:]
    return True
