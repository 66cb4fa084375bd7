"""Adapter files from elsewhere: taken out of a zip or a folder within bounds, and checked before anything is loaded.

What is kept is the weights and a configuration written anew from the few fields that matter. It knows zip, JSON, the header of
safetensors and the shapes of a model's layers; no peft, no tensors' values and no database. No pickle is read and no network asked.
"""

import errno
import json
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from safetensors import SafetensorError, safe_open

from app.errors import InputError, checked

CONFIG, WEIGHTS, CARD = "adapter_config.json", "adapter_model.safetensors", "README.md"
LARGEST = {CONFIG: 100_000, WEIGHTS: 256_000_000}
LARGEST_DIRECTORY = 10_000
PREFIX = "base_model.model."
DTYPES = ("F32", "F16", "BF16")
PIECE = 1 << 20
# Fields that say how an adapter came about, or that only training reads; what they name is neither read nor fetched.
WITHOUT_EFFECT = {
    *("auto_mapping", "base_model_name_or_path", "revision", "peft_version", "inference_mode", "runtime_config"),
    *("lora_dropout", "megatron_core", "qalora_group_size", "loftq_config"),
}


class AdapterConfig(BaseModel):
    """The part of a LoRA's configuration that decides what it answers."""

    model_config = ConfigDict(frozen=True)

    peft_type: Literal["LORA"]
    task_type: Literal["CAUSAL_LM"] | None = None
    r: int = Field(ge=1, le=256)
    lora_alpha: int | float = Field(gt=0, le=1_000_000)
    target_modules: list[str] = Field(min_length=1, max_length=10_000)
    use_rslora: bool = False
    fan_in_fan_out: bool = False
    bias: Literal["none"] = "none"
    # Others, such as "pissa", come with base weights of their own.
    init_lora_weights: Literal[True, False, "gaussian", "orthogonal"] | None = True


def unpack(source: Path, folder: Path) -> None:
    """Copies configuration and weights from a zip or a folder into `folder`.

    Raises:
        InputError: it is neither, holds other files or paths, a file is missing or larger than `LARGEST`, or it is damaged.
    """
    with _opened(source) as files:
        _check_names(list(files))
        for name, largest in LARGEST.items():
            size, read = files[name]
            if size > largest:
                raise InputError(f"{name} has {size} bytes; {largest} is the most that is taken")
            with read() as original, (folder / name).open("wb") as copy:
                left = largest  # the size that a zip declares need not be true
                while piece := original.read(PIECE):
                    left -= len(piece)
                    if left < 0:
                        raise InputError(f"{name} has more than {largest} bytes, which is the most that is taken")
                    copy.write(piece)


def check(folder: Path, layers: dict[str, tuple[int, int]], base_model: str) -> AdapterConfig:
    """Checks an unpacked adapter against a model, and writes its configuration anew.

    Args:
        folder: holds both files.
        layers: the model's linear layers by name, each (inputs, outputs).
        base_model: what the model is called; the file's own word for it is only a name that was never followed.

    Raises:
        InputError: no LoRA that this program can use, no whole safetensors file, or made for another model.
    """
    config = _read_config(folder / CONFIG)
    targets = {name for name in layers if any(f".{name}".endswith(f".{target}") for target in config.target_modules)}
    lost = [t for t in config.target_modules if not any(f".{name}".endswith(f".{t}") for name in targets)]
    if lost:
        raise InputError(
            f"the adapter's target_modules name {', '.join(lost)[:120]!r}, which is no linear layer of this model; it was made for another one"
        )
    expected = {f"{PREFIX}{name}.lora_A.weight": [config.r, layers[name][0]] for name in targets}
    expected |= {f"{PREFIX}{name}.lora_B.weight": [layers[name][1], config.r] for name in targets}
    _check_tensors(_header(folder / WEIGHTS), expected)
    fixed = {"base_model_name_or_path": base_model, "task_type": "CAUSAL_LM", "inference_mode": True}
    kept = config.model_dump(exclude={"init_lora_weights"}) | fixed
    (folder / CONFIG).write_text(json.dumps(kept, indent=2, sort_keys=True), encoding="utf-8")
    return config


