"""Versions over their life: where they come from, deleting, taking away and bringing back; with races and killed processes."""

import json
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

from app.adapter_card import card
from app.compare import Comparison, Request
from app.decoding.arms import DecodeSettings
from app.errors import InputError, ModelError, NotAllowedError, NotFoundError, StorageError
from app.manage_versions import ManageVersions
from app.model import LanguageModel
from app.refresh.adapter_files import CARD, CONFIG, WEIGHTS, check, unpack
from app.refresh.adapters import AdapterFolder
from app.services import Services, build
from app.settings import Settings
from app.ui.timeline_render import timeline
from app.upload_version import ON_TRIAL
from storage.records import Version
from storage.store import Store
from tests.rounds import add_choice
from tests.test_learn import QUICK, clear_pairs, compared, files, held_adapters, learnt

ROOT = Path(__file__).parent.parent
TOKEN = "the owner's"
HOSTILE = "</td><script>alert(1)</script>|\n# `x` [a](b)"


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary files of this test go."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    return tmp_path / "temporary"


def a_version(version: str, **changes: object) -> Version:
    share = {"value": 0.75, "n": 4, "interval": [0.3, 0.95]}
    made = Version(
        version, "pirate", "tiny", "abc", {"objective": "ipo", "seed": 7}, 12, 4,
        {"before": {**share, "value": 0.5}, "after": share, "samples": [{"prompt": "SECRET"}]}, 8.5, True, "good", "2026-01-02T03:04:05",
    )  # fmt: skip
    return replace(made, **changes)


def fill(folder: Path) -> None:
    (folder / CONFIG).write_text("{}")
    (folder / WEIGHTS).write_bytes(b"weights")


@pytest.fixture
def shelf(tmp_path: Path) -> tuple[Store, AdapterFolder, ManageVersions]:
    """Two versions that no model made, none in use, and who manages them."""
    store, adapters = Store(tmp_path / "data"), AdapterFolder(tmp_path / "data" / "adapters")
    for version in ("v1", "v2"):
        adapters.write(version, fill)
        store.add_version(a_version(version), publish=False)
    return store, adapters, ManageVersions(store, adapters, lambda token: None)


def ids(model: LanguageModel) -> torch.Tensor:
    return torch.tensor([model.chat_ids([{"role": "user", "content": "Why is the sky blue?"}])])


@torch.no_grad()
def logits(model: LanguageModel, folder: Path | None, name: str = "asked") -> torch.Tensor:
    """What a model says with an adapter, or without one."""
    if folder is not None:
        model.load_adapter(name, folder)
    return model.logits(ids(model), torch.ones_like(ids(model)), name if folder else None)


# --- lineage


def test_version_tells_the_rounds_that_it_learnt_from_and_those_kept_aside(services: Services):
    for number in range(10):
        add_choice(services.store, number)
    add_choice(services.store, 0, rater="bob", persona="zen")
    outcome = learnt(services, services.learn.pairs("pirate"), "pirate")
    rounds = services.store.rounds_of("v1")
    assert set(rounds) == {f"pirate-{number}" for number in range(10)}
    assert sum(rounds.values()) == outcome.pairs_heldout and len(rounds) - sum(rounds.values()) == outcome.pairs_train
    version = services.store.version("v1")
    assert (version.parent, version.reference, version.origin) == ("", "base", "refresh")
    assert (version.objective, version.seed) == (QUICK.objective, QUICK.seed)


def test_parent_is_what_was_in_use_before_also_where_that_was_for_all(services: Services):
    learnt(services)
    learnt(services, scope="pirate")
    learnt(services, scope="pirate")
    services.learn.use("pirate", "none")
    learnt(services, scope="pirate", publish=False)
    services.learn.use("pirate", "v1")
    learnt(services, scope="pirate", publish=False)
    assert [v.parent for v in reversed(services.store.versions())] == ["", "v1", "v2", "", "v1"]
    assert services.store.rounds_of("v1") == {}  # these pairs came from no round


# --- deleting


