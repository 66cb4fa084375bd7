"""What the benchmarks' figures stand on: the shapes are the published ones, both sides of a race do the same work, and the sums are right."""

import json
import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from app.decoding.arms import ARM_NAMES, DecodeSettings
from app.insights_quick import quick
from app.model import LanguageModel
from app.starter import WEIGHTS_FOLDER
from storage.store import Store
from storage.tallies import Selection
from tests.benchmarks import growth, growth_storage, shapes, sides, votes
from tests.benchmarks.limits import Limits, shares, step_bytes, token_operations
from tests.benchmarks.race import Row, race, ratios, report

GREEDY = DecodeSettings(temperature=0.0, max_new_tokens=12)


@pytest.fixture
def endless(llama: LanguageModel) -> LanguageModel:
    """The tiny Llama, which never ends an answer, as the models of the benchmarks."""
    llama.end_ids = frozenset()
    llama._model.generation_config.eos_token_id = None
    return llama


@pytest.mark.parametrize(("name", "parameters"), [("135m", 134_515_008), ("0.5b", 494_032_768)])
def test_shapes_have_the_published_number_of_parameters(name: str, parameters: int):
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(shapes.SHAPES[name])
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_the_padded_vocabulary_splits_texts_as_the_starter_does_and_can_say_every_token():
    padded, size = shapes.padded_tokenizer(6000), 6000
    known = LanguageModel.load("starter").tokenizer
    text = "Why is the sky blue? Naïve 4096, matey."
    assert len(padded) == size > len(known) and padded.chat_template == known.chat_template
    assert padded(text)["input_ids"] == known(text)["input_ids"]
    assert all(padded.decode([token]) for token in (5, len(known), size - 1))


def test_random_weights_are_as_sure_of_the_next_token_as_a_trained_model():
    small = shapes.narrow(LanguageModel.load("starter"))
    ids = torch.randint(5, 4000, (1, 40))
    with torch.inference_mode():
        logits, _ = small.forward(ids, torch.ones_like(ids), torch.arange(40)[None], None)
    assert logits.std() == pytest.approx(shapes.SPREAD, rel=0.5)
    assert len(small._model.model.layers) == json.loads((WEIGHTS_FOLDER / "config.json").read_text())["num_hidden_layers"]  # fmt: skip
    assert sum(p.numel() for p in small._model.parameters()) < 500_000 and small.end_ids == frozenset()


def test_every_side_writes_the_same_words_where_the_rules_are_the_same(endless: LanguageModel):
    """At ratio 0 the aligned arm is the prompted one for everybody."""
    pairs = [[[5, 9, 30, 12], [5, 80, 9, 31, 12, 40]], [[7, 8], [7, 8, 9]]]
    zero = GREEDY.model_copy(update={"ratio": 0.0})
    for pair in pairs:
        texts = sides.ours(endless, pair, zero)
        assert texts == sides.generated_thrice(endless, pair, zero)
        assert texts["linear_aligned"] == sides.two_caches(endless, pair, zero)
        assert set(map(len, texts.values())) == {12}
    aligned = [sides.ours(endless, pair, GREEDY, ("linear_aligned",)) for pair in pairs]
    assert [text["linear_aligned"] for text in aligned] == [sides.two_caches(endless, pair, GREEDY) for pair in pairs]


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_comparisons_at_once_say_what_they_say_one_after_another(endless: LanguageModel, temperature: float):
    pairs = [[[5, 9, 30, 12], [5, 80, 9, 31, 12, 40]], [[7, 8], [7, 8, 9]], [[50], [60, 50]]]
    settings = DecodeSettings(temperature=temperature, max_new_tokens=10)
    together = sides.ours_at_once(endless, pairs, settings)
    assert together == [sides.ours(endless, pair, settings) for pair in pairs]
    assert all(list(texts) == list(ARM_NAMES) for texts in together)


def test_sides_take_turns_at_going_first_and_nothing_is_lost():
    order: list[str] = []
    heat = {side: lambda side=side: order.append(side) or side for side in "xyz"}
    seconds, returned = race(lambda repeat: [heat] * 3, 2)
    assert order == list("xyzzyx" * 3)
    assert returned == [{side: side for side in "xyz"}] * 6
    assert len(seconds) == 2 and all(set(sums) == set("xyz") for sums in seconds)
    assert ratios([{"x": 3.0, "y": 2.0}, {"x": 1.0, "y": 4.0}], "x", "y") == [1.5, 0.25]


