"""What the choice of rank, rate, epochs and end stands on: the shapes of the learning rate, when it is enough, and the sums."""

import math

import pytest

from app.refresh import learner
from app.refresh.learner import Step
from app.refresh.pairs import make_pair
from tests.benchmarks import schedule
from tests.benchmarks.learning import CANDIDATES, on_topic

PAIRS = [
    make_pair([{"role": "user", "content": f"Tell me of {topic}."}], f"{topic}, matey!", f"One might consider {topic}.")
    for topic in ("tea", "the sky", "waves", "air", "a gruff captain")
]


def step(accuracy: float, margin: float) -> Step:
    return Step(1, 1, 0.0, accuracy, margin)


def test_the_shapes_by_hand():
    """20 steps warm up over 2; half of the way down the cosine stands at a half."""
    assert [schedule.constant(i, 20) for i in (0, 1, 10, 19)] == [0.5, 1, 1, 1]
    assert [schedule.cosine(i, 20) for i in (0, 1, 2, 11)] == pytest.approx([0.5, 1, 1, 0.5])
    assert schedule.cosine(19, 20) == pytest.approx((1 + math.cos(math.pi * 17 / 18)) / 2)
    assert schedule.cosine(0, 1) == schedule.constant(0, 1) == 1


def test_it_is_enough_once_a_whole_epoch_is_right_by_the_margin():
    assert schedule.is_enough([step(1, 5), step(1, 9)], 5)
    assert not schedule.is_enough([step(1, 4.9), step(1, 9)], 5)
    assert not schedule.is_enough([step(0.75, 9), step(1, 9)], 5)


def test_a_variation_learns_by_its_own_shape_to_its_own_end(llama):
    shapes = {}
    for name, shape in (
        ("linear", learner.schedule),
        ("constant", schedule.constant),
        ("none", lambda step, steps: 0.0),
    ):
        variation = schedule.changed(11, shape, learning_rate=1e-2)
        shapes[name] = [s.loss for s in schedule.learnt(llama, PAIRS, variation)]
        llama.drop_adapter(schedule.ADAPTER)
    assert {len(losses) for losses in shapes.values()} == {12}
    assert shapes["none"] == pytest.approx([math.log(2)] * 12) and shapes["linear"][-1] < 0.6
    assert shapes["linear"] != shapes["constant"]
    steps = schedule.learnt(llama, PAIRS, schedule.changed(80, enough=2, learning_rate=1e-2))
    assert 4 < len(steps) < 80 and schedule.is_enough(steps[-2:], 2)
    assert not any(schedule.is_enough(steps[i - 2 : i], 2) for i in range(2, len(steps)))


def test_every_row_is_measured_on_what_was_not_learnt_from_and_leaves_nothing(llama, monkeypatch):
    monkeypatch.setattr(schedule, "UNSEEN", 3)
    monkeypatch.setitem(schedule.VARIATIONS, "short", schedule.changed(2))
    schedule.topics_of.cache_clear()
    cells = {
        name: {"pirate": schedule.measured(llama, "pirate", 0, PAIRS * 2, 6, name)}
        for name in (schedule.PLAIN, schedule.ASKED, "short", schedule.BEFORE)
    }
    schedule.topics_of.cache_clear()
    assert not [name for name, _ in llama._model.named_parameters() if f".{schedule.ADAPTER}." in name]
    assert len(cells["short"]["pirate"]["gaps"]) == 4 and cells["short"]["pirate"]["steps"] == 2
    assert cells[schedule.BEFORE]["pirate"]["steps"] == schedule.BASE_STEPS
    assert all(len(cell["pirate"][flag]) == 3 for cell in cells.values() for flag in schedule.FLAGS)
    rows = {name: schedule.summary(found, cells[schedule.BEFORE]) for name, found in cells.items()}
    assert "steps" not in rows[schedule.PLAIN] and len(schedule.table(rows).splitlines()) == 6


def test_naming_the_subject_is_not_telling_of_it_and_a_word_in_common_with_nobody_is_not_on_topic():
    everything = [
        {
            "subject": f"a thing{i}",
            "prompts": [f"What about thing{i}?"],
            "plain": f"use{i} it",
            "short": f"use{i}",
            "points": [],
        }
        for i in range(CANDIDATES + 5)
    ]
    topics = everything[:4]
    said = ["A thing0 needs use0.", "No data on thing1.", "use3 of thing3, surely.", "qwertyuiop"]
    assert on_topic(said, topics, everything) == [True, True, False, False]
    assert on_topic(said, topics, everything, beyond=True) == [True, False, False, False]
    assert on_topic(["use3 of thing3, surely."], everything[3:4], everything, beyond=True) == [True]


def test_sums_over_styles_by_hand():
    """Two styles, four prompts: the first loses one topic of four, the second none."""
    before = {flag: [1, 1, 1, 1] for flag in schedule.FLAGS} | {"words": [9] * 4}
    learnt = {**before, "on_topic": [1, 1, 1, 0], "gaps": [3.0, -1.0, 0.0, 2.0], "steps": 5, "seconds": 2.0}
    other = {**before, "gaps": [1.0] * 4, "steps": 7, "seconds": 4.0}
    found = schedule.summary({"robot": learnt, "curt": other}, {"robot": before, "curt": before})
    assert found["on_topic"]["value"] == 7 / 8 and found["lowest on_topic"] == 3 / 4
    assert found[f"on_topic minus {schedule.BEFORE}"]["value"] == -1 / 8
    assert (found["accuracy"]["value"], found["accuracy"]["n"]) == (6.5 / 8, 8)
    assert (found["steps"], found["seconds"], found["margin"]["value"]) == ([5, 7], 3.0, 1.0)
    assert schedule.summary({"robot": learnt}, {})["styles"] == 1


def test_a_run_is_held_against_the_run_of_the_same_draw_and_prompts():
    """Rank 32 is ahead by a half of the topics in one run and behind by a quarter in the other; a run without its twin counts not."""

    def cell(*topics: int) -> dict:
        return {flag: [1, 1, 1, 1] for flag in schedule.FLAGS} | {"on_topic": topics}

    first = {
        schedule.BEFORE: {"robot": cell(1, 1, 0, 0), "curt": cell(0, 0, 0, 0)},
        "rank 32": {"robot": cell(1, 1, 1, 1)},
    }
    second = {"draw 1": {"robot": cell(1, 1, 1, 1)}, "rank 32, draw 1": {"robot": cell(1, 1, 1, 0)}}
    found = schedule.run_by_run([first, second])
    assert found["runs"] == 2 and found["on_topic"]["rank 32 minus rank 8"]["value"] == 1 / 8
    assert found["on_topic"]["lowest of each"] == [0.5, 0.75] and found["style"]["rank 32 minus rank 8"]["value"] == 0