def test_deleted_version_is_gone_and_its_number_stays_free(services: Services):
    original = compared(services)
    learnt(services)
    learnt(services)
    with pytest.raises(InputError, match="'v2' is in use for all personas; choose another version or the original"):
        services.manage.delete("v2")
    services.manage.delete("v1")
    services.learn.use("", "none")
    services.manage.delete("v2")
    assert files(services) == set() and services.versions.listed() == [] and compared(services) == original
    for call in (services.manage.delete, services.versions.checked, lambda version: services.learn.use("", version)):
        with pytest.raises(NotFoundError, match="'v2'"):
            call("v2")
    assert learnt(services).version == "v3" and compared(services)[0] == "v3"


@pytest.mark.parametrize("name", ["v9", "", "none", "../../etc", "v1\n", None])
def test_name_of_no_version_deletes_nothing(shelf: tuple[Store, AdapterFolder, ManageVersions], name: str):
    store, adapters, manage = shelf
    with pytest.raises(NotFoundError, match="does not exist"):
        manage.delete(str(name))
    assert [v.id for v in store.versions()] == ["v2", "v1"] and {p.name for p in adapters.root.iterdir()} == {
        "v1",
        "v2",
    }


def test_version_whose_files_are_gone_can_be_deleted(shelf: tuple[Store, AdapterFolder, ManageVersions]):
    store, adapters, manage = shelf
    adapters.remove("v1")
    manage.delete("v1")
    assert [v.id for v in store.versions()] == ["v2"]


def begun(services: Services, adapter: str) -> Comparison:
    request = Request(
        messages=(("user", "Why?"),),
        persona="pirate",
        settings=DecodeSettings(max_new_tokens=24, seed=5),
        adapter=adapter,
    )
    return services.compare.start(request, "ann")


def test_who_is_answering_with_a_version_that_is_deleted_may_finish(services: Services):
    learnt(services, publish=False)
    *_, undisturbed = services.compare.run(begun(services, "v1"))
    running = services.compare.run(begun(services, "v1"))
    next(running)
    services.manage.delete("v1")
    assert files(services) == set()
    *_, last = running
    assert {a: x.text for a, x in last.answers.items()} == {a: x.text for a, x in undisturbed.answers.items()}


def test_version_deleted_before_its_first_word_is_a_sentence(services: Services):
    learnt(services, publish=False)
    comparison = begun(services, "v1")
    services.manage.delete("v1")
    with pytest.raises(NotFoundError, match="'v1' does not exist"):
        list(services.compare.run(comparison))
    assert compared(services)[0] == ""


def test_version_that_made_room_and_was_deleted_is_a_sentence_and_the_model_goes_on(
    llama: LanguageModel, tmp_path: Path
):
    for parameter in llama.new_adapter("made", rank=2, seed=0):
        parameter.data.add_(0.1)
    llama.save_adapter("made", tmp_path / "v1")
    llama.drop_adapter("made")
    before = logits(llama, None)
    adapters = AdapterFolder(tmp_path)
    for number in range(2, 11):
        adapters.write(
            f"v{number}",
            lambda folder: [folder.joinpath(f.name).write_bytes(f.read_bytes()) for f in (tmp_path / "v1").iterdir()],
        )
    said = logits(llama, tmp_path / "v1", "v1")
    for number in range(2, 11):
        llama.load_adapter(f"v{number}", tmp_path / f"v{number}")
    adapters.remove("v1")
    for _ in range(2):  # everybody who still wants it is told the same
        with pytest.raises(ModelError, match="is not there any more, it may have been deleted; choose another version"):
            llama.logits(ids(llama), torch.ones_like(ids(llama)), "v1")
    assert torch.equal(logits(llama, None), before) and torch.equal(logits(llama, tmp_path / "v9", "v9"), said)


def test_version_that_a_refresh_compares_with_may_be_deleted_meanwhile(services: Services):
    learnt(services)
    running = services.learn.refresh(clear_pairs(), "", QUICK)
    next(running)
    services.learn.use("", "none")
    services.manage.delete("v1")
    *_, outcome = running
    assert outcome.version == "v2" and services.store.version("v2").parent == "v1"
    assert outcome.before.value == 1.0


DELETE_AND_HANG = """
import sys
from pathlib import Path
from app.manage_versions import ManageVersions
from app.refresh import adapters
from storage.store import Store
def hang(*_, **__):
    print("there", flush=True)
    sys.stdin.read()
def half(folder, **_):
    (folder / "adapter_model.safetensors").unlink()
    hang()
data = Path(sys.argv[1])
manage = ManageVersions(Store(data), adapters.AdapterFolder(data / "adapters"), lambda token: None)
if sys.argv[2] == "after the row":
    adapters.AdapterFolder.remove = hang
else:
    adapters.shutil.rmtree = half
manage.delete("v1")
"""


