"""What the proof reads off its evaluations, by hand."""

import pytest

from app.refresh.feedback import OnlineSettings
from tests.benchmarks import proof, proof_online
from tests.benchmarks.proof_run import gain


def win(judge: str, one: str, other: str, mean: float, low: float, high: float) -> dict:
    rate = {"value": 0.5 + mean, "n": 7, "interval": [0, 1]}
    return {"judge": judge, "one": one, "other": other, "rate": rate, "gain": {"value": mean, "n": 7, "interval": [low, high]}}  # fmt: skip


def figures(name: str, markers: float, fluent: float, forwards: float) -> dict:
    scores = {column: {"value": value, "n": 7} for column, value in (("markers", markers), ("fluent", fluent))}
    return {"name": name, "scores": scores, "words": 3.0, "forwards": forwards, "seconds": forwards / 10}


RESULTS = {
    "wins": [
        win("markers", "linear_aligned ratio=2", "principle_prompted", 0.2, 0.1, 0.3),
        win("fluent", "linear_aligned ratio=2", "principle_prompted", -0.01, -0.03, 0.01),
        win("fluent", "linear_aligned ratio=8", "principle_prompted", -0.1, -0.15, -0.05),
        win("fluent", "linear_aligned ratio=20", "principle_prompted", -0.2, -0.3, -0.1),
    ],
    "figures": [
        figures("principle_prompted", 0.5, 0.9, 10),
        figures("linear_aligned ratio=2", 0.6, 0.9, 20),
        figures("linear_aligned ratio=8", 0.8, 0.8, 25),
        figures("amulet", 0.75, 0.4, 30),
    ],
}


def test_a_gain_turned_round_is_a_loss():
    straight = gain(RESULTS, "markers", "linear_aligned ratio=2", "principle_prompted")
    turned = gain(RESULTS, "markers", "principle_prompted", "linear_aligned ratio=2")
    assert straight == {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 7, "win rate": 0.7}
    assert turned == {"mean": -0.2, "low": -0.3, "high": -0.1, "n": 7, "win rate": pytest.approx(0.3)}
    with pytest.raises(KeyError, match="not compared by markers"):
        gain(RESULTS, "markers", "amulet", "baseline")


def test_fluency_breaks_where_the_whole_interval_lies_below():
    ratios = [f"linear_aligned ratio={r}" for r in (2, 8, 20)]
    assert proof.broken(RESULTS, ratios)["first"] == "linear_aligned ratio=8"
    assert proof.broken(RESULTS, ratios[:1])["first"] is None


def test_amulet_stands_beside_the_ratio_of_its_own_fidelity():
    found = proof.against_linear(RESULTS, "amulet", ["linear_aligned ratio=2", "linear_aligned ratio=8"], "markers")
    assert found["linear"]["name"] == "linear_aligned ratio=8" and found["linear"]["forwards of prompted"] == 2.5
    assert (found["arm"]["forwards of prompted"], found["arm"]["fluent"]["value"]) == (3.0, 0.4)


def test_a_point_of_a_curve_by_hand():
    found = proof_online.point(["Boil it, dear.", "- Boil it.\n- Pour it.", "word " * 20], step=8)
    assert found["step"] == 8 and found["words"]["value"] == pytest.approx((3 + 6 + 20) / 3)
    assert [found[told]["value"] for told in proof_online.TOLD] == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    assert found["well_formed"]["value"] == pytest.approx(2 / 3)


def test_both_ways_of_learning_get_as_many_labels_and_are_measured_as_often(llama):
    settings = OnlineSettings(steps=4, prompts_per_step=2, evaluate_every=2, max_new_tokens=8, patience=1000)
    curves = []
    for way in (proof_online.online, proof_online.offline):
        curves.append(list(way(llama, "curt", 3, settings)))
        llama.drop_adapter("proof")
    for curve in curves:
        assert [(point["step"], point["labels"]) for point in curve] == [(0, 0), (2, 4), (4, 8)]
        assert all(point["words"]["n"] == point["lists"]["n"] == 3 for point in curve)
    # Both begin as the original model, and the answers are greedy.
    assert curves[0][0]["words"] == curves[1][0]["words"]
