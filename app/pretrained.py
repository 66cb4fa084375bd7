"""Finds a causal language model, the starter's, a folder's or the hub's, and loads it with transformers. It knows no chats and no adapters."""

import contextlib
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import try_to_load_from_cache
from joblib import cpu_count
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from app.errors import ModelError, first_line
from app.starter import WEIGHTS_FOLDER

LARGE = 50_000_000  # parameters


@dataclass(frozen=True)
class Found:
    """A model that was looked up and is not loaded.

    source: its folder, or its hub id.
    dtype: what its weights would be loaded as.
    """

    name: str
    source: str
    device: str
    dtype: torch.dtype
    config: Any

    @property
    def is_local(self) -> bool:
        """Whether it lies in a folder here."""
        return Path(self.source).is_dir()


def find(name: str, device: str, dtype: str) -> Found:
    """Looks a model up by its config; of the hub, no more than that is downloaded.

    Args:
        name, device, dtype: see `LanguageModel.load`.

    Raises:
        ModelError: no such folder, the hub cannot be reached or does not have it, or it is no causal LM.
    """
    folder = WEIGHTS_FOLDER if name == "starter" else Path(name).expanduser()
    source = str(folder) if folder.is_dir() else name
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ModelError(f"the device is {device!r}, but this torch finds no CUDA; set PLUMBLINE_DEVICE to auto or cpu")
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not Path(source).is_dir() and _looks_like_a_path(source):
        raise ModelError(
            f"the model folder {name!r} does not exist; give a folder with config.json, a hub id, or 'starter'"
        )
    with _explained(name, source):
        config = AutoConfig.from_pretrained(source, trust_remote_code=False)
        if config.model_type not in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES:
            raise ModelError(
                f"the model {name!r} is of type {config.model_type!r}, which has no causal language model; choose one that generates text"
            )
        architectures = config.architectures or []
        if architectures and not any(
            "CausalLM" in a or "LMHead" in a or "ConditionalGeneration" in a for a in architectures
        ):
            raise ModelError(
                f"the model {name!r} was saved as {', '.join(architectures)}, without the head that predicts words; choose a causal language model"
            )
        return Found(name, source, device, _dtype_for(device, dtype, config), config)


def load_pretrained(name: str, device: str, dtype: str) -> tuple[Any, Any, str, str]:
    """Loads safetensors only, never code from the model's repository.

    Args:
        name, device, dtype: see `LanguageModel.load`.

    Returns:
        Model, tokenizer, name, and what exactly was loaded: a commit of the hub, or a digest of the weight files.

    Raises:
        ModelError: no such folder, the hub cannot be reached or does not have it, or it is no causal LM.
    """
    found = find(name, device, dtype)
    if found.device == "cpu":
        # torch sees the machine's processors; a container's share of them may be smaller, and threads beyond it only wait for each other.
        torch.set_num_threads(min(torch.get_num_threads(), cpu_count()))
    with _explained(name, found.source):
        tokenizer = AutoTokenizer.from_pretrained(found.source, trust_remote_code=False)
        model = AutoModelForCausalLM.from_pretrained(
            found.source, dtype=found.dtype, use_safetensors=True, trust_remote_code=False
        ).to(found.device)
    return model, tokenizer, name, _revision_of(found.source)


def multiplies_bf16(device_type: str) -> bool:
    """Whether a kind of device, "cpu" or "cuda", multiplies bf16 natively: where it is only emulated, nothing is gained by it."""
    if device_type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    capabilities = torch.cpu.get_capabilities()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def parameters_of(config: Any) -> int:
    """How many parameters a model of this config has; none is made."""
    with torch.device("meta"):
        return AutoModelForCausalLM.from_config(config).num_parameters()


@contextlib.contextmanager
def _explained(name: str, source: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, KeyError, RuntimeError, MemoryError, SafetensorError) as error:
        where = "the folder" if Path(source).is_dir() else "the hub id"
        raise ModelError(
            f"the model {name!r} could not be loaded: {first_line(error)} Check {where}, its safetensors files, and the connection; PLUMBLINE_MODEL=starter needs none."
        ) from error


def _dtype_for(device: str, wanted: str, config: Any) -> torch.dtype:
    if wanted != "auto":
        return getattr(torch, wanted)
    if device.startswith("cuda"):
        # Also where it is emulated: weights that were made in bf16 may not fit into the range of fp16.
        return torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
    # A small model's step is not bound by reading weights: in fp32 it is as fast, and results do not depend on what else is in
    # the batch.
    large = parameters_of(config) >= LARGE
    return torch.bfloat16 if large and multiplies_bf16("cpu") else torch.float32


def _revision_of(source: str) -> str:
    if not Path(source).is_dir():
        # The hub's cache keeps every commit in a folder of its name.
        return Path(str(try_to_load_from_cache(source, "config.json"))).parent.name
    digest = hashlib.sha256()
    for file in sorted(Path(source).glob("*.safetensors")):
        with file.open("rb") as opened:
            digest.update(hashlib.file_digest(opened, "sha256").digest())
    return digest.hexdigest()[:16]


def _looks_like_a_path(name: str) -> bool:
    return name.startswith((".", "/", "~")) or name.count("/") > 1 or "\\" in name