@pytest.mark.parametrize("moment", ["after the row", "half of the files gone"])
def test_deletion_that_was_killed_is_finished_at_the_next_start(
    shelf: tuple[Store, AdapterFolder, ManageVersions], moment: str
):
    store, adapters, _ = shelf
    command = [sys.executable, "-c", DELETE_AND_HANG, str(store.path.parent), moment]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "there\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL
    assert len(list(adapters.root.iterdir())) == 2
    with sqlite3.connect(store.path) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    again = Store(store.path.parent)
    ManageVersions(again, AdapterFolder(adapters.root), lambda token: None)
    assert {path.name for path in adapters.root.iterdir()} == {"v2"}
    assert [version.id for version in again.versions()] == ["v2"] and again.next_version_id() == "v3"


# --- taking one away


def test_downloaded_version_says_the_same_in_stock_peft(
    services: Services, tiny_folders: dict[str, Path], tmp_path: Path
):
    for number in range(10):
        add_choice(services.store, number)
    learnt(services, services.learn.pairs("pirate"), "pirate")
    path = services.manage.download("v1", tmp_path / "v1.zip")
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == sorted([CONFIG, WEIGHTS, CARD])
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        archive.extractall(tmp_path / "stock")
    stock = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_folders["llama"]), tmp_path / "stock")
    said = logits(services.model, services.versions.adapters.path("v1"), "v1")
    assert torch.allclose(stock(input_ids=ids(services.model)).logits, said, atol=1e-5)
    assert not torch.allclose(said, logits(services.model, None), atol=1e-2)
    words = (tmp_path / "stock" / CARD).read_text()
    assert "Question" not in words and "100% (95 % interval" in words
    again = services.manage.download("v1", tmp_path / "again.zip")
    assert again.read_bytes() == path.read_bytes()


def test_card_tells_the_lineage_and_nobodys_words():
    words = card(a_version("v3", parent="v2"))
    front = yaml.safe_load(words.split("---")[1])
    assert front["base_model"] == "tiny" and front["library_name"] == "peft"
    for told in (
        "| v2 |",
        "| ipo |",
        "| 7 |",
        "| 12, 4 |",
        "75% (95 % interval 30% to 95%, n = 4)",
        "the persona pirate",
        "| base |",
    ):
        assert told in words
    assert "SECRET" not in words
    unknown = card(a_version("v3", settings={}, metrics={}, origin="upload", reference=""))
    assert (
        "brought from elsewhere" in unknown and unknown.count("not measured") == 2 and unknown.count("not known") == 4
    )


def test_card_keeps_hostile_names_text():
    words = card(a_version("v3", scope=HOSTILE, reason=HOSTILE, model=f'x"\n---\nlicense: evil {HOSTILE}'))
    front = yaml.safe_load(words.split("---\n")[1])
    assert set(front) == {"base_model", "library_name", "pipeline_tag", "tags"}
    assert "<script>" not in words.replace("\\<script\\>", "").replace(
        json.dumps(f'x"\n---\nlicense: evil {HOSTILE}'), ""
    )
    rows = [line for line in words.splitlines() if line.startswith("| ")]
    assert all(line.replace("\\|", "").count("|") == 3 for line in rows[1:])


def test_files_that_are_gone_and_places_that_cannot_be_written_are_told(
    shelf: tuple[Store, AdapterFolder, ManageVersions], tmp_path: Path
):
    _, adapters, manage = shelf
    with pytest.raises(StorageError, match="could not be written to"):
        manage.download("v1", tmp_path / "no-such-folder" / "v1.zip")
    (adapters.root / "v1" / WEIGHTS).unlink()
    manage.delete("v2")
    for version, error in (("v1", NotFoundError), ("v2", NotFoundError), ("v9", NotFoundError), ("../v1", InputError)):
        with pytest.raises(error):
            manage.download(version, tmp_path / "out.zip")
    assert not (tmp_path / "out.zip").exists()


# --- bringing one


