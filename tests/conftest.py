"""Fixtures shared by the tests: tiny models on disk, and no reach to any hub."""

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")

from pathlib import Path

import pytest

from app.model import LanguageModel
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
