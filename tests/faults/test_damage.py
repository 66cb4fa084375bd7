"""A damaged database, adapter or persona: a sentence that names the file, and everything else goes on."""

import logging
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

import app.services
from app.__main__ import main
from app.manage_versions import ManageVersions
from app.model import LanguageModel
from app.refresh.adapters import AdapterFolder
from app.repairs import repairs
from app.versions import Versions
from personas import load_library
from storage.store import Store
from tests.test_store import a_version


def test_a_start_on_a_damaged_database_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "plumbline.db"
    path.write_bytes(random.Random(0).randbytes(20_000))
    monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path))
    assert main(["versions"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith(f"plumbline: the database {str(path)!r} could not be used")
    assert "that the file is a Plumbline database" in told.err
    assert path.read_bytes() == random.Random(0).randbytes(20_000)


def test_a_start_with_a_damaged_persona_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "pirate.yaml").write_bytes(b"id: pirate\nprinciple: [\xff")
    monkeypatch.setattr(app.services, "load_library", partial(load_library, tmp_path))
    monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path / "data"))
    assert main(["compare", "--prompt", "Tea?", "--persona", "pirate"]) == 2
    told = capsys.readouterr()
    assert told.out == "" and told.err.startswith(f"plumbline: {tmp_path / 'pirate.yaml'}: not readable as YAML")


def cut(folder: Path) -> None:
    weights = folder / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])


def scrambled(folder: Path) -> None:
    (folder / "adapter_model.safetensors").write_bytes(random.Random(0).randbytes(200))


def without_config(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")


def gone(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()


@pytest.mark.parametrize("damage", [cut, scrambled, without_config, gone])
def test_where_the_version_in_use_is_damaged_the_original_answers_and_the_start_says_so(
    tmp_path: Path, llama: LanguageModel, fill: Callable, damage: Callable, caplog: pytest.LogCaptureFixture
):
    store, adapters = Store(tmp_path), AdapterFolder(tmp_path / "adapters")
    for name, scope in (("v1", ""), ("v2", "zen")):
        adapters.write(name, fill)
        store.add_version(replace(a_version(name, scope), model_revision=llama.revision), publish=True)
    versions, manage = Versions(llama, store, adapters), ManageVersions(store, adapters, lambda token: None)
    assert versions.in_use("zen") == "v2" and repairs(store, adapters, manage) == ()
    damage(adapters.root / "v2")
    with caplog.at_level(logging.WARNING):
        (told,) = repairs(store, adapters, manage)
    assert told.startswith("v2, in use for zen, cannot be read (") and "the original model answers" in told
    assert told in caplog.text
    assert versions.in_use("zen") == "" and versions.in_use("pirate") == "v1"
    store.publish("zen", "v1")
    assert versions.in_use("zen") == "v1" and repairs(store, adapters, manage) == ()
