"""Weights in bf16, as a large model has them on a processor that computes in it: the same paths, coarser numbers."""

import math

import pytest
import torch

from app import pretrained
from app.decoding.arms import ARM_NAMES
from app.decoding.engine import Engine
from app.model import LanguageModel
from app.refresh.learner import Learner
from app.refresh.pairs import make_pair
from app.refresh.trainer import RefreshSettings, encode, train
from tests.test_batching import PROMPTS, alone, collect, make_run


def test_it_answers_alone_and_together(tiny_folders):
    model = LanguageModel.load(str(tiny_folders["llama"]), dtype="bfloat16")
    assert model.cache_bytes_per_token == LanguageModel.load(str(tiny_folders["llama"])).cache_bytes_per_token // 2
    engine, said, runs = Engine(model.forward_with), {}, [make_run(model, prompt) for prompt in PROMPTS]
    for run in runs:
        engine.add(run)
    while engine.busy:
        collect(said, engine.step())
    for run, prompt in zip(runs, PROMPTS, strict=True):
        firsts = [
            {arm: token for arm, token, _ in reversed(told)}
            for told in (said[run], alone(model, make_run(model, prompt)))
        ]
        assert set(firsts[0]) == set(firsts[1]) == set(ARM_NAMES)


def test_it_learns_an_adapter_in_fp32(tiny_folders, tmp_path):
    model = LanguageModel.load(str(tiny_folders["llama"]), dtype="bfloat16")
    pairs = [make_pair([{"role": "user", "content": f"Tell me of {t}."}], f"{t}, matey!", f"Indeed, {t}.") for t in ("tea", "air", "waves", "water")]  # fmt: skip
    losses = [
        step.loss for step in train(model, encode(model, pairs), RefreshSettings(epochs=8, learning_rate=1e-2), "taste")
    ]
    assert all(math.isfinite(loss) for loss in losses) and losses[-1] < losses[0]
    assert {p.dtype for name, p in model._model.named_parameters() if ".taste." in name} == {torch.float32}
    model.save_adapter("taste", tmp_path / "taste")
    model.drop_adapter("taste")
    other = LanguageModel.load(str(tiny_folders["llama"]))
    other.load_adapter("v1", tmp_path / "taste")
    ids = torch.tensor([other.chat_ids([{"role": "user", "content": "Why?"}])])
    assert not torch.equal(other.logits(ids, torch.ones_like(ids), "v1"), other.logits(ids, torch.ones_like(ids), None))


@pytest.mark.parametrize(("told", "native"), [({}, False), ({"avx512_bf16": True}, True), ({"amx_bf16": True}, True)])
def test_loading_and_learning_agree_on_whether_this_processor_computes_in_bf16(tiny_folders, monkeypatch, told, native):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: told)
    monkeypatch.setattr(pretrained, "LARGE", 0)
    folder = str(tiny_folders["llama"])
    assert (pretrained.find(folder, "cpu", "auto").dtype == torch.bfloat16) == native
    learner = Learner(LanguageModel.load(folder, "cpu", "float32"), RefreshSettings(precision="auto"), "taste", 1)
    assert learner._bf16 == native
