"""Changing the model that serves: the new one answers from then on, what has begun ends on the old one, and no failure takes it away."""

import gc
import shutil
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import huggingface_hub
import pytest
import torch
from pydantic import SecretStr
from safetensors.torch import load_file, save_file

from app import memory
from app.compare import Principle, Request
from app.decoding.arms import DecodeSettings
from app.errors import BusyError, InputError, ModelError, NotAllowedError
from app.model import LanguageModel
from app.models import ROWS, TOKENS, Progress
from app.services import Services, build
from app.settings import Settings
from app.ui.model_render import needs_line, progress_line
from tests.hub_server import HubServer
from tests.test_api import serving

REQUEST = Request(
    messages=(("user", "How do I make tea?"),),
    principles=(Principle(text="Answer as a gruff sea captain."),),
    settings=DecodeSettings(seed=3, max_new_tokens=24),
)
HUB_ID = "tiny/llama"


def answered(services: Services) -> dict[str, list[int]]:
    comparison = services.compare.start(REQUEST, "me")
    *_, last = services.compare.run(comparison)
    return {arm: answer.token_ids for arm, answer in last.answers.items()}


def test_another_model_answers_and_the_old_one_is_let_go_and_comes_back(
    services: Services, tiny_folders: dict[str, Path]
):
    llama, qwen = str(tiny_folders["llama"]), str(tiny_folders["qwen2"])
    said, old = answered(services), weakref.ref(services.model)
    stages = [progress.stage for progress in services.models.choose(qwen)]
    assert stages == ["looking", "loading", "trying", "serving"]
    assert services.model.name == services.models.now == qwen
    assert services.models.before == llama
    assert answered(services) != said
    gc.collect()
    assert old() is None, "the old model stays in memory"

    list(services.models.choose(services.models.before))
    assert answered(services) == said


def test_what_has_begun_ends_on_the_old_model_and_can_still_be_stopped(
    services: Services, tiny_folders: dict[str, Path]
):
    undisturbed = answered(services)
    compare = services.compare
    first, second = compare.start(REQUEST, "me"), compare.start(REQUEST, "me")
    running, stopped = compare.run(first), compare.run(second)
    next(running), next(stopped)
    list(services.models.choose(str(tiny_folders["qwen2"])))
    services.compare.cancel(second.round_id)
    *_, cut = stopped
    *_, last = running
    assert {arm: answer.token_ids for arm, answer in last.answers.items()} == undisturbed
    assert {answer.finish_reason for answer in cut.answers.values()} == {"cancelled"}
    assert services.store.round(first.round_id).model == str(tiny_folders["llama"])


def damaged(kind: str, source: Path, folder: Path) -> str:
    """A copy of a model with something wrong; returns its name."""
    shutil.copytree(source, folder)
    weights = folder / "model.safetensors"
    if kind == "cut short":
        weights.write_bytes(weights.read_bytes()[:-500])
    elif kind == "no numbers":
        save_file(
            {k: torch.full_like(v, float("nan")) for k, v in load_file(weights).items()}, weights, {"format": "pt"}
        )
    elif kind == "no weights":
        weights.unlink()
    elif kind == "a template that fails":
        (folder / "chat_template.jinja").write_text("{{ raise_exception('never') }}")
    elif kind == "no words":
        config = (folder / "config.json").read_text().replace('"llama"', '"vit"')
        (folder / "config.json").write_text(config)
    elif kind == "no such shape":
        config = (folder / "config.json").read_text().replace('"num_attention_heads": 4', '"num_attention_heads": 0')
        (folder / "config.json").write_text(config)
    return str(folder)


@pytest.mark.parametrize(
    "kind", ["cut short", "no numbers", "no weights", "a template that fails", "no words", "no such shape"]
)
def test_a_bad_model_leaves_the_old_one_serving(
    services: Services, tiny_folders: dict[str, Path], tmp_path: Path, kind: str
):
    old = services.model
    with pytest.raises(ModelError, match="goes on answering"):
        list(services.models.choose(damaged(kind, tiny_folders["llama"], tmp_path / "damaged")))
    assert services.model is old
    assert all(answered(services).values())
    assert services.models.before == ""
    list(services.models.choose(str(tiny_folders["qwen2"])))  # and another one may be tried


