"""The bundled embedder: loads late, embeds anything, finds what is near in meaning, and says what is wrong with another."""

import json
import subprocess
import sys

import numpy as np
import pytest
import yaml

from app.embedding import Embedder
from app.errors import ModelError
from app.starter import EMBEDDER_FOLDER, STARTER_FOLDER, WEIGHTS_FOLDER
from app.starter.dataset import Corpus
from app.starter.held_out import is_held_out


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder()


def test_nothing_is_loaded_before_the_first_text():
    script = "import sys; from app.embedding import Embedder; Embedder(); print('sentence_transformers' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "False"


def test_vectors_are_unit_vectors_and_do_not_depend_on_company(embedder: Embedder):
    texts = ["How do I boil an egg?", "you are a blunt sea captain", "x"]
    vectors = embedder.encode(texts)
    assert vectors.dtype == np.float32 and np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert np.allclose(vectors[1], embedder.encode([texts[1]])[0], atol=1e-6)
    assert embedder.encode([]).shape == (0, vectors.shape[1]) and embedder.nearest("egg", [], 3) == []
    assert not embedder.encode([""]).any()


def test_case_and_place_do_not_matter(embedder: Embedder):
    one, two = embedder.encode(["Pirate", "pirate"])
    assert float(one @ two) == pytest.approx(1.0, abs=1e-5)


def test_held_out_prompts_lie_near_their_topic_and_held_out_wordings_near_their_persona(embedder: Embedder):
    corpus = Corpus(yaml.safe_load((STARTER_FOLDER / "config.yaml").read_text()))
    topics = corpus.known_topics
    queries = [(p, i) for i, t in enumerate(topics) for p in t["prompts"] if is_held_out("prompt", p)][:300]
    plain = embedder.encode([t["plain"] for t in topics])
    found = (embedder.encode([p for p, _ in queries]) @ plain.T).argmax(axis=1)
    assert np.mean(found == [i for _, i in queries]) > 0.5

    names = sorted(corpus.wordings)
    targets = [next(w for w in corpus.wordings[n].groups[1] if not is_held_out("wording", w)) for n in names]
    manners = embedder.encode(targets)
    # Whole sentences only: a held-out role is often a trained role in another template.
    groups = [(n, g) for n in names for g in (1, 3, 4)]
    wordings = [(w, n) for n, g in groups for w in corpus.wordings[n].groups[g] if is_held_out("wording", w)]
    nearest = (embedder.encode([w for w, _ in wordings]) @ manners.T).argmax(axis=1)
    assert np.mean([names[i] == n for i, (_, n) in zip(nearest, wordings, strict=True)]) > 0.35


def test_the_nearest_come_best_first(embedder: Embedder):
    texts = ["Water the tomatoes at the root.", "Talk like a pirate.", "Brush your teeth twice a day."]
    found = embedder.nearest("speak like a salty pirate captain", texts, 2)
    assert found[0][0] == 1 and len(found) == 2 and found[0][1] > found[1][1]


def test_it_reads_the_tokens_of_the_starter():
    vocabularies = [
        json.loads((f / "tokenizer.json").read_text())["model"]["vocab"] for f in (EMBEDDER_FOLDER, WEIGHTS_FOLDER)
    ]
    assert vocabularies[0] == vocabularies[1]


def test_the_files_are_small_safetensors():
    files = [f for f in EMBEDDER_FOLDER.rglob("*") if f.is_file()]
    assert {f.suffix for f in files} <= {".safetensors", ".json"} and sum(f.stat().st_size for f in files) < 5_000_000


def test_an_embedder_that_is_none_is_named_with_the_way_out(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(ModelError, match=r"nobody/nothing.*PLUMBLINE_EMBEDDER=starter"):
        Embedder("nobody/nothing").encode(["x"])
    with pytest.raises(ModelError, match="holds no safetensors file"):
        Embedder(str(tmp_path)).encode(["x"])
    (tmp_path / "pytorch_model.bin").write_bytes(b"a pickle would stand here")
    with pytest.raises(ModelError, match="holds no safetensors file"):
        Embedder(str(tmp_path)).encode(["x"])
    (tmp_path / "model.safetensors").write_bytes(b"not one")
    with pytest.raises(ModelError, match="could not be loaded"):
        Embedder(str(tmp_path)).encode(["x"])
