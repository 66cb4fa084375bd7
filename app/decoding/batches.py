"""Rows that several adapters answer, one batch for each, seen as one. Knows rows and adapters by name; no arms, no runs, no rules."""

from collections.abc import Callable

import torch
from torch import Tensor

from app.decoding.batch import Batch, Forward


class Batches:
    """As `Batch`, with an adapter for every row.

    Args:
        forward: gives the forward for an adapter's name (None: the original model).
        rows: the adapter and the token ids of each.
        pad_id, device: as for `Batch`.
    """

    def __init__(
        self,
        forward: Callable[[str | None], Forward],
        rows: list[tuple[str | None, list[int]]],
        pad_id: int,
        device: torch.device | str,
    ):
        self._adapters = [adapter for adapter, _ in rows]
        self._batches = {
            wanted: Batch(forward(wanted), [ids for adapter, ids in rows if adapter == wanted], pad_id, device)
            for wanted in dict.fromkeys(self._adapters)
        }

    def __len__(self) -> int:
        return len(self._adapters)

    @property
    def logits(self) -> Tensor:
        """Next-token logits of all rows, shape (rows, vocabulary), in fp32."""
        if len(self._batches) == 1:
            (batch,) = self._batches.values()
            return batch.logits
        order = [row for wanted in self._batches for row in self._rows_of(wanted)]
        stacked = torch.cat([batch.logits for batch in self._batches.values()])
        return torch.empty_like(stacked).index_copy_(0, torch.tensor(order, device=stacked.device), stacked)

    def select(self, rows: list[int]) -> None:
        """As `Batch.select`."""
        for wanted, batch in list(self._batches.items()):
            places = {row: place for place, row in enumerate(self._rows_of(wanted))}
            if kept := [places[row] for row in rows if row in places]:
                batch.select(kept)
            else:
                del self._batches[wanted]
        self._adapters = [self._adapters[row] for row in rows]

    def join(self, other: "Batches") -> None:
        """Puts the rows of another one below these, each batch with that of the same adapter; see `Batch.joining`."""
        shared = self._batches.keys() & other._batches.keys()
        # Where memory runs out, it does so before anything has changed.
        joined = [self._batches[wanted].joining(other._batches[wanted]) for wanted in shared]
        for change in joined:
            change()
        self._batches |= {wanted: batch for wanted, batch in other._batches.items() if wanted not in shared}
        self._adapters = self._adapters + other._adapters

    def advance(self, tokens: list[int]) -> None:
        """As `Batch.advance`."""
        for wanted, batch in self._batches.items():
            batch.advance([tokens[row] for row in self._rows_of(wanted)])

    def _rows_of(self, wanted: str | None) -> list[int]:
        # In the order of that adapter's own batch.
        return [row for row, adapter in enumerate(self._adapters) if adapter == wanted]
