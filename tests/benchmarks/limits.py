"""What the machine can do at most, and how near to it a measurement comes: memory bandwidth, matmul peak, and what Python alone costs.

Bandwidth and peak are measured here, in the same process as what is compared with them. Knows the sizes of a model; no decoding rules.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import torch

from app.model import LanguageModel

BYTES, SIDE, RUNS = 2**29, 2048, 7


@dataclass(frozen=True)
class Limits:
    """bandwidth in bytes/s, read and written ones counted; peak in floating-point operations/s."""

    bandwidth: float
    peak: float


def measure_limits(dtype: torch.dtype, device: str = "cpu") -> Limits:
    """The best of some runs: a copy of half a GiB or a matrix-vector product of that size, and a product of two large matrices."""
    source = torch.ones(BYTES // dtype.itemsize, dtype=dtype, device=device)
    target = torch.empty_like(source)
    matrix = source.view(-1, SIDE)
    vector = torch.ones(SIDE, dtype=dtype, device=device)
    copying, reading = _best(lambda: target.copy_(source), device), _best(lambda: matrix @ vector, device)
    square = torch.ones(SIDE, SIDE, dtype=dtype, device=device)
    return Limits(max(2 * BYTES / copying, BYTES / reading), 2 * SIDE**3 / _best(lambda: square @ square, device))


def settle(device: torch.device | str) -> None:
    """Waits until everything that was started on the device is done."""
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize()


def step_bytes(model: LanguageModel, rows: int, columns: int) -> int:
    """Bytes that one decoding step has to read: every weight once, and the keys and values of every row."""
    config = model._model.config
    weights = sum(p.numel() * p.element_size() for p in model._model.parameters())
    if not config.tie_word_embeddings:
        table = model._model.get_input_embeddings().weight
        weights -= table.numel() * table.element_size()
    kept = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim
    return weights + rows * columns * kept * model._model.dtype.itemsize


def token_operations(model: LanguageModel, columns: float) -> float:
    """Floating-point operations of one token in one forward: two a weight, and attention over `columns` places."""
    config = model._model.config
    weights = sum(p.numel() for p in model._model.parameters())
    if not config.tie_word_embeddings:
        weights -= model._model.get_input_embeddings().weight.numel()
    return 2 * weights + 4 * columns * config.num_hidden_layers * config.num_attention_heads * config.head_dim


def shares(
    limits: Limits, seconds: float, python_seconds: float, operations: float, moved: float | None = None
) -> dict[str, float | str]:
    """How near to each limit a measurement came, and which is the nearest.

    Args:
        limits: of this machine in this dtype.
        seconds: what was measured.
        python_seconds: the same on `shapes.narrow` of the model, where nothing is left but Python and the launching of kernels.
        operations: floating-point operations that had to be done.
        moved: bytes that had to be read; None where that is not what counts.

    Returns:
        The shares, which need not sum to 1, since the three go on at the same time or none of them; weights that fit into the
        processor's cache can show more than all of the bandwidth.
    """
    found = {"compute": operations / seconds / limits.peak, "python": python_seconds / seconds}
    if moved is not None:
        found["bandwidth"] = moved / seconds / limits.bandwidth
    return {**found, "bound": max(found, key=found.get)}


def _best(function: Callable[[], object], device: str) -> float:
    seconds = []
    for _ in range(RUNS):
        started = time.perf_counter()
        function()
        settle(device)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