@pytest.mark.parametrize(
    ("bar", "at_least", "passed"), [(2.0, True, True), (2.1, True, False), (2.0, False, True), (1.9, False, False), (None, True, None)]
)  # fmt: skip
def test_the_median_decides_about_the_bar(bar, at_least, passed, tmp_path: Path, capsys: pytest.CaptureFixture):
    row = Row("a", "something", [5.0, 1.0, 2.0], bar, at_least)
    assert row.value == 2.0 and row.passed is passed
    report([row], {"model": "starter"}, tmp_path / "x.json")
    kept = json.loads((tmp_path / "x.json").read_text())
    assert kept["rows"][0]["passed"] is passed and kept["rows"][0]["bar"] == bar and kept["machine"]["cores"] >= 1
    assert ("MISSED" in capsys.readouterr().out) is (passed is False)


def test_shares_of_the_limits_by_hand():
    found = shares(Limits(bandwidth=100.0, peak=1000.0), seconds=2.0, python_seconds=0.5, operations=200.0, moved=150.0)
    assert found == {"compute": 0.1, "python": 0.25, "bandwidth": 0.75, "bound": "bandwidth"}
    assert shares(Limits(100.0, 1000.0), 2.0, 1.9, 200.0)["bound"] == "python"


def test_what_a_step_reads_and_computes_by_hand():
    model = shapes.load("starter", torch.float32)
    weights = sum(p.numel() for p in model._model.parameters())
    assert step_bytes(model, rows=2, columns=10) == 4 * (weights + 2 * 10 * 2 * 6 * 8 * 32)
    assert token_operations(model, columns=10) == 2 * weights + 4 * 10 * 6 * 8 * 32


def test_the_exponent_of_growth():
    points = [{"n": n, "seconds": 3.0 * n**2} for n in (1, 10, 100)]
    assert growth.exponent(points, "n", "seconds") == pytest.approx(2.0)
    assert math.isclose(growth.exponent([{"n": 2, "s": 5.0}, {"n": 8, "s": 5.0}], "n", "s"), 0.0)


def test_what_bounds_a_cost_is_said_with_the_nearest_limit_first(tmp_path: Path):
    reading = {"prefill_compute": 0.5, "prefill_python": 0.8, "prefill_bound": "python"}
    writing = {"step_compute": 0.1, "step_bandwidth": 0.614, "step_python": 0.3, "step_bound": "bandwidth"}
    assert growth.bounds("context", {"context": 1024, "step_seconds": 2.0, **reading, **writing}) == [
        "context 1,024, prefill: python 80%, compute 50%",
        "context 1,024, step: bandwidth 61%, python 30%, compute 10%",
    ]
    calls = {"count_seconds": 0.1, "count_cpu": 0.98, "vote_seconds": 0.2, "vote_cpu": 0.4}
    assert growth.bounds("votes", {"votes": 10, **calls}) == ["votes 10, processor busy: count 98%, vote 40%"]
    points = [{"context": n, "step_seconds": float(n), **reading, **writing} for n in (64, 128, 256, 512, 1024)]
    growth.plot({"context": points, "rows": [{**p, "rows": p["context"]} for p in points]}, "both", tmp_path / "p.png")
    assert 2_000 < (tmp_path / "p.png").stat().st_size < 60_000  # three of them are to be committed


def test_the_filled_store_holds_what_it_says(tmp_path: Path):
    store = Store(tmp_path)
    growth_storage.fill(store, 30)
    growth_storage.fill(store, 60)
    assert store.counts()["votes"] == store.counts()["rounds"] == store.count_decisive() == len(store.votes()) == 60
    assert 0 < store.count_decisive("p3") < 5


def test_every_vote_of_the_benchmark_of_votes_is_counted(tmp_path: Path):
    store = Store(tmp_path)
    votes.fill(store, 600)
    found = quick(store.database, Selection(), raters=True)
    assert found.votes == len(store.votes()) == 600
    assert sum(part.decisive.n for pair in found.pairs for part in pair.raters) == store.count_decisive() > 400
    assert len(found.pairs) == 3 * votes.VERSIONS
