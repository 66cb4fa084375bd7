"""Adapter files from elsewhere, before anything is loaded: what is taken, and every refusal with its reason."""

import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from app.errors import InputError
from app.refresh import adapter_files
from app.refresh.adapter_files import CARD, CONFIG, LARGEST, WEIGHTS, check, unpack

LAYERS = {"model.0.q_proj": (4, 6), "model.0.up": (4, 8), "model.1.q_proj": (4, 6), "lm_head": (4, 10)}
PLAIN = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj", "up"]}
# What peft writes beside it for an ordinary LoRA.
USUAL = {
    **PLAIN,
    "auto_mapping": {"base_model_class": "Evil", "parent_library": "evil.module"},
    "peft_version": "0.21.2",
    "base_model_name_or_path": "someone/some-model",
    "revision": "main",
    "inference_mode": True,
    "lora_dropout": 0.05,
    "megatron_core": "megatron.core",
    "megatron_config": None,
    "modules_to_save": None,
    "rank_pattern": {},
    "loftq_config": {},
    "layers_to_transform": None,
    "use_dora": False,
    "init_lora_weights": True,
    "bias": "none",
}


def tensors(rank: int = 2, dtype: type = np.float32) -> dict[str, np.ndarray]:
    """The tensors that fit `LAYERS` and `PLAIN`."""
    made = {}
    for name in ("model.0.q_proj", "model.0.up", "model.1.q_proj"):
        inputs, outputs = LAYERS[name]
        made[f"base_model.model.{name}.lora_A.weight"] = np.ones((rank, inputs), dtype)
        made[f"base_model.model.{name}.lora_B.weight"] = np.ones((outputs, rank), dtype)
    return made


def a_folder(folder: Path, config: Any = PLAIN, weights: dict[str, np.ndarray] | None = None) -> Path:
    folder.mkdir()
    (folder / CONFIG).write_text(config if isinstance(config, str) else json.dumps(config))
    save_file(tensors() if weights is None else weights, folder / WEIGHTS)
    return folder


def a_zip(path: Path, files: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


@pytest.fixture
def files(tmp_path: Path) -> dict[str, bytes]:
    """What a sound adapter's two files hold."""
    folder = a_folder(tmp_path / "sound")
    return {name: (folder / name).read_bytes() for name in LARGEST}


@pytest.fixture
def into(tmp_path: Path) -> Path:
    (tmp_path / "into").mkdir()
    return tmp_path / "into"


# --- taking files out


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zip_and_folder_give_the_two_files_and_never_the_card(
    files: dict[str, bytes], tmp_path: Path, into: Path, method: int
):
    unpack(a_zip(tmp_path / "a.zip", {**files, CARD: b"# words"}, method), into)
    assert {file.name: file.read_bytes() for file in into.iterdir()} == files
    (tmp_path / "again").mkdir()
    (tmp_path / "sound" / CARD).write_text("# words")
    unpack(tmp_path / "sound", tmp_path / "again")
    assert {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()} == files


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("adapter_model.bin", "'adapter_model.bin' is a pickle, which can run code"),
        ("training_args.bin", "is a pickle"),
        ("optimizer.pt", "is a pickle"),
        ("tokenizer.json", "'tokenizer.json' is not taken; pack adapter_config.json and"),
        ("../adapter_config.json", "is not taken"),
        ("/etc/adapter_config.json", "is not taken"),
        ("mine/adapter_config.json", "themselves, without their folder"),
        ("mine/", "is not taken"),
        ("ADAPTER_CONFIG.JSON", "is not taken"),
        ("n" * 60_000, "list of files has 6"),
    ],
)
def test_other_names_and_paths_are_refused(files: dict[str, bytes], tmp_path: Path, into: Path, name: str, told: str):
    with pytest.raises(InputError, match=told) as caught:
        unpack(a_zip(tmp_path / "a.zip", {**files, name: b"x"}), into)
    assert len(str(caught.value)) < 400 and list(into.iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"sound", "into", "a.zip"}


