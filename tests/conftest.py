"""Fixtures shared by the tests: tiny models on disk, an empty store, a whole product over them, and no reach to any hub."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from pathlib import Path

import pytest
from pydantic import SecretStr

from app.catalogue import Catalogue
from app.embedding import Embedder
from app.model import LanguageModel
from app.services import Services, build
from app.settings import Settings
from personas import load_library
from storage.store import Store
from tests.models import CONFIGS, save_tiny_model


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder a tiny architecture."""
    root = tmp_path_factory.mktemp("models")
    return {kind: save_tiny_model(kind, root / kind) for kind in CONFIGS}


@pytest.fixture(scope="session")
def talker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Llama that reads 4,096 tokens; decoded greedily, one of random weights hardly ever finds an end."""
    return save_tiny_model("talker", tmp_path_factory.mktemp("models") / "talker")


@pytest.fixture(params=list(CONFIGS))
def tiny_model(request: pytest.FixtureRequest, tiny_folders: dict[str, Path]) -> LanguageModel:
    """Each tiny architecture in turn."""
    return LanguageModel.load(str(tiny_folders[request.param]))


@pytest.fixture
def llama(tiny_folders: dict[str, Path]) -> LanguageModel:
    """The tiny Llama, freshly loaded."""
    return LanguageModel.load(str(tiny_folders["llama"]))


@pytest.fixture
def services(tiny_folders: dict[str, Path], tmp_path: Path) -> Services:
    """The product on the tiny Llama and an empty data folder, `tmp_path / "data"`, without an owner's token."""
    return build(Settings(data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu"))


@pytest.fixture
def guarded(tiny_folders: dict[str, Path], tmp_path: Path) -> Services:
    """The same with "the owner's" as the owner's token."""
    token = SecretStr("the owner's")
    return build(Settings(data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu", admin_token=token))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """An empty store in `tmp_path` itself."""
    return Store(tmp_path)


@pytest.fixture
def catalogue(store: Store) -> Catalogue:
    """The library's personas, and nobody's own."""
    return Catalogue(load_library(), store, Embedder())
