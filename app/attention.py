"""transformers' common attention, but in float32 where a CPU computes under autocast: forwards and backwards, torch's kernel for
bfloat16 takes longer there than the one for float32. Knows transformers' attention functions; no model's layers, no adapters.
"""

from typing import Any

import torch
from torch import Tensor
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

COMMON, IN_FLOAT32 = "sdpa", "sdpa_in_float32_under_autocast"


def keep_attention_in_float32(model: PreTrainedModel) -> None:
    """Makes a model that has transformers' common attention use the one below; leaves every other model alone."""
    if model.config._attn_implementation == COMMON and model._supports_attention_backend:
        model.set_attn_implementation(IN_FLOAT32)


def in_float32_under_autocast(
    module: torch.nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **how: Any
) -> tuple[Tensor, None]:
    """As transformers' `sdpa_attention_forward`, which it is everywhere but under autocast on a CPU."""
    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **how)
    with torch.autocast("cpu", enabled=False):
        return sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **how)


AttentionInterface.register(IN_FLOAT32, in_float32_under_autocast)
AttentionMaskInterface.register(IN_FLOAT32, sdpa_mask)