@pytest.mark.parametrize("name", list(LARGEST))
def test_missing_file_is_named(files: dict[str, bytes], tmp_path: Path, into: Path, name: str):
    with pytest.raises(InputError, match=f"{name} is missing"):
        unpack(a_zip(tmp_path / "a.zip", {key: value for key, value in files.items() if key != name}), into)
    (tmp_path / "sound" / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        unpack(tmp_path / "sound", into)


def test_name_that_stands_twice_is_refused(files: dict[str, bytes], tmp_path: Path, into: Path):
    a_zip(tmp_path / "a.zip", files)
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr(CONFIG, b"{}")
    with pytest.raises(InputError, match="a name twice"):
        unpack(tmp_path / "a.zip", into)


def test_folder_in_a_folder_is_refused(files: dict[str, bytes], tmp_path: Path, into: Path):
    (tmp_path / "sound" / "checkpoint-3").mkdir()
    with pytest.raises(InputError, match="'checkpoint-3', which is no plain file"):
        unpack(tmp_path / "sound", into)


def test_zip_bomb_is_refused_by_what_it_declares(files: dict[str, bytes], tmp_path: Path, into: Path):
    bomb = {**files, CONFIG: bytes(LARGEST[CONFIG] + 1)}
    with pytest.raises(InputError, match=f"{CONFIG} has {LARGEST[CONFIG] + 1} bytes; {LARGEST[CONFIG]} is the most"):
        unpack(a_zip(tmp_path / "a.zip", bomb, zipfile.ZIP_DEFLATED), into)
    assert list(into.iterdir()) == []


def test_zip_that_declares_less_than_it_holds_is_refused(files: dict[str, bytes], tmp_path: Path, into: Path):
    path = a_zip(tmp_path / "a.zip", {**files, CONFIG: bytes(3 * LARGEST[CONFIG])}, zipfile.ZIP_DEFLATED)
    raw, declared = path.read_bytes(), struct.pack("<L", 3 * LARGEST[CONFIG])
    assert raw.count(declared) == 2
    path.write_bytes(raw.replace(declared, struct.pack("<L", 10)))
    with pytest.raises(InputError, match="no whole zip"):
        unpack(path, into)
    assert sum(file.stat().st_size for file in into.iterdir()) <= LARGEST[CONFIG]


def test_file_that_holds_more_than_it_declares_is_refused(
    files: dict[str, bytes], tmp_path: Path, into: Path, monkeypatch: pytest.MonkeyPatch
):
    """The bound holds for what is read, not only for what was declared; the kernel's own files declare no bytes at all."""
    (tmp_path / "sound" / CONFIG).unlink()
    (tmp_path / "sound" / CONFIG).symlink_to("/proc/cpuinfo")
    monkeypatch.setattr(adapter_files, "LARGEST", {CONFIG: 5, WEIGHTS: LARGEST[WEIGHTS]})
    with pytest.raises(InputError, match=f"{CONFIG} has more than 5 bytes"):
        unpack(tmp_path / "sound", into)


def test_zip_of_millions_of_names_is_refused_before_its_list_is_read(tmp_path: Path, into: Path):
    path = a_zip(tmp_path / "a.zip", {f"{number}": b"" for number in range(1000)})
    with pytest.raises(InputError, match=r"list of files has \d+ bytes, far more than for two files"):
        unpack(path, into)


def test_zip64_whose_list_is_elsewhere_is_refused(tmp_path: Path, into: Path, files: dict[str, bytes]):
    """The old end of the file tells a short list, the new one before it a long one; `zipfile` would believe the new one."""
    path = a_zip(tmp_path / "a.zip", files)
    raw = path.read_bytes()
    path.write_bytes(raw[:-22] + b"PK\6\7" + bytes(16) + raw[-22:])
    with pytest.raises(InputError, match="no whole zip"):
        unpack(path, into)


def damaged(change: Callable[[bytearray], Any]) -> Callable[[bytes], bytes]:
    def apply(raw: bytes) -> bytes:
        changed = bytearray(raw)
        change(changed)
        return bytes(changed)

    return apply


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: b"PK\5\6",
        lambda raw: b"no zip at all" * 100,
        lambda raw: raw[: len(raw) // 2],
        lambda raw: raw[len(raw) // 2 :],
        lambda raw: raw + b"x",
        lambda raw: raw[:40] + raw[60:],
        damaged(lambda raw: raw.__setitem__(slice(-6, -2), b"\xff\xff\xff\x7f")),  # where the list begins
        damaged(lambda raw: raw.__setitem__(raw.index(b'"r"'), 0)),  # the checksum
    ],
)
def test_damaged_zip_is_a_sentence(
    files: dict[str, bytes], tmp_path: Path, into: Path, spoil: Callable[[bytes], bytes]
):
    path = a_zip(tmp_path / "a.zip", files)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(InputError, match="is no whole zip"):
        unpack(path, into)


def test_no_damage_of_a_zip_gets_through_or_ends_otherwise_than_in_a_sentence(
    files: dict[str, bytes], tmp_path: Path, into: Path
):
    """Bytes of the zip's own structure, each changed in turn: refused, or the very same files."""
    small = {CONFIG: b"{}", WEIGHTS: b"weights"}
    raw = a_zip(tmp_path / "a.zip", small, zipfile.ZIP_DEFLATED).read_bytes()
    for place in range(len(raw)):
        for change in (0x01, 0x80, 0xFF):
            path = tmp_path / "changed.zip"
            path.write_bytes(raw[:place] + bytes([raw[place] ^ change]) + raw[place + 1 :])
            try:
                unpack(path, into)
            except InputError:
                continue
            assert {name: (into / name).read_bytes() for name in small} == small


@pytest.mark.parametrize(
    ("fix", "told"),
    [(lambda entry: setattr(entry, "flag_bits", 1), "encrypted"), (lambda entry: None, "unusual way")],
)
def test_encrypted_and_unusually_packed_zips_are_refused(
    files: dict[str, bytes], tmp_path: Path, into: Path, fix: Callable, told: str
):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_LZMA) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        for entry in archive.infolist():
            fix(entry)
    (tmp_path / "a.zip").write_bytes(buffer.getvalue())
    with pytest.raises(InputError, match=told):
        unpack(tmp_path / "a.zip", into)


