"""What the proof reads off its evaluations, by hand; that its parts go on where they were killed; what its report says."""

import json
from pathlib import Path

import pytest

from app.refresh.feedback import OnlineSettings
from app.refresh.methods import OBJECTIVES, ONLINE
from tests.benchmarks import proof, proof_methods, proof_online, proof_report, proof_steered, proof_table
from tests.benchmarks.proof_run import gain, kept, paired
from tests.test_readme import TESTS


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


CASES = [
    {"prompt": prompt, "answers": {arm: {"scores": {"markers": markers, "fluent": 1.0}} for arm, markers in scores.items()}}
    for prompt, scores in [
        ("Why?", {"amulet": 1.0, "linear_aligned ratio=2": 0.5, "linear_aligned ratio=8": 1.0}),
        ("How?", {"amulet": 0.0, "linear_aligned ratio=2": 0.25, "linear_aligned ratio=8": None}),
    ]
]  # fmt: skip


@pytest.mark.parametrize(("equal", "forwards", "near"), [("fidelity", 30, 8), ("cost", 30, 8), ("cost", 21, 2)])
def test_amulet_stands_beside_the_ratio_of_its_own_fidelity_or_of_its_own_cost(equal, forwards, near):
    """By fidelity 0.75 lies nearer to 0.8 than to 0.6, whatever it costs; by cost 30 nearer to 25 than to 20, and 21 nearer to 20."""
    results = {**RESULTS, "figures": [*RESULTS["figures"][:3], figures("amulet", 0.75, 0.4, forwards)]}
    ratios = ["linear_aligned ratio=2", "linear_aligned ratio=8"]
    found = proof.against_linear(results, CASES, "amulet", ratios, "markers", equal)
    assert found["linear"]["name"] == f"linear_aligned ratio={near}" and found["equal"] == equal
    assert found["arm"]["forwards of prompted"] == forwards / 10 and found["arm"]["fluent"]["value"] == 0.4
    # Question by question: 1 - 0.5 and 0 - 0.25; of ratio 8 the judge has no say on the second.
    assert (found["markers gain"]["mean"], found["markers gain"]["n"]) == ((0.125, 2) if near == 2 else (0.0, 1))


def test_a_paired_difference_is_of_the_same_questions():
    found = paired(CASES, "markers", "amulet", "linear_aligned ratio=2")
    assert found["mean"] == 0.125 and found["low"] <= -0.25 and found["high"] >= 0.5
    assert paired(CASES, "fluent", "amulet", "linear_aligned ratio=2")["mean"] == 0.0


def test_what_was_made_is_kept_and_what_was_killed_is_made_again(tmp_path: Path):
    file, made = tmp_path / "rows" / "one.json", []

    def killed():
        raise KeyboardInterrupt

    def make():
        made.append(1)
        return {"seconds": 1.5}

    with pytest.raises(KeyboardInterrupt):
        kept(file, killed)
    assert kept(file, make) == kept(file, make) == {"seconds": 1.5} and made == [1]


def test_a_point_of_a_curve_by_hand():
    found = proof_online.point(["Boil it, dear.", "- Boil it.\n- Pour it.", "word " * 20], step=8)
    assert found["step"] == 8 and found["words"]["value"] == pytest.approx((3 + 6 + 20) / 3)
    assert [found[told]["value"] for told in proof_online.TOLD] == pytest.approx([2 / 3, 1 / 3, 1 / 3])
    assert found["well_formed"]["value"] == pytest.approx(2 / 3)
    before = proof_online.point(["Boil it at once, since it is " + "very " * 20 + "cold."] * 3, step=0)
    # Only the first two are short, and none was.
    ahead = proof_online.ahead_of(found, before, "shorter")
    assert ahead["mean"] == pytest.approx(2 / 3) and ahead["n"] == 3 and ahead["low"] <= ahead["mean"] <= ahead["high"]


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


def test_a_rule_prefers_more_of_what_it_counts():
    degrees = proof_steered.DEGREES
    assert [degrees["shorter"](text) for text in ("Boil it.", "")] == [-2, 0]
    assert degrees["warmer"]("You and your kettle: enjoy it, friend!") == 4 and degrees["warmer"]("Boil water.") == 0
    assert degrees["lists"]("First, fill it; then wait.\n- Pour.") == 5 and degrees["lists"]("Pour it.") == 0
    judge = proof_steered.RuleJudge(degrees["shorter"])
    assert judge.prefer([], "", "Boil it.", "Boil it now.").choice == "first"
    assert judge.prefer([], "", "Boil it now.", "Boil it.").choice == "second"
    assert judge.prefer([], "", "Boil it.", "Pour it.").choice is None


def test_a_loop_is_judged_by_the_rule_that_it_is_given(llama):
    settings = OnlineSettings(steps=2, prompts_per_step=2, evaluate_every=2, max_new_tokens=8, patience=1000)
    asked = []

    class Listening(proof_steered.RuleJudge):
        def prefer(self, *question: object):
            asked.append(question)
            return super().prefer(*question)

    for way in proof_steered.WAYS.values():
        asked.clear()
        points = list(way(llama, "curt", 3, settings, Listening(proof_steered.DEGREES["shorter"])))
        llama.drop_adapter("proof")
        assert len(asked) >= 4 and all(len(point["answers"]) == 3 for point in points)
        assert proof_steered.degrees_of(points[0], "shorter") == [-len(a.split()) for a in points[0]["answers"]]


