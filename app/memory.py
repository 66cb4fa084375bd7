"""How much memory is free for a model: on the GPU, or of this machine within what its container is allowed. Knows no models."""

from pathlib import Path

import psutil
import torch

CGROUP = Path("/sys/fs/cgroup")


def free_bytes(device: str) -> int:
    """Bytes that could be taken just now where `device` says."""
    if device.startswith("cuda"):
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    limit = _number(CGROUP / "memory.max")
    return free if limit is None else max(0, min(free, limit - _in_use()))


def _in_use() -> int:
    # Of the container's memory, without the copies of files that the system drops when somebody needs the room.
    lines = _text(CGROUP / "memory.stat").splitlines()
    droppable = next((int(line.split()[1]) for line in lines if line.startswith("inactive_file ")), 0)
    return (_number(CGROUP / "memory.current") or 0) - droppable


def _number(file: Path) -> int | None:
    text = _text(file).strip()
    return int(text) if text.isdigit() else None  # "max" is no limit


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except OSError:  # no container, or one of the older kind
        return ""
