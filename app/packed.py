"""Linear layers whose frozen weights lie in memory as oneDNN reads them, which on a CPU takes a fraction of the time. Knows torch only.

Inductor uses the same operator for frozen weights. It is part of the release of torch that `requirements.txt` names; where it is
missing, nothing is packed.
"""

from bisect import bisect_left
from collections.abc import Callable

import psutil
import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx, once_differentiable
from torch.nn import functional

PACKED_DTYPES = (torch.float32, torch.bfloat16)
# oneDNN compiles code for every number of rows and keeps it: a few numbers only, or memory would grow with every new one.
ROWS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
# That memory must have room for: packed, and packed the other way round for gradients, each in two dtypes at most.
COPIES = 4


def pack_linears(model: torch.nn.Module) -> int:
    """Packs every linear layer of a model on the CPU whose weights are frozen; returns how many. Answers differ by rounding only.

    The layers stay what they are, weights and names included; their weights must not be changed from now on. Nothing is packed where
    memory has no room for the copies.
    """
    layers = [layer for layer in model.modules() if type(layer) is torch.nn.Linear and _packs(layer.weight)]
    size = sum(layer.weight.nbytes for layer in layers)
    if not _works() or psutil.virtual_memory().available < COPIES * size:
        return 0
    for layer in layers:
        layer.forward = Packed(layer.weight, layer.bias, layer.forward)
    return len(layers)


class Packed:
    """The forward of one linear layer, differentiable in its input alone.

    Args:
        weight: shape (out, in), frozen.
        bias: shape (out,), or None.
        plain: the layer's own forward, which is faster for a single row in float32.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, plain: Callable[[Tensor], Tensor]):
        self._weight, self._bias, self._plain = weight, bias, plain
        self._packed: dict[tuple[torch.dtype, bool], Tensor] = {}

    def __call__(self, inputs: Tensor) -> Tensor:
        """Shape (..., in) to (..., out); under autocast in its dtype."""
        dtype = self.packed_dtype(inputs)
        return self._plain(inputs) if dtype is None else _Linear.apply(inputs.to(dtype), self)

    def packed_dtype(self, inputs: Tensor) -> torch.dtype | None:
        """In what the packed weights are to be computed with for these inputs; None where the plain layer is the faster or only way."""
        dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else self._weight.dtype
        one_row = inputs.numel() == inputs.shape[-1]
        return None if dtype not in PACKED_DTYPES or (dtype == torch.float32 and one_row) else dtype

    def linear(self, inputs: Tensor) -> Tensor:
        """The layer itself, without gradients; the inputs' dtype decides."""
        bias = None if self._bias is None else self._bias.to(inputs.dtype)
        return _linear(inputs, self._as(inputs.dtype, turned=False), bias)

    def backward(self, gradient: Tensor) -> Tensor:
        """The gradient of the inputs, shape (..., in), from that of the outputs."""
        return _linear(gradient, self._as(gradient.dtype, turned=True), None)

    def _as(self, dtype: torch.dtype, turned: bool) -> Tensor:
        if (dtype, turned) not in self._packed:
            with torch.inference_mode(False), torch.no_grad():  # what is made in a decode serves a refresh, too
                weight = self._weight.detach().to(dtype)
                weight = weight.t().contiguous() if turned else weight
                self._packed[dtype, turned] = torch.ops.mkldnn._reorder_linear_weight(weight)
        return self._packed[dtype, turned]


class _Linear(torch.autograd.Function):
    @staticmethod
    def forward(ctx: FunctionCtx, inputs: Tensor, layer: Packed) -> Tensor:
        ctx.layer = layer
        return layer.linear(inputs)

    @staticmethod
    @once_differentiable
    def backward(ctx: FunctionCtx, gradient: Tensor) -> tuple[Tensor, None]:
        return ctx.layer.backward(gradient.contiguous()), None


def _linear(inputs: Tensor, packed: Tensor, bias: Tensor | None) -> Tensor:
    rows = inputs.reshape(-1, inputs.shape[-1])
    parts = []
    for part in rows.split(ROWS[-1]):
        padding = ROWS[bisect_left(ROWS, len(part))] - len(part) if len(part) else 0
        padded = functional.pad(part, (0, 0, 0, padding)) if padding else part
        parts.append(torch.ops.mkldnn._linear_pointwise(padded, packed, bias, "none", [], "")[: len(part)])
    return (parts[0] if len(parts) == 1 else torch.cat(parts)).reshape(*inputs.shape[:-1], parts[0].shape[-1])


def _packs(weight: Tensor) -> bool:
    return weight.device.type == "cpu" and weight.dtype in PACKED_DTYPES and not weight.requires_grad


def _works() -> bool:
    return torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_reorder_linear_weight")
