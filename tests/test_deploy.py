"""`python -m app deploy` with the real huggingface_hub against a stand-in for the Hub: a new Space, a second time, failures, a dry run.

The stand-in speaks the Hub's LFS protocol; its newer one for large files (Xet) is a closed service, so it is turned off here.
"""

import re
import socket
import subprocess
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import huggingface_hub
import pytest
import yaml
from packaging.requirements import Requirement

from app.__main__ import main
from app.deploy import deploy, plan
from app.errors import HubError, InputError
from app.settings import Settings
from app.space_files import ROOT
from tests.hub_server import TOKEN, HubServer

SPACE = "owner/plumb"
WEIGHTS = bytes(range(256)) * 50
README = "---\ntitle: Plumb\nemoji: x\nsdk: gradio\npython_version: '3.12'\n---\n# Plumb\n\n---\nbelow a line\n"
ENVIRONMENT = {
    "PLUMBLINE_MODEL": "HuggingFaceTB/SmolLM2-135M-Instruct",
    "PLUMBLINE_CACHE_MB": "512",
    "PLUMBLINE_DEVICE": "cpu",
    "PLUMBLINE_ADMIN_TOKEN": "the-owners-secret",
    "PLUMBLINE_SYNC_DATASET": "owner/labels",
    "PLUMBLINE_SYNC_TOKEN": "hf_sync_secret",
}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The stand-in, in place of the Hub for everything in this process."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    with HubServer() as server:
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.endpoint)
        yield server


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ENVIRONMENT:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def configured(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    return Settings()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small repository, with things in it that have no place on a Space."""
    root = tmp_path / "checkout"
    files = {
        "README.md": README,
        "requirements.txt": "torch==2.13.0\ngradio==6.31.0\n",
        "app.py": "print()\n",
        "app/a.py": "",
        "app/.hidden": "h",
        ".env": "KEY=hf_of_nobody",
        "tests/test_a.py": "t",
        "app/starter/corpus/c.jsonl": "{}",
        "pyproject.toml": "",
        "data/plumbline.db": "rows",
    }
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "app/model.safetensors").write_bytes(WEIGHTS)
    (root / "app/link").symlink_to("/etc/passwd")
    subprocess.run(["git", "init", "-q"], cwd=root, check=True)
    subprocess.run(["git", "add", "-f", "."], cwd=root, check=True)
    (root / "app/untracked.py").write_text("not yet")
    return root


def planned(root: Path, settings: Settings, **options) -> object:
    return plan(SPACE, settings.model_copy(update={"data": root / "data"}), root=root, **options)


def test_a_new_space_gets_what_it_needs_and_nothing_else(hub: HubServer, checkout: Path, configured: Settings):
    told = []
    decided = planned(checkout, configured, hardware="cpu-upgrade", private=True)
    address = deploy(decided, told.append, TOKEN)

    assert address == f"{hub.endpoint}/spaces/{SPACE}"
    assert told == [step.told for step in decided.steps]
    space = hub.spaces[SPACE]
    assert space.private
    assert space.hardware == "cpu-upgrade"
    assert set(space.files) == {
        *(".gitattributes", "README.md", "requirements.txt"),
        *("app.py", "app/a.py", "app/model.safetensors"),
    }
    assert space.files["app/model.safetensors"] == WEIGHTS
    assert list(hub.large.values()) == [WEIGHTS], "weights go apart from the commit, and only they"
    assert space.variables == {
        "PLUMBLINE_MODEL": "HuggingFaceTB/SmolLM2-135M-Instruct",
        "PLUMBLINE_CACHE_MB": "512",
        "PLUMBLINE_SYNC_DATASET": "owner/labels",
    }
    assert space.secrets == {
        "PLUMBLINE_ADMIN_TOKEN": "the-owners-secret",
        "PLUMBLINE_SYNC_TOKEN": "hf_sync_secret",
    }
    assert "secret" not in "".join(told).replace("set the secret", "")
    asked = [path for _, path in hub.requests]
    assert asked.index(f"/api/spaces/{SPACE}/secrets") < asked.index(f"/api/spaces/{SPACE}/commit/main")


def test_readme_and_requirements_are_made_for_the_space(checkout: Path, configured: Settings):
    files = planned(checkout, configured).files
    _, card, body = files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(card) == {
        "title": "Plumb",
        "emoji": "x",
        "sdk": "gradio",
        "python_version": "3.12",
        "sdk_version": "6.31.0",
        "app_file": "app.py",
        "hf_oauth": True,
        "models": ["HuggingFaceTB/SmolLM2-135M-Instruct"],
    }
    assert body == README.split("---\n", 2)[2]
    needs = (checkout / "requirements.txt").read_text()
    assert files["requirements.txt"].decode() == f"--extra-index-url https://download.pytorch.org/whl/cpu\n{needs}"
    on_a_gpu = planned(checkout, configured, hardware="zero-a10g").files["requirements.txt"]
    assert on_a_gpu.decode() == needs


def test_a_second_time_brings_what_changed_and_takes_away_what_went(
    hub: HubServer, checkout: Path, configured: Settings, tmp_path: Path
):
    deploy(planned(checkout, configured), lambda _: None, TOKEN)
    uploads = len(hub.large)
    subprocess.run(["git", "rm", "-qf", "app/a.py"], cwd=checkout, check=True)
    (checkout / "app.py").write_text("print(2)\n")
    consent = tmp_path / "consent-of-ours.txt"
    consent.write_text("Be kind.")
    changed = configured.model_copy(update={"cache_mb": 256, "consent": consent})
    deploy(planned(checkout, changed), lambda _: None, TOKEN)

    space = hub.spaces[SPACE]
    assert "app/a.py" not in space.files
    assert space.files["app.py"] == b"print(2)\n"
    assert space.files[space.variables["PLUMBLINE_CONSENT"]] == b"Be kind."
    assert space.variables["PLUMBLINE_CACHE_MB"] == "256"
    assert len(hub.large) == uploads
    assert len(space.commits) == 3, "one commit a deployment, after the empty one"


@pytest.mark.parametrize(
    ("fails", "status", "way_out"),
    [
        ("/api/repos/create", 401, "log in again"),
        ("/api/repos/create", 402, "paid plan"),
        (f"/api/spaces/{SPACE}/variables", 429, "wait some minutes"),
        (f"/api/spaces/{SPACE}/secrets", 403, "may not write there"),
        (f"/api/spaces/{SPACE}/hardware", 402, "other hardware"),
        ("/storage/", 403, "may not write there"),
        (f"/api/spaces/{SPACE}/commit/main", 507, "storage of this account is full"),
        (f"/api/spaces/{SPACE}/commit/main", 418, "run the command again"),
    ],
)
def test_a_refused_step_is_told_with_the_way_out_and_a_repeat_goes_on(
    hub: HubServer, checkout: Path, configured: Settings, fails: str, status: int, way_out: str
):
    hub.fault = lambda method, path: status if path.startswith(fails) else None
    with pytest.raises(HubError) as refused:
        deploy(planned(checkout, configured), lambda _: None, TOKEN)
    assert SPACE in str(refused.value) and way_out in str(refused.value)
    assert not any(value in str(refused.value) for value in ("the-owners-secret", "hf_sync_secret", TOKEN))
    assert all(set(space.files) == {".gitattributes"} for space in hub.spaces.values()), "no half of the files is there"

    hub.fault = lambda method, path: None
    deploy(planned(checkout, configured), lambda _: None, TOKEN)
    assert "app.py" in hub.spaces[SPACE].files


def test_no_server_and_no_token_are_sentences(
    hub: HubServer, checkout: Path, configured: Settings, monkeypatch: pytest.MonkeyPatch
):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
        with pytest.raises(HubError, match="see that the Hub can be reached"):
            deploy(planned(checkout, configured), lambda _: None, TOKEN, nobody)
    monkeypatch.setattr("app.deploy.get_token", lambda: None)
    with pytest.raises(HubError, match="hf auth login"):
        deploy(planned(checkout, configured), lambda _: None)
    assert hub.requests == []


@pytest.mark.parametrize("name", ["", "plumb", "a/b/c", "../x/y", "owner/na me", "owner/", "https://hf.co/a/b", "o/é"])
def test_a_name_that_is_none(checkout: Path, name: str):
    with pytest.raises(InputError, match="OWNER/NAME"):
        plan(name, Settings(), root=checkout)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"model": "/models/mine"}, "PLUMBLINE_MODEL"),
        ({"embedder": "./mine/embedder"}, "PLUMBLINE_EMBEDDER"),
        ({"sync_dataset": "owner/labels"}, "PLUMBLINE_SYNC_TOKEN"),
    ],
)
def test_settings_that_a_space_could_not_use(checkout: Path, settings: dict[str, str], words: str):
    with pytest.raises(InputError, match=words):
        plan(SPACE, Settings(**settings), root=checkout)


def test_hardware_that_there_is_not_and_a_folder_without_git(checkout: Path, tmp_path: Path):
    with pytest.raises(InputError, match="cpu-basic"):
        plan(SPACE, Settings(), hardware="abacus", root=checkout)
    with pytest.raises(InputError, match="no git checkout"):
        plan(SPACE, Settings(), root=tmp_path)
    subprocess.run(["git", "rm", "-q", "--cached", "app.py"], cwd=checkout, check=True)
    with pytest.raises(InputError, match=r"app\.py"):
        plan(SPACE, Settings(), root=checkout)


def test_a_dry_run_tells_every_file_and_call_and_asks_nothing_of_the_network(
    configured: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    def refuse(*_: object) -> None:
        raise AssertionError("a dry run opened a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert main(["deploy", "--space", SPACE, "--hardware", "l4x1", "--private", "--dry-run"]) == 0
    printed = capsys.readouterr().out
    decided = plan(SPACE, configured, "l4x1", private=True)
    for step in decided.steps:
        assert f"{step.told}\n" in printed
    for path, size in decided.sizes().items():
        assert f"{size:>12,}  {path}\n" in printed
    assert "the-owners-secret" not in printed and "hf_sync_secret" not in printed
    weights = "app/starter/weights/model-00001-of-00003.safetensors"
    assert decided.sizes()[weights] == (ROOT / weights).stat().st_size
    assert not [path for path in decided.files if path.startswith((".", "tests/", "data/", "app/starter/corpus/"))]


def test_the_command_deploys_and_prints_the_address(
    hub: HubServer, configured: Settings, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    assert main(["deploy", "--space", SPACE]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"{hub.endpoint}/spaces/{SPACE}"
    assert set(hub.spaces[SPACE].files) == {".gitattributes", *plan(SPACE, configured).files}
    assert hub.spaces[SPACE].files["app.py"] == (ROOT / "app.py").read_bytes()

    monkeypatch.delenv("PLUMBLINE_SYNC_TOKEN")
    assert main(["deploy", "--space", SPACE]) == 2
    assert "PLUMBLINE_SYNC_TOKEN" in capsys.readouterr().err


def test_what_is_pinned_goes_with_the_gradio_that_a_space_installs():
    pins = dict(re.findall(r"^([\w-]+)==(\S+)$", (ROOT / "requirements.txt").read_text(), re.M))
    pins = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    for extra in ("oauth", "mcp"):
        for needed in map(Requirement, metadata.requires("gradio")):
            if needed.marker and not needed.marker.evaluate({"extra": extra}):
                continue
            pinned = pins.get(needed.name.lower().replace("_", "-"))
            assert pinned is None or needed.specifier.contains(pinned), f"{needed} and {pinned}"
    assert "mcp" in pins, "the page is an MCP server"


def test_the_owner_is_told_what_a_space_without_sync_and_token_means(checkout: Path):
    warnings = " ".join(plan(SPACE, Settings(), root=checkout).warnings)
    assert "PLUMBLINE_SYNC_DATASET" in warnings and "PLUMBLINE_ADMIN_TOKEN" in warnings
