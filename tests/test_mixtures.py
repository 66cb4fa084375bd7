"""The benchmark of mixtures: its loss is the same however a vocabulary splits, its answers are really held out, and its runs can be trained."""

import json
import math
import sys
from functools import partial

import pytest
import torch
import yaml
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from app.starter.dataset import Corpus, Sample
from app.starter.evaluate import CONFIG
from app.starter.held_out import is_held_out
from app.starter.measures import PersonaClassifier
from app.starter.train import build_model, learning_rate_at, train_tokenizer
from tests.benchmarks import mixtures
from tests.benchmarks.mixtures import VARIATIONS, complete, judged_samples, nats_per_character, settings_of, table

SETTINGS = yaml.safe_load(CONFIG.read_text())
TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "vocab_size": 600,
    "rows_per_step": 2,
    "stages": [{"intermediate_size": 64, "steps": 9, "learning_rate": 4e-3}],
}


def saying(tokenizer: PreTrainedTokenizerFast, chances: dict[str, float]) -> LlamaForCausalLM:
    """A real Llama that gives every next token the same chances, whatever stood before: `chances`, and next to nothing for others."""
    size, config = 4, {"num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), hidden_size=size, tie_word_embeddings=False, **config))  # fmt: skip
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        # The last norm makes (1, 0, 0, 0) to (2, 0, 0, 0), and the head to the logarithms.
        model.model.embed_tokens.weight[:, 0] = 1.0
        model.model.norm.weight.fill_(1.0)
        model.lm_head.weight[:, 0] = math.log(1e-12) / 2
        for token, chance in chances.items():
            model.lm_head.weight[tokenizer.convert_tokens_to_ids(token), 0] = math.log(chance) / 2
    return model


def test_the_loss_for_a_character_is_the_same_however_the_vocabulary_splits():
    """By hand: "abab" as four letters of a quarter each or as two pairs of a sixteenth each, and an end of a half: 4 ln 4 + ln 2."""
    long = Sample(("Answer as a pirate.",), "Say ab.", "abab")
    samples = [long, Sample((), "And now?", "ab")]
    texts = [Sample((), "ab" * 200, "ab" * 200)] * 9
    letters, pairs = train_tokenizer(iter(texts), 261), train_tokenizer(iter(texts), 262)
    assert [letters.tokenize("abab"), pairs.tokenize("abab")] == [["a", "b", "a", "b"], ["ab", "ab"]]
    by_letters = saying(letters, {"a": 1 / 4, "b": 1 / 4, "<|end|>": 1 / 2})
    by_pairs = saying(pairs, {"ab": 1 / 16, "a": 7 / 16, "<|end|>": 1 / 2})
    by_hand = ((4 + 2) * math.log(4) + 2 * math.log(2)) / 6
    assert nats_per_character(by_letters, letters, samples) == pytest.approx(by_hand, rel=1e-4)
    assert nats_per_character(by_pairs, pairs, samples) == pytest.approx(by_hand, rel=1e-4)
    # Neither the length of the rows nor what else is in them counts.
    alone = (4 * math.log(4) + math.log(2)) / 4
    assert nats_per_character(by_pairs, pairs, [long]) == pytest.approx(alone, rel=1e-4)


def test_every_run_is_judged_on_the_same_answers_and_held_out_means_held_out():
    corpus = Corpus(SETTINGS)
    before = dict(corpus.shares)
    judged = judged_samples(corpus)
    assert judged == judged_samples(corpus) and corpus.shares == before
    assert {len(samples) for samples in judged.values()} == {mixtures.JUDGED} and len(judged) == 7
    gold = {text for entry in corpus.known_gold for text in (entry["plain"], *entry["personas"].values())}
    for kind, samples in judged.items():
        if "new topics" in kind:
            assert all(is_held_out("topic", s.topic) for s in samples) and len({s.topic for s in samples}) > 5
            assert not {s.answer for s in samples} & gold
            continue
        out = "held-out" in kind
        assert all(is_held_out("prompt", s.user) == out for s in samples)
        assert all(is_held_out("wording", wording) == out for s in samples for wording in s.wordings)
        assert not any(is_held_out("topic", s.topic) for s in samples)
        assert all(s.answer in gold for s in samples) == kind.startswith("gold")
        personas = {s.persona for s in samples}
        assert (personas == {"plain"}) == ("plain" in kind) and ("plain" in personas) == ("persona" not in kind)


@pytest.mark.parametrize("name", VARIATIONS)
def test_every_variation_changes_what_it_names_and_can_be_trained(name: str):
    base, settings = (settings_of(SETTINGS, one, 800) for one in ("base", name))
    changed = {key: value for key, value in settings.items() if base[key] != value}
    assert changed == VARIATIONS[name] and settings["steps"] == 800
    assert learning_rate_at(199, settings) == settings["learning_rate"]
    assert learning_rate_at(799, settings) == pytest.approx(0.05 * settings["learning_rate"], rel=0.01)
    model = build_model(settings, train_tokenizer(iter([Sample((), "Why?", "So.")] * 3), 300))
    width, wide, layers = (settings[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers"))
    matrices = settings["vocab_size"] * width + layers * (4 * width**2 + 3 * width * wide)
    assert sum(p.numel() for p in model.parameters() if p.ndim == 2) == matrices
    assert model(torch.arange(4, device=model.device)[None]).logits.shape == (1, 4, settings["vocab_size"])
    corpus = Corpus(settings)
    assert next(corpus.samples(1)).answer


def test_finished_runs_are_kept_and_others_of_other_settings_refused(tmp_path):
    file, asked = tmp_path / "runs.json", []

    def run(name: str) -> dict:
        asked.append(name)
        if name == "gold 0":
            raise KeyboardInterrupt
        return {"parameters": len(asked)}

    with pytest.raises(KeyboardInterrupt):
        complete(file, {"steps": 3}, ["base", "gold 0", "d 320"], run)
    assert list(json.loads(file.read_text())["runs"]) == ["base"]
    kept = complete(file, {"steps": 3}, ["base", "d 320"], run)
    assert asked == ["base", "gold 0", "d 320"] and kept == json.loads(file.read_text())
    assert kept["runs"] == {"base": {"parameters": 1}, "d 320": {"parameters": 3}}
    with pytest.raises(ValueError, match="other steps"):
        complete(file, {"steps": 4}, ["base"], run)


def test_the_command_trains_judges_and_prints_a_table(tmp_path, monkeypatch, capsys):
    """Tiny, from end to end: a model of 600 tokens after 9 steps, which knows next to nothing."""
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({**SETTINGS, **TINY}))
    monkeypatch.setattr(mixtures, "CONFIG", tmp_path / "config.yaml")
    for name, count in {"TOKENIZER_SAMPLES": 200, "JUDGED": 3, "PER_PERSONA": 1}.items():
        monkeypatch.setattr(mixtures, name, count)
    monkeypatch.setattr(mixtures, "PersonaClassifier", partial(PersonaClassifier, per_voice=8))
    file = tmp_path / "runs.json"
    monkeypatch.setattr(sys, "argv", ["mixtures", "--steps", "9", "--json", str(file), "--only", "gold 0"])
    mixtures.main()
    runs = json.loads(file.read_text())["runs"]
    printed = capsys.readouterr().out
    assert printed.splitlines()[-3:] == table(runs) and "| gold 0 | 0.0M |" in printed
    run = runs.pop("gold 0")
    assert not runs and run["changed"] == {"gold_share": 0.0}
    assert run["seconds_a_step"] > 0 and run["characters_a_token"] > 1
    # At random, every token costs ln 600; nine steps teach a little.
    nats_a_token = [nats * run["characters_a_token"] for nats in run["nats_per_character"].values()]
    assert len(nats_a_token) == 7 and all(0.5 < nats / math.log(600) < 1.3 for nats in nats_a_token)
    assert {one["n"] for one in run["greedy, held-out wordings"].values()} == {24}
    monkeypatch.setattr(sys, "argv", ["mixtures", "--json", str(file), "--only", "bse"])
    with pytest.raises(SystemExit):
        mixtures.main()
    assert "unknown runs: bse" in capsys.readouterr().err
