"""LoRA layers over packed linear layers as one operation forwards and one backwards, where peft's own take many small ones.

Knows torch, packed layers, and peft's layers by their attributes; no adapter by name, no model.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable

from app.packed import Packed


def pack_adapters(model: torch.nn.Module) -> int:
    """Gives every LoRA layer of peft's that stands over a packed one the forward below; returns how many. Results differ by rounding
    only, and adapters may be added and deleted afterwards as before."""
    over = [layer for layer in model.modules() if isinstance(_forward_below(layer), Packed)]
    for layer in over:
        layer.forward = Adapted(layer)
    return len(over)


class Adapted:
    """The forward of one LoRA layer, differentiable in its input and in the active adapter's A and B.

    Args:
        layer: peft's, over a packed linear layer. Where it is to do more than add one plain LoRA (none or several are active, one has
            dropout or a bias, or computes in another precision), its own forward answers.
    """

    def __init__(self, layer: Any):
        self._layer, self._peft, self._below = layer, layer.forward, layer.base_layer.forward

    def __call__(self, inputs: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """Shape (..., in) to (..., out); under autocast in its dtype."""
        name, dtype = self._only_plain_one(), self._below.packed_dtype(inputs)
        if args or kwargs or name is None or dtype is None:
            return self._peft(inputs, *args, **kwargs)
        a, b = self._layer.lora_A[name].weight, self._layer.lora_B[name].weight
        if a.dtype != dtype and not torch.is_autocast_enabled("cpu"):
            return self._peft(inputs)
        return _AdaptedLinear.apply(inputs, a, b, self._layer.scaling[name], self._below, dtype)

    def _only_plain_one(self) -> str | None:
        layer, active = self._layer, self._layer.active_adapters
        if layer.disable_adapters or layer.merged or len(active) != 1 or active[0] not in layer.lora_A:
            return None
        name = active[0]
        adds_more = name in layer.lora_variant or layer.lora_B[name].bias is not None
        return None if adds_more or not isinstance(layer.lora_dropout[name], torch.nn.Identity) else name


class _AdaptedLinear(torch.autograd.Function):
    """`x W' + scaling (x A') B'`, with everything computed in `dtype` and gradients in the dtype of what they belong to."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, inputs: Tensor, a: Tensor, b: Tensor, scaling: float, below: Packed, dtype: torch.dtype
    ) -> Tensor:
        ctx.scaling, ctx.below, ctx.shape = scaling, below, inputs.shape
        ctx.dtypes = [tensor.dtype for tensor in (inputs, a, b)]
        rows, a, b = inputs.reshape(-1, inputs.shape[-1]).to(dtype), a.to(dtype), b.to(dtype)
        inner = rows @ a.t()
        ctx.save_for_backward(rows, inner, a, b)
        return below.linear(rows).addmm_(inner, b.t(), alpha=scaling).reshape(*inputs.shape[:-1], len(b))

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, inner, a, b = ctx.saved_tensors
        gradient = gradient.reshape(-1, gradient.shape[-1]).to(rows.dtype).contiguous()
        at_inner = gradient @ b
        of_inputs = of_a = of_b = None
        if ctx.needs_input_grad[0]:
            of_inputs = ctx.below.backward(gradient).addmm_(at_inner, a, alpha=ctx.scaling)
            of_inputs = of_inputs.reshape(ctx.shape).to(ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            of_a = (at_inner.t() @ rows).to(ctx.dtypes[1]).mul_(ctx.scaling)
        if ctx.needs_input_grad[2]:
            of_b = (gradient.t() @ inner).to(ctx.dtypes[2]).mul_(ctx.scaling)
        return of_inputs, of_a, of_b, None, None, None


def _forward_below(layer: torch.nn.Module) -> object:
    return getattr(getattr(layer, "base_layer", None), "forward", None)