def test_source_that_does_not_exist_is_named(tmp_path: Path, into: Path):
    with pytest.raises(InputError, match=r"nowhere\.zip' does not exist; give a zip or a folder"):
        unpack(tmp_path / "nowhere.zip", into)


# --- checking them


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_usual_config_is_taken_and_written_anew(tmp_path: Path, dtype: type):
    folder = a_folder(tmp_path / "one", {**USUAL, "use_rslora": True}, tensors(dtype=dtype))
    before = (folder / WEIGHTS).read_bytes()
    config = check(folder, LAYERS, "tiny")
    assert (config.r, config.lora_alpha, config.use_rslora) == (2, 4, True)
    assert json.loads((folder / CONFIG).read_text()) == {
        **PLAIN,
        "use_rslora": True,
        "fan_in_fan_out": False,
        "bias": "none",
        "inference_mode": True,
        "base_model_name_or_path": "tiny",
    }
    assert (folder / WEIGHTS).read_bytes() == before
    assert check(folder, LAYERS, "tiny") == config


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"peft_type": "IA3"}, "peft_type is 'IA3': input should be 'LORA'"),
        ({"peft_type": ["LORA"]}, "peft_type is "),
        ({"task_type": "SEQ_CLS"}, "task_type is 'SEQ_CLS'"),
        ({"r": 257}, "r is 257: input should be less than or equal to 256"),
        ({"r": 0}, "r is 0"),
        ({"r": -3}, "r is -3"),
        ({"r": 1e300}, "r is 1e[+]300"),
        ({"r": "many"}, "r is 'many'"),
        ({"lora_alpha": 0}, "lora_alpha.* is 0"),
        ({"lora_alpha": 1e9}, "lora_alpha.* is 1000000000"),
        ({"lora_alpha": float("nan")}, "lora_alpha.* is nan"),
        ({"lora_alpha": float("inf")}, "lora_alpha.* is inf"),
        ({"target_modules": "(a+)+$"}, "target_modules is .*valid list"),
        ({"target_modules": []}, "target_modules is"),
        ({"target_modules": ["q_proj", "up", "down"]}, "'down', which is no linear layer of this model"),
        ({"target_modules": ["q_proj", "up", ""]}, "no linear layer"),
        ({"target_modules": ["q_proj", "up", "model"]}, "no linear layer"),
        ({"target_modules": ["q_proj"]}, "2 tensors that do not belong to the target_modules"),
        ({"target_modules": ["q_proj", "up", "lm_head"]}, "lacks 2 tensors that this model needs, such as .*lm_head"),
        ({"bias": "all"}, "bias is 'all'"),
        ({"init_lora_weights": "pissa"}, "init_lora_weights is 'pissa'"),
        ({"use_dora": True}, "sets 'use_dora' to 'True'"),
        ({"modules_to_save": ["lm_head"]}, "sets 'modules_to_save'"),
        ({"layer_replication": [[0, 4], [2, 5]]}, "sets 'layer_replication'"),
        ({"rank_pattern": {"(a+)+$": 4}}, "sets 'rank_pattern'"),
        ({"trainable_token_indices": [1]}, "sets 'trainable_token_indices'"),
        ({"corda_config": {"cache_file": "/etc/passwd"}}, "sets 'corda_config'"),
        ({"kind": "x", "self": "y"}, "sets 'kind' to 'x'"),
        ({"r": 4}, r"has the shape \[\d, \d\]; \[\d, \d\] fits this model"),
    ],
)
def test_config_that_is_not_a_plain_lora_of_this_model_is_refused(tmp_path: Path, change: dict[str, Any], told: str):
    folder = a_folder(tmp_path / "one", {**USUAL, **change})
    before = (folder / CONFIG).read_bytes()
    with pytest.raises(InputError, match=told) as caught:
        check(folder, LAYERS, "tiny")
    assert len(str(caught.value)) < 400 and (folder / CONFIG).read_bytes() == before