TINY = OnlineSettings(steps=2, prompts_per_step=2, evaluate_every=2, max_new_tokens=6)


@pytest.fixture
def task(llama, tmp_path: Path) -> proof_methods.Task:
    return proof_methods.task_of(llama, tmp_path, 3, TINY)


def test_what_is_measured_on_is_never_learnt_from(llama, task, tmp_path: Path):
    asked = [{pair.question for pair in pairs} for pairs in (task.training, task.held_out, task.rated)]
    asked += [{messages[-1]["content"] for messages in prompts} for prompts in (task.asked, task.others)]
    assert [len(questions) for questions in asked[:3]] == [proof_methods.TRAINING, 3, 2 * proof_methods.RATED]
    for i, questions in enumerate(asked):
        assert all(questions.isdisjoint(others) for others in asked[:i])
    assert {(r.liked, r.demonstration) for r in task.rated} == {(False, False), (True, True)}
    assert proof_methods.task_of(llama, tmp_path, 3, TINY) == task, "what was sampled is kept"


def test_every_objective_and_every_loop_gets_a_row_and_leaves_no_adapter(llama, task):
    learners = proof_methods.learners(TINY)
    assert set(learners) == {*proof_table.TESTS, "before", proof_methods.ONLY_ASKED} >= {*OBJECTIVES, *ONLINE}
    for name in ("before", "ca", "oaif", "sail"):
        row = proof_methods.row(llama, task, learners[name], TINY)
        assert row["accuracy"]["n"] == row["style"]["n"] == 3 and row["seconds"] >= 0
        assert (row["margin"]["value"] == 0.0) == (name == "before"), "nothing was learnt, or nothing was measured"
        assert ("asked for the lowest" in row) == (name == "ca")
        assert proof_methods.ADAPTER not in (llama._peft.peft_config if llama._peft else {})


def test_the_report_says_what_was_measured_and_how_to_measure_the_rest(tmp_path: Path):
    share, mean = {"value": 0.75, "n": 24, "interval": [0.55, 0.88]}, {"value": 41.5, "n": 40, "interval": [30.0, 55.0]}
    row = {"accuracy": share, "margin": mean, "style": share, "well_formed": share, "seconds": 12.4, "steps": 35}
    about = {"limit": 3, "revision": "abc", "machine": {"cores": 2, "torch_threads": 1}}
    methods = {
        "style": "pirate",
        "settings": TINY.model_dump(),
        "rows": {"before": row, proof_methods.ONLY_ASKED: row, "ipo": row},
    }
    point = {"labels": 8, "shorter": share, "words": mean, "well_formed": share, "seconds": 61.0}
    ahead = {"mean": 0.25, "low": -0.05, "high": 0.5, "n": 24}
    curves = {"told": {"shorter": "curt"}, "curves": {f"shorter, {way}": [point] for way in ("online", "offline")}}
    curves["online minus offline"] = {"shorter": ahead}
    arms = {"arms": {"amulet": {"seconds of prompted": [1.0, 3.0, 1.5], "forwards an answer": 128}}}
    arms |= {"versions": {}, "seconds to mix": {}}
    steered = {"curves": {f"shorter, {way}": [point | {"degree": mean}] for way in ("online", "offline")}}
    steered["online minus offline"] = {"shorter": {"value": 4.0, "interval": [1.0, 7.5], "n": 24}}
    parts = (("methods", methods), ("online", curves), ("steered", steered), ("cost", arms))
    for part, found in parts:
        (tmp_path / f"proof-{part}.json").write_text(json.dumps(about | found))
    said = proof_report.report(tmp_path)
    assert "starter abc, limit 3, 2 cores of which torch uses 1" in said
    assert "**strength**: not measured (`python -m tests.benchmarks.proof --work FOLDER --parts strength`)" in said
    assert "| 8 | 0.75 [0.55, 0.88] | 0.75 [0.55, 0.88] | 41.5 [30.0, 55.0] |" in said and "| 61 | 61 |" in said
    assert "online minus offline on the same prompts: +0.25 [-0.05, +0.50] (n = 24)." in said
    assert "The rule prefers *shorter*:" in said and "on the same prompts: +4.0 [+1.0, +7.5] (n = 24)." in said
    assert "| amulet | 1.50 (1.00 to 3.00) | 128 |" in said and "| 1.50 times the seconds |" in said
    (ipo,) = (line for line in said.splitlines() if line.startswith("| ipo |"))
    assert "2310.12036" in ipo and "right 0.75 [0.55, 0.88] (n = 24), +41.5 nats [+30.0, +55.0]" in ipo
    assert ipo.endswith("| 12 s, 35 steps |")
    (dpo,) = (line for line in said.splitlines() if line.startswith("| dpo |"))
    assert dpo.endswith("| – | – |"), "a number that nobody measured"


def test_every_method_has_a_row_with_tests_that_there_are():
    rows = proof_table.methods_table({})[1].splitlines()
    assert len({len(row.split(" | ")) for row in rows[2:]}) == 1
    for name in (*OBJECTIVES, *ONLINE):
        assert any(row.startswith(f"| {name} |") for row in rows), name
    named = {test for tests in proof_table.TESTS.values() for test in tests}
    named |= {test for method in proof_table.DECODING for test in method.tests}
    assert named <= TESTS, named - TESTS
