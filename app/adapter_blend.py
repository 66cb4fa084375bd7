"""Several LoRA adapters of one peft model added up into one more, exactly. Knows peft's layers; no versions, no folders.

What each adapter adds to a weight is `scaling B A`. The sum of several with weights is the product of their B side by side, times
weight and scaling, and their A one below the other; its rank is the sum of the ranks. (peft's own "linear" adds A and B apart, and
its "cat" takes over the first one's rank-stabilised scaling, so neither is the sum in every case.)
"""

from collections.abc import Iterator

import torch
from peft import LoraConfig, PeftModel
from peft.tuners.lora import LoraLayer

from app.errors import InputError


def add_blend(model: PeftModel, name: str, weights: dict[str, float]) -> None:
    """Adds the adapter `name`, which is the sum of others; it is a copy and stays as it is when they change or go.

    Args:
        model: holds the others.
        name: not taken, and without a dot.
        weights: by adapter, at least one; any numbers.
    """
    rank = sum(model.peft_config[part].r for part in weights)
    targets = [key for key, layer in _layers(model) if any(part in layer.lora_A for part in weights)]
    with torch.random.fork_rng():  # a fresh LoRA draws random numbers, all of which are overwritten
        config = LoraConfig(task_type="CAUSAL_LM", r=rank, lora_alpha=rank, lora_dropout=0.0, target_modules=targets)
        model.add_adapter(name, config)
    with torch.no_grad():
        for _, layer in _layers(model):
            if name in layer.lora_A:
                _fill(layer, name, weights)


def copy_adapter(model: PeftModel, source: str, name: str) -> None:
    """Makes the adapter `name` add what another one adds; rows that it has to spare, and layers that the other leaves alone, add nothing.

    Raises:
        InputError: the other one has a larger rank.
    """
    largest, room = model.peft_config[source].r, model.peft_config[name].r
    if largest > room:
        raise InputError(
            f"the version to begin as has rank {largest}; an adapter of rank {room} cannot hold it: learn with rank {largest} or more"
        )
    with torch.no_grad():
        for _, layer in _layers(model):
            if source in layer.lora_A and name in layer.lora_A:
                _fill(layer, name, {source: 1.0})


def _layers(model: PeftModel) -> Iterator[tuple[str, LoraLayer]]:
    for key, layer in model.get_base_model().named_modules():
        if isinstance(layer, LoraLayer):
            yield key, layer


def _fill(layer: LoraLayer, name: str, weights: dict[str, float]) -> None:
    # A layer that only some of them change has rows to spare, which stay zero.
    a, b = layer.lora_A[name].weight.zero_(), layer.lora_B[name].weight.zero_()
    first = 0
    for part, weight in weights.items():
        if part in layer.lora_A:
            after = first + layer.lora_A[part].weight.shape[0]
            a[first:after] = layer.lora_A[part].weight
            b[:, first:after] = layer.lora_B[part].weight * (weight * layer.scaling[part] / layer.scaling[name])
            first = after