@pytest.mark.parametrize("key", ["peft_type", "r", "lora_alpha", "target_modules"])
def test_config_without_a_field_that_matters_is_refused(tmp_path: Path, key: str):
    folder = a_folder(tmp_path / "one", {name: value for name, value in PLAIN.items() if name != key})
    with pytest.raises(InputError, match=f"{key} is .*field required"):
        check(folder, LAYERS, "tiny")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", "null", "\ufeff{}", "[" * 50_000, '"LORA"', '{"r": ' + "1" * 5000 + "}"]
)
def test_config_that_is_no_json_object_is_refused(tmp_path: Path, text: str):
    with pytest.raises(InputError, match=f"{CONFIG} (is no JSON|holds)"):
        check(a_folder(tmp_path / "one", text), LAYERS, "tiny")


def test_config_that_is_no_text_is_refused(tmp_path: Path):
    folder = a_folder(tmp_path / "one")
    (folder / CONFIG).write_bytes(b"\xff\xfe\x00{}")
    with pytest.raises(InputError, match="is no JSON"):
        check(folder, LAYERS, "tiny")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: b"",
        lambda raw: b"garbage",
        lambda raw: raw[:-1],
        lambda raw: raw + b"x",
        lambda raw: b"\x80\x04\x95" + raw,  # how a pickle begins
        lambda raw: struct.pack("<Q", 2**60) + raw[8:],
        lambda raw: raw.replace(b"F32", b"F99", 1),
    ],
)
def test_weights_that_are_no_whole_safetensors_are_refused(tmp_path: Path, spoil: Callable[[bytes], bytes]):
    folder = a_folder(tmp_path / "one")
    (folder / WEIGHTS).write_bytes(spoil((folder / WEIGHTS).read_bytes()))
    with pytest.raises(InputError, match="is no whole safetensors file"):
        check(folder, LAYERS, "tiny")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"base_model.model.model.0.up.lora_B.weight": None}, "lacks 1 tensors .*model.0.up.lora_B"),
        ({"base_model.model.model.0.up.lora_B.default.weight": np.ones((8, 2))}, "holds 1 tensors that do not belong"),
        ({"lm_head.weight": np.ones((10, 4))}, "holds 1 tensors that do not belong .*'lm_head.weight'"),
        (
            {"base_model.model.model.0.up.lora_B.weight": np.ones((9, 2))},
            r"has the shape \[9, 2\]; \[8, 2\] fits this model",
        ),
        ({"base_model.model.model.0.up.lora_B.weight": np.ones(16)}, r"has the shape \[16\]"),
        ({"base_model.model.model.0.up.lora_B.weight": np.ones((8, 2))}, "is of type F64; F32, F16, BF16 are taken"),
        ({"base_model.model.model.0.up.lora_B.weight": np.ones((8, 2), np.int8)}, "is of type I8"),
    ],
)
def test_tensors_that_do_not_fit_the_model_are_refused(tmp_path: Path, change: dict[str, Any], told: str):
    weights = {name: tensor for name, tensor in {**tensors(), **change}.items() if tensor is not None}
    with pytest.raises(InputError, match=told):
        check(a_folder(tmp_path / "one", weights=weights), LAYERS, "tiny")
