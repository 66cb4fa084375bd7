"""Several visitors at once over HTTP, on the page and by the API: nobody is refused, nobody gets another's answer, and the sums are right."""

from pathlib import Path

import pytest

from app.ui.render import Pane, panes
from storage.records import Answer
from tests.benchmarks import vanishing
from tests.benchmarks.load import growth_mb, jain, measured, percentiles, same
from tests.benchmarks.tab import in_order, texts


def test_visitors_at_once_get_their_own_answers(talker: Path, tmp_path: Path):
    found = measured(tmp_path, visitors=4, seconds=6, pause=0.2, leave=0.1, model=str(talker))
    assert found["errors"] == [] and not found["traceback"]
    assert found["comparisons"] == found["votes"] >= 3 and found["fairness"]["most"] >= 1
    assert found["shrank_or_changed"] == 0
    assert found["asked_again_alone"] >= 3 and found["mixed_up"] == 0
    for way in ("page", "api"):
        assert 0 < found[f"first_token_seconds_{way}"]["p50"] <= found["comparison_seconds"]["most"]


def test_fairness_is_jains_index():
    assert jain([3, 3, 3, 3]) == 1 and jain([1, 0, 0, 0]) == 0.25
    assert jain([2, 4]) == pytest.approx(36 / 40)


def test_growth_begins_after_the_warm_up():
    memory = [(float(second), 100 + 10 * min(second, 60) + (second > 100) * 30) for second in range(301)]
    assert growth_mb(memory, 60) == 30 and growth_mb(memory, 110) == 0 and growth_mb(memory, 0) > 400


def test_percentiles_are_of_the_sorted_seconds():
    assert percentiles([float(number) for number in range(100, -1, -1)]) == {"p50": 50, "p95": 95, "most": 100}
    assert percentiles([2.0]) == {"p50": 2, "p95": 2, "most": 2}


def test_answers_are_read_from_the_markup_as_they_were_written():
    said = ["a <b> & c", " two\nlines ", ""]
    shown = panes([Pane("Plain", "why", Answer("baseline", text, [1], "end", 0.1), "baseline") for text in said])
    assert texts(shown) == said
    assert same(["one ", "two"], ["one", " two"]) and not same(["one", "two"], ["two", "one"])


def test_arguments_stand_in_their_order_and_a_strange_one_is_refused():
    wanted = [{"parameter_name": "a"}, {"parameter_name": "b", "parameter_default": 7}]
    info = {"named_endpoints": {"/f": {"parameters": wanted}}}
    assert in_order(info, "f", {"a": 1}) == [1, 7] and in_order(info, "f", {"b": 2, "a": 1}) == [1, 2]
    with pytest.raises(ValueError, match="does not take c"):
        in_order(info, "f", {"c": 3})


def test_who_vanishes_on_the_page_or_over_the_api_is_measured_until_the_place_is_free(tmp_path: Path):
    found = vanishing.measured(tmp_path, str(vanishing.endless(tmp_path / "model")), times=1, at_once=2)
    assert found["ended_by_themselves"] == 0 and not found["traceback"]
    ways = [(row["way"], row["visitors_at_once"], row["while_learning"]) for row in found["rows"]]
    assert ways == [(way, n, learns) for n, learns in ((1, False), (2, False), (1, True)) for way in ("page", "api")]
    assert all(0 < row["seconds"]["p50"] <= row["seconds"]["most"] for row in found["rows"])