def test_names_that_are_none(services: Services, tmp_path: Path):
    for name in ("", "   ", "x" * 301):
        with pytest.raises(InputError, match="hub id"):
            list(services.models.choose(name))
    for name in (str(tmp_path / "nowhere"), "../../etc", "nobody/has-this"):  # the hub is out of reach here
        with pytest.raises(ModelError, match="goes on answering"):
            list(services.models.choose(name))


def test_what_does_not_fit_is_not_loaded(
    services: Services, tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
):
    qwen = str(tiny_folders["qwen2"])
    needs = services.models.needs(qwen)
    monkeypatch.setattr("app.models.free_bytes", lambda device: needs.weights + needs.cache - 1)
    monkeypatch.setattr(LanguageModel, "load", lambda *_: pytest.fail("it was loaded"))
    assert not services.models.needs(qwen).fits
    with pytest.raises(ModelError, match=r"needs .* choose a smaller one.*goes on answering"):
        list(services.models.choose(qwen))


@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
def test_memory_that_runs_out_all_the_same_leaves_the_old_one(
    services: Services, tiny_folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def load(*_: object) -> None:
        raise error

    old = services.model
    monkeypatch.setattr(LanguageModel, "load", load)
    with pytest.raises(ModelError, match=r"not enough memory.*goes on answering"):
        list(services.models.choose(str(tiny_folders["qwen2"])))
    assert services.model is old


def test_needs_are_parameters_times_their_size_and_a_cache(services: Services, tiny_folders: dict[str, Path]):
    needs = services.models.needs(str(tiny_folders["llama"]))
    tensors = load_file(tiny_folders["llama"] / "model.safetensors").values()
    assert needs.parameters == sum(tensor.numel() for tensor in tensors)
    assert needs.weights == 4 * needs.parameters
    # Two layers, two key-value heads of eight numbers, keys and values, in four bytes.
    assert needs.cache == ROWS * TOKENS * 2 * 2 * 2 * 8 * 4
    assert needs.dtype == "float32"
    assert needs.fits


def test_free_memory_is_what_the_container_may_still_take(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(memory, "CGROUP", tmp_path)
    machine = memory.free_bytes("cpu")
    assert machine > 0
    for name, text in {
        "memory.max": "5000000\n",
        "memory.current": "3000000\n",
        "memory.stat": "anon 7\ninactive_file 1000000\n",
    }.items():
        (tmp_path / name).write_text(text)
    assert memory.free_bytes("cpu") == 3_000_000
    (tmp_path / "memory.current").write_text("9000000")
    assert memory.free_bytes("cpu") == 0
    (tmp_path / "memory.max").write_text("max\n")
    assert memory.free_bytes("cpu") > 9_000_000


def test_only_the_owner_and_only_one_at_a_time(tiny_folders: dict[str, Path], tmp_path: Path):
    llama, qwen = str(tiny_folders["llama"]), str(tiny_folders["qwen2"])
    services = build(Settings(data=tmp_path, model=llama, device="cpu", admin_token=SecretStr("secret")))
    for attempt in (services.models.needs, lambda *given: list(services.models.choose(*given))):
        for token in ("", "wrong"):
            with pytest.raises(NotAllowedError):
                attempt(qwen, token)
    assert services.models.now == llama
    begun = services.models.choose(qwen, "secret")
    next(begun)
    with pytest.raises(BusyError):
        list(services.models.choose(qwen, "secret"))
    begun.close()
    assert services.models.now == llama
    list(services.models.choose(qwen, "secret"))
    assert services.models.now == qwen


@pytest.fixture
def hub(tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The stand-in for the Hub with a tiny model on it, and an empty cache."""
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    with HubServer() as server:
        template = constants.HUGGINGFACE_CO_URL_TEMPLATE.replace(constants.ENDPOINT, server.endpoint)
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "ENDPOINT", server.endpoint)
        server.create(HUB_ID, private=False, kind="models")
        files = {file.name: file.read_bytes() for file in tiny_folders["llama"].iterdir()}
        server.commit(HUB_ID, {**files, "pytorch_model.bin": b"pickle", "onnx/model.safetensors": b"other"}, "models")
        yield server


def test_a_model_of_the_hub_is_fetched_with_its_progress(services: Services, hub: HubServer):
    needs = services.models.needs(HUB_ID)
    assert not [path for _, path in hub.requests if "safetensors" in path], "looking downloads no weights"
    told = list(services.models.choose(HUB_ID))
    fetched = [(progress.done, progress.total) for progress in told if progress.stage == "downloading"]
    assert fetched[0][0] == 0
    assert fetched[-1][0] == fetched[-1][1] >= needs.weights
    assert [done for done, _ in fetched] == sorted(done for done, _ in fetched)
    assert [progress.stage for progress in told if progress.stage != "downloading"] == [
        "looking", "loading", "trying", "serving"
    ]  # fmt: skip
    assert services.model.name == HUB_ID
    assert services.model.revision == hub.models[HUB_ID].commits[-1][0]
    asked = "".join(path for _, path in hub.requests)
    assert "pytorch_model.bin" not in asked and "onnx/" not in asked


def test_a_download_that_breaks_off_leaves_the_old_model_and_goes_on_the_next_time(
    services: Services, hub: HubServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    old = services.model
    hub.breaks_off_after = 20_000  # the config comes through whole
    with pytest.raises(ModelError, match=r"could not be downloaded.*goes on answering"):
        list(services.models.choose(HUB_ID))
    assert services.model is old
    hub.breaks_off_after = None
    list(services.models.choose(HUB_ID))
    assert services.model.name == HUB_ID


def test_what_the_hub_refuses_is_a_sentence(services: Services, hub: HubServer):
    for name in ("nobody/has-this", "tiny/llama@x"):
        with pytest.raises(ModelError, match="goes on answering"):
            list(services.models.choose(name))
    hub.fault = lambda method, path: 403 if "resolve" in path else None
    with pytest.raises(ModelError, match="goes on answering"):
        list(services.models.choose(HUB_ID))


def test_the_endpoint_tells_looks_and_changes(tiny_folders: dict[str, Path], tmp_path: Path):
    llama, qwen = str(tiny_folders["llama"]), str(tiny_folders["qwen2"])
    with serving(tiny_folders["llama"], tmp_path) as server:
        client = server.client()
        told = client.predict(api_name="/model")
        assert (told["model"], told["before"], told["needs"]) == (llama, "", None)
        assert told["presets"][0] == "starter"
        looked = client.predict(qwen, True, api_name="/model")
        assert looked["model"] == llama and looked["needs"]["name"] == qwen and looked["needs"]["fits"]
        assert client.predict(qwen, api_name="/model")["model"] == qwen
        answer = client.predict("How do I make tea?", principle="Be brief.", max_new_tokens=4, api_name="/compare")
        assert answer["model"] == qwen
        with pytest.raises(Exception, match="goes on answering"):
            client.predict("/no/such/folder", api_name="/model")


def test_lines_say_what_fits_and_escape_names(services: Services):
    needs = services.models.needs("starter")
    assert "11 million parameters" in needs_line(needs) and "It fits." in needs_line(needs)
    assert "&lt;b&gt;" in needs_line(replace(needs, name="<b>"))
    assert "does not fit" in needs_line(replace(needs, free=0))
    line = progress_line(Progress("downloading", needs, 30_000_000, 60_000_000), "<i>")
    assert "30.0 MB of 60.0 MB" in line and 'value="30000000"' in line and "&lt;i&gt;" in line