def test_version_that_was_taken_away_and_brought_back_answers_the_same(
    services: Services, tiny_folders: dict[str, Path], tmp_path: Path, temporary: Path
):
    learnt(services, publish=False)
    taken = services.manage.download("v1", tmp_path / "v1.zip")
    brought = services.upload.add(taken, "pirate")
    assert (brought.id, brought.origin, brought.parent, brought.reference) == ("v2", "upload", None, "")
    assert (brought.metrics, brought.published, brought.pairs_train) == ({}, False, 0)
    assert (brought.scope, brought.model_revision) == ("pirate", services.model.revision)
    assert compared(services)[0] == "" and compared(services, adapter="v2")[1] == compared(services, adapter="v1")[1]
    one, two = (logits(services.model, services.versions.adapters.path(version), version) for version in ("v1", "v2"))
    assert torch.equal(one, two)
    services.learn.use("pirate", "v2")
    assert compared(services) == ("v2", compared(services, adapter="v1")[1])
    assert (
        learnt(services, scope="pirate", publish=False).before.value == 1.0
    )  # it is measured like any other from now on
    assert {path.name for path in services.versions.adapters.path("v2").iterdir()} == {CONFIG, WEIGHTS}
    elsewhere = build(Settings(data=tmp_path / "elsewhere", model=str(tiny_folders["llama"]), device="cpu"))
    assert elsewhere.upload.add(taken).id == "v1"
    assert compared(elsewhere, adapter="v1")[1] == compared(services, adapter="v2")[1]
    assert list(temporary.iterdir()) == [] and ON_TRIAL not in held_adapters(services)


def test_adapter_of_every_architecture_is_taken(tiny_model: LanguageModel, tmp_path: Path):
    for parameter in tiny_model.new_adapter("made", rank=4, seed=0):
        parameter.data.add_(0.1)
    tiny_model.save_adapter("made", tmp_path / "made")
    said = tiny_model.logits(ids(tiny_model), torch.ones_like(ids(tiny_model)), "made").detach()
    (tmp_path / "taken").mkdir()
    unpack(tmp_path / "made", tmp_path / "taken")
    check(tmp_path / "taken", tiny_model.linear_layers, tiny_model.name)
    assert torch.equal(logits(tiny_model, tmp_path / "taken"), said)


def changed(folder: Path, source: Path, change: Callable[[torch.Tensor], torch.Tensor]) -> Path:
    """A copy of an adapter's folder with every tensor changed."""
    folder.mkdir()
    (folder / CONFIG).write_bytes((source / CONFIG).read_bytes())
    save_file({name: change(tensor) for name, tensor in load_file(source / WEIGHTS).items()}, folder / WEIGHTS)
    return folder


@pytest.mark.parametrize("times", [float("nan"), float("inf"), 1e38])
def test_weights_that_are_no_numbers_are_refused_and_nothing_is_left(
    services: Services, tmp_path: Path, temporary: Path, times: float
):
    learnt(services)
    answers = compared(services)
    bad = changed(tmp_path / "bad", services.versions.adapters.path("v1"), lambda tensor: tensor * times)
    with pytest.raises(InputError, match="numbers that are none"):
        services.upload.add(bad)
    assert files(services) == {"v1"} and [v.id for v in services.store.versions()] == ["v1"]
    assert list(temporary.iterdir()) == [] and ON_TRIAL not in held_adapters(services)
    assert compared(services) == answers and learnt(services).version == "v2"


def test_adapter_of_half_precision_is_taken(services: Services, tmp_path: Path):
    learnt(services, publish=False)
    half = changed(tmp_path / "half", services.versions.adapters.path("v1"), torch.Tensor.bfloat16)
    services.upload.add(half)
    one, two = (logits(services.model, services.versions.adapters.path(version), version) for version in ("v1", "v2"))
    assert torch.allclose(one, two, atol=0.2) and not torch.equal(one, two)


def test_adapter_of_another_model_is_refused(services: Services, tiny_folders: dict[str, Path], tmp_path: Path):
    other = LanguageModel.load(str(tiny_folders["gpt2"]))
    other.new_adapter("made", rank=2, seed=0)
    other.save_adapter("made", tmp_path / "made")
    with pytest.raises(InputError, match="no linear layer of this model; it was made for another one"):
        services.upload.add(tmp_path / "made")
    assert services.store.versions() == [] and held_adapters(services) == set()


