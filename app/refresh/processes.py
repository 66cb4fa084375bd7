"""Several processes that learn together, through accelerate: which of them this is, and how they come to agree.

It knows tensors and texts, no model. Where a process was started alone nothing is initialised and nothing is waited for.
"""

import os
from collections.abc import Sequence
from typing import TypeVar

import torch
from accelerate import PartialState
from accelerate.utils import broadcast, parse_flag_from_env, reduce
from torch import Tensor

Item = TypeVar("Item")


def join(device: str) -> str:
    """Meets the processes that `torchrun` or `accelerate launch` started beside this one; does nothing where there are none.

    Args:
        device: what a process alone would use.

    Returns:
        What this process is to use: each of several has a GPU of its own, or they share the processor.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return device
    on_cpu = device == "cpu" or parse_flag_from_env("ACCELERATE_USE_CPU") or not torch.cuda.is_available()
    return str(PartialState(cpu=on_cpu).device)


def count() -> int:
    """How many learn together."""
    return torch.distributed.get_world_size() if _met() else 1


def index() -> int:
    """Which one this is; 0 is the first: the one that reads, writes and prints."""
    return torch.distributed.get_rank() if _met() else 0


def share(items: Sequence[Item]) -> Sequence[Item]:
    """This process's items, dealt out in turn; of few items the last processes may get none."""
    return items[index() :: count()]


def summed(values: Tensor) -> Tensor:
    """The sum of every process's tensor of one shape; all must ask."""
    if count() == 1:
        return values
    return reduce(values.to(PartialState().device), "sum").to(values.device)


def sum_gradients(parameters: list[torch.nn.Parameter]) -> None:
    """Gives all processes the sum of their gradients. Whoever had nothing to compute adds zeros."""
    if count() == 1:
        return
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
    together = summed(torch.cat([gradient.flatten() for gradient in gradients]))
    for parameter, part in zip(parameters, together.split([p.numel() for p in parameters]), strict=True):
        parameter.grad = part.view_as(parameter)


def from_first(text: str) -> str:
    """The first process's text, on all of them; what the others give is not looked at."""
    if count() == 1:
        return text
    device, said = PartialState().device, text.encode()
    length = broadcast(torch.tensor([len(said)], device=device)).item()
    letters = torch.tensor(list(said), dtype=torch.uint8) if index() == 0 else torch.zeros(length, dtype=torch.uint8)
    return bytes(broadcast(letters.to(device)).tolist()).decode()


def _met() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()