@contextmanager
def _opened(source: Path) -> Iterator[dict[str, tuple[int, Callable[[], IO[bytes]]]]]:
    """Name -> declared size and how to read it."""
    if source.is_dir():
        if strange := [entry.name for entry in source.iterdir() if not entry.is_file()]:
            raise InputError(
                f"the folder {str(source)!r} holds {strange[0][:60]!r}, which is no plain file; {_wanted()}"
            )
        yield {file.name: (file.stat().st_size, lambda file=file: file.open("rb")) for file in source.iterdir()}
        return
    if not source.is_file():
        raise InputError(f"{str(source)!r} does not exist; give a zip or a folder with {CONFIG} and {WEIGHTS}")
    try:
        _check_directory(source)
        with zipfile.ZipFile(source) as archive:
            entries = archive.infolist()
            for entry in entries:
                if entry.flag_bits & 1 or entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise InputError(
                        f"{entry.filename[:60]!r} is encrypted or packed in an unusual way; pack it again as an ordinary zip"
                    )
            if len({entry.filename for entry in entries}) < len(entries):
                raise InputError(f"the zip holds a name twice; {_wanted()}")
            yield {e.filename: (e.file_size, lambda e=e: archive.open(e)) for e in entries}
    except (zipfile.BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError, OSError) as error:
        # A damaged offset may lead before the file's beginning; any other fault of the disk is none of the zip's.
        if isinstance(error, OSError) and error.errno != errno.EINVAL:
            raise
        raise InputError(f"the file {source.name[:60]!r} is no whole zip ({error}); pack or fetch it again") from error


def _check_directory(source: Path) -> None:
    # `zipfile` reads the whole list of files at once, and millions of names would fit into a zip of the size that is taken.
    with source.open("rb") as file:
        size = file.seek(0, 2)
        if size > sum(LARGEST.values()):
            raise InputError(f"the zip has {size} bytes; {sum(LARGEST.values())} is the most that is taken")
        file.seek(max(0, size - 42))
        tail = file.read()
    end, before = tail[-22:], tail[:-22]
    if len(end) < 22 or end[:4] != b"PK\5\6" or before[:4] == b"PK\6\7" or end[-2:] != b"\0\0":
        raise zipfile.BadZipFile("it does not end as a zip does that was packed without a comment")
    if (listed := int.from_bytes(end[12:16], "little")) > LARGEST_DIRECTORY:
        raise InputError(f"the zip's list of files has {listed} bytes, far more than for two files; {_wanted()}")


def _check_names(names: list[str]) -> None:
    for name in names:
        if name.endswith((".bin", ".pt", ".pth", ".pkl", ".ckpt")):
            raise InputError(
                f"{name[:60]!r} is a pickle, which can run code and is never read; save the adapter as safetensors, as peft does"
            )
        if name not in (CONFIG, WEIGHTS, CARD):
            raise InputError(f"{name[:60]!r} is not taken; {_wanted()}")
    if missing := [name for name in LARGEST if name not in names]:
        raise InputError(f"{missing[0]} is missing; {_wanted()}")


def _wanted() -> str:
    return f"pack {CONFIG} and {WEIGHTS} themselves, without their folder; {CARD} may be with them, and nothing else"


def _read_config(path: Path) -> AdapterConfig:
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{CONFIG} is no JSON ({error}); it must be what peft writes") from error
    if not isinstance(fields, dict):
        raise InputError(f"{CONFIG} holds {str(fields)[:40]!r}; it must be one object, as peft writes it")
    known = {key: fields.pop(key) for key in list(fields) if key in AdapterConfig.model_fields}
    for key, value in fields.items():
        if key not in WITHOUT_EFFECT and value not in (None, False, [], {}):
            raise InputError(
                f"{CONFIG} sets {key[:40]!r} to {str(value)[:40]!r}; only a plain LoRA on linear layers is taken, where that is empty"
            )
    return checked(AdapterConfig, **known)


def _header(path: Path) -> dict[str, tuple[str, list[int]]]:
    """Tensor name -> dtype and shape; the library has then seen that the header is sound and the file as long as it says."""
    try:
        with safe_open(path, framework="numpy") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
            return {name: (part.get_dtype(), list(part.get_shape())) for name, part in slices.items()}
    except SafetensorError as error:
        raise InputError(f"{WEIGHTS} is no whole safetensors file ({error}); fetch or save it again") from error


def _check_tensors(found: dict[str, tuple[str, list[int]]], expected: dict[str, Any]) -> None:
    if strange := sorted(found.keys() - expected.keys()):
        raise InputError(
            f"{WEIGHTS} holds {len(strange)} tensors that do not belong to the target_modules of this model, such as {strange[0][:120]!r}"
        )
    if missing := sorted(expected.keys() - found.keys()):
        raise InputError(f"{WEIGHTS} lacks {len(missing)} tensors that this model needs, such as {missing[0][:120]!r}")
    for name, (dtype, shape) in found.items():
        if shape != expected[name]:
            raise InputError(
                f"{name[:120]!r} has the shape {shape}; {expected[name]} fits this model: the adapter was made for another one"
            )
        if dtype not in DTYPES:
            raise InputError(f"{name[:120]!r} is of type {dtype}; {', '.join(DTYPES)} are taken")