def test_upload_while_a_refresh_runs_takes_a_number_of_its_own(services: Services, tmp_path: Path):
    learnt(services, publish=False)
    undisturbed = learnt(services, publish=False)
    taken = services.manage.download("v1", tmp_path / "v1.zip")
    running = services.learn.refresh(clear_pairs(), "", QUICK, publish=False)
    next(running)
    assert services.upload.add(taken).id == "v3"
    *_, outcome = running
    assert outcome.version == "v4" and outcome.losses == undisturbed.losses


def test_version_that_cannot_be_kept_is_told(services: Services, tmp_path: Path, temporary: Path):
    learnt(services, publish=False)
    taken = services.manage.download("v1", tmp_path / "v1.zip")
    services.manage.delete("v1")
    folder = services.versions.adapters.root
    folder.rmdir()
    folder.write_text("no folder")
    with pytest.raises(StorageError, match="could not be written"):
        services.upload.add(taken)
    assert services.store.versions() == [] and list(temporary.iterdir()) == []


def test_full_temporary_disk_is_told(services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    learnt(services, publish=False)
    taken = services.manage.download("v1", tmp_path / "v1.zip")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "no-such-folder"))
    with pytest.raises(StorageError, match="could not be read or kept"):
        services.upload.add(taken)


# --- whose they are


@pytest.mark.parametrize("token", ["", "wrong", None])
def test_files_and_deletion_are_the_owners(guarded: Services, tmp_path: Path, token: str | None):
    learnt(guarded, publish=False)
    path = guarded.manage.download("v1", tmp_path / "v1.zip", TOKEN)
    for call in (
        lambda: guarded.manage.delete("v1", token),
        lambda: guarded.manage.download("v1", tmp_path / "again.zip", token),
        lambda: guarded.upload.add(path, "", token),
    ):
        with pytest.raises(NotAllowedError, match="owner's token"):
            call()
    assert not (tmp_path / "again.zip").exists() and files(guarded) == {"v1"}
    assert guarded.upload.add(path, "", TOKEN).id == "v2"
    guarded.manage.delete("v1", TOKEN)
    assert [version.id for version in guarded.store.versions()] == ["v2"]


# --- what is shown


def test_description_for_programs_holds_no_prompts(shelf: tuple[Store, AdapterFolder, ManageVersions]):
    store, _, manage = shelf
    store.publish("zen", "v2")
    two, one = manage.described()
    assert (one["version"], one["in_use_for"], two["in_use_for"]) == ("v1", [], ["zen"])
    assert one["after"] == {"value": 0.75, "n": 4, "interval": [0.3, 0.95]} and (one["objective"], one["seed"]) == (
        "ipo",
        7,
    )
    assert "SECRET" not in json.dumps([one, two])


def test_table_tells_the_lineage_and_escapes_every_text():
    uploaded = a_version(
        "v2", origin="upload", settings={"rank": 2}, metrics={}, pairs_train=0, pairs_heldout=0, parent=None
    )
    trained = a_version("v1", scope=HOSTILE, parent="")
    shown = timeline([uploaded, trained], {"v1": ["", HOSTILE]}, {"": "all personas"})
    assert "<script" not in shown and "&lt;script&gt;" in shown
    for told in (
        *(
            "v1 (in use for all personas, ",
            "12 pairs learnt, 4 kept aside",
            "came after the original model",
            "ipo, seed 7",
            "before 50% (95 % interval 30% to 95%, n = 4)",
        ),
        *("after 75%", "brought from elsewhere", "not measured", "came after not known", "2026-01-02 03:04"),
    ):
        assert told in shown, told
    # Newest first, and down at the end what all of them come from.
    assert shown.index("<b>v2") < shown.index("<b>v1") < shown.index("<b>The original model")
    assert shown.count("<li>") + shown.count("<li ") == 3 and shown.count("pl-inuse") == 1
    assert "<li" not in timeline([], {}, {})


def test_numbers_count_on_over_deletions(shelf: tuple[Store, AdapterFolder, ManageVersions]):
    store, adapters, manage = shelf
    for number in range(3, 7):
        name = adapters.unused(store.next_version_id())
        assert name == f"v{number}"
        adapters.write(name, fill)
        store.add_version(a_version(name), publish=False)
        manage.delete(name)
    assert {path.name for path in adapters.root.iterdir()} == {"v1", "v2"}
