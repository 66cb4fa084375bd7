"""A key-value cache with spare columns: a step then writes one column instead of copying all of them.

It knows transformers' cache layers; it knows no batches and no arms.
"""

from typing import Any

from torch import Tensor
from transformers import DynamicCache, PreTrainedConfig
from transformers.cache_utils import DynamicLayer

SPARE = 64


class RoomyLayer(DynamicLayer):
    """A layer of full attention. `keys` and `values`, shape (rows, heads, columns, size), may be replaced from outside at any
    time; the columns to come then get room anew."""

    keeps_all_columns = True

    def __init__(self) -> None:
        super().__init__()
        self._rooms: dict[str, Tensor] = {}

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Appends columns; returns all of them."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
        self.keys = self._appended("keys", self.keys, key_states)
        self.values = self._appended("values", self.values, value_states)
        return self.keys, self.values

    def _appended(self, name: str, old: Tensor, new: Tensor) -> Tensor:
        columns = old.shape[-2] if old.numel() else 0
        needed = columns + new.shape[-2]
        room = self._rooms.get(name)
        if room is None or old.data_ptr() != room.data_ptr() or len(old) != len(room) or needed > room.shape[-2]:
            rows, heads, _, size = new.shape
            room = self._rooms[name] = new.new_empty(rows, heads, needed + SPARE, size)
            if columns:
                room[:, :, :columns] = old
        room[:, :, columns:needed] = new
        return room[:, :, :needed]


def new_cache(config: PreTrainedConfig) -> DynamicCache:
    """An empty cache for a model: roomy where a layer keeps all its columns, transformers' own where it does not."""
    cache = DynamicCache(config=config)
    cache.layers = [RoomyLayer() if type(layer) is DynamicLayer else layer for layer in cache.layers]
    return cache


def joins(config: PreTrainedConfig) -> bool:
    """Whether rows of different length may share a cache of this model: every layer keeps all its columns."""
    return all(isinstance(layer, RoomyLayer) for layer in new_cache(config).layers)


def bytes_per_token(config: PreTrainedConfig, itemsize: int) -> int:
    """What one token of one row takes in the cache of this model.

    Args:
        config: of the model.
        itemsize: bytes of one number.
    """
    config = config.get_text_config()
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return 2 * config.num_hidden_layers * heads * size * itemsize
