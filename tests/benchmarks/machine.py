"""What machine a figure was measured on. Knows nothing of what is measured."""

import os
import platform
from pathlib import Path

import torch
import transformers


def machine() -> dict[str, str | int]:
    """Processor, cores, threads and versions, to stand beside every figure."""
    names = [
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    ]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count() or 1,
        "torch_threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }
