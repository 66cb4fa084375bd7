"""The learning room over a tiny model: fidelity of choices, curves, two versions side by side, and the way back."""

import re
from pathlib import Path
from typing import Any

import pytest
import torch
from pydantic import SecretStr

from app.annotators.implicit import ImplicitJudge
from app.compare import Request
from app.decoding.arms import DecodeSettings
from app.errors import InputError, NotAllowedError, NotFoundError
from app.learn import Outcome
from app.refresh.pairs import make_pair
from app.refresh.trainer import RefreshSettings, Step
from app.services import Services, build
from app.settings import Settings
from app.ui import compare_panes, learn_render, render
from app.ui.charts import nice_top, running_mean
from app.ui.insights_render import entity as told_entity
from app.ui.versus_section import running_panes
from app.versus import Duel, Versus
from storage.records import Answer, Version, Vote
from storage.tallies import Selection, entity, tallies
from tests.rounds import BAD, GOOD, add_choice

SHORT = DecodeSettings(temperature=0, max_new_tokens=8)


def made(services: Services, version: str, parent: str | None = "", publish: bool = False) -> None:
    """A version that answers differently from the original model."""
    model = services.model

    def make() -> None:
        with torch.random.fork_rng():
            torch.manual_seed(1)
            for parameter in model.new_adapter("made", 4, 1):
                with torch.no_grad():
                    parameter.normal_(0, 0.3)
        services.versions.adapters.write(version, lambda folder: model.save_adapter("made", folder))
        model.drop_adapter("made")

    services.worker.call(make)
    row = Version(version, "", model.name, model.revision, {}, 8, 2, {}, 1.0, publish, "by hand", parent=parent)
    services.store.add_version(row, publish=publish)


def begin(services: Services, one: str = "none", other: str = "v1", **values: Any) -> Duel:
    given = {
        "messages": (("user", "Why is the sky blue?"),),
        "persona": "pirate",
        "arms": ("baseline",),
        "settings": SHORT,
    }
    return services.versus.start(Request(**{**given, **values}), one, other, "ann")


# --- what choices teach


def test_fidelity_is_the_judges_margin_from_the_chosen_sides_point_of_view(services: Services):
    add_choice(services.store, 1)
    add_choice(services.store, 2, choice="second")  # prefers BAD
    add_choice(services.store, 3, choice="tie")
    add_choice(
        services.store, 4, principles=[{"text": "Be kind.", "weight": 1.0}, {"text": "Be brief.", "weight": 1.0}]
    )
    judge = ImplicitJudge(services.model)
    first, second = (
        services.worker.call(
            lambda n=n: (
                judge.prefer(
                    [{"role": "user", "content": f"Question {n} of pirate?"}], "Answer as a pirate.", GOOD, BAD
                ).margin
            )
        )
        for n in (1, 2)
    )
    found = services.learned.fidelity("pirate")
    assert (found.measure, found.n) == ("fidelity", 2)
    assert found.mean == pytest.approx((first - second) / 2, abs=1e-6)
    assert services.learned.fidelity(None) == found  # each round is judged once, and says the same again
    assert services.learned.fidelity("zen") is None
    taught = services.learned.texts("pirate")
    assert (taught.pairs, taught.prompts) == (3, 3)


# --- curves


def test_every_step_of_a_refresh_is_one_dot_of_every_curve(services: Services):
    pairs = [make_pair([{"role": "user", "content": f"Question {n}?"}], GOOD, BAD) for n in range(8)]
    *steps, outcome = services.learn.refresh(pairs, "", RefreshSettings(epochs=3, learning_rate=0.01))
    assert [step.step for step in steps] == list(range(1, steps[0].steps + 1))
    assert isinstance(outcome, Outcome) and [round(s.loss, 6) for s in steps] == outcome.losses
    shown = learn_render.curves(steps)
    paths = re.findall(r'<path d="([^"]*)"', shown)
    lines = re.findall(r'<polyline points="([^"]*)"', shown)
    assert len(paths) == len(lines) == 3
    for path, line in zip(paths, lines, strict=True):
        across = [float(x) for x in re.findall(r"M([\d.]+) ", path)]
        assert len(across) == len(steps) == len(line.split()) and across == sorted(set(across))
        assert across[-1] == 292  # the right edge: the axis was as long as the run from the beginning
    # What is drawn already stays where it is while later steps come: accuracies have fixed bounds.
    half = re.findall(r'<path d="([^"]*)"', learn_render.curves(steps[:3]))
    assert len(steps) > 3 and paths[1].startswith(half[1])
    assert f"step {steps[1].step} of {steps[0].steps}" in learn_render.training(steps[:2])
    page = learn_render.outcome(outcome, steps, "the original model")
    assert "before: the original model" in page and page.count("<svg") >= 3


def test_a_running_mean_and_a_bound_by_hand():
    assert running_mean([(1, 2.0), (2, 4.0), (3, 9.0)], 2) == [(1, 2.0), (2, 3.0), (3, 6.5)]
    assert [nice_top(value) for value in (0.0, 0.3, 0.5, 1.2, 7, 10, 11)] == [1.0, 0.5, 0.5, 2.0, 10.0, 10.0, 20.0]


def test_margins_below_zero_stay_in_the_picture():
    steps = [Step(1, 2, 0.7, 0.0, -1.5), Step(2, 2, 0.6, 1.0, 0.5)]
    heights = [float(y) for y in re.findall(r"M[\d.]+ (-?[\d.]+)h0", learn_render.curves(steps))]
    assert all(0 <= y <= 110 for y in heights) and len(heights) == 6


# --- two versions side by side


def test_two_versions_say_what_each_says_alone_and_are_stored_under_their_names(services: Services):
    made(services, "v1")
    alone = {}
    for adapter in ("none", "v1"):
        request = Request(
            messages=(("user", "Why is the sky blue?"),),
            persona="pirate",
            arms=("baseline",),
            settings=SHORT,
            adapter=adapter,
        )
        *_, last = services.compare.run(services.compare.start(request, "ann"))
        alone[entity("baseline", adapter.replace("none", ""))] = last.answers["baseline"].text
    duel = begin(services)
    progress = list(services.versus.run(duel))
    last = progress[-1]
    assert (
        {name: answer.text for name, answer in last.answers.items()}
        == alone
        == {
            "baseline": alone["baseline"],
            "baseline @ v1": alone["baseline @ v1"],
        }
    )
    assert alone["baseline"] != alone["baseline @ v1"]
    # In step: neither side is ever more than a token ahead, unless the other has ended.
    for step in progress:
        one, other = step.answers.values()
        assert abs(len(one.token_ids) - len(other.token_ids)) <= 1 or one.finish_reason or other.finish_reason
    stored = services.store.round(duel.round_id)
    assert (stored.adapter, stored.blind, stored.persona) == ("", False, "pirate")
    assert (stored.first_arm, stored.second_arm) == ("baseline", "baseline @ v1") == tuple(stored.answers)
    services.store.vote(Vote(duel.round_id, "ann", "second"))
    (tally,) = tallies(services.store.database, Selection())
    assert (tally.one, tally.other, tally.other_second) == ("baseline", "baseline @ v1", 1)
    assert told_entity(tally.other) == "the plain answer of v1"
    assert [pair.chosen for pair in services.learn.pairs("pirate")] == [alone["baseline @ v1"]]
    panes = compare_panes.revealed_panes(stored, "second")
    assert [(pane.title, pane.picked) for pane in panes] == [("Plain", False), ("Plain of v1", True)]


def test_sides_of_a_blind_comparison_are_drawn_by_lot_and_the_markup_hangs_on_the_texts_alone(services: Services):
    made(services, "v1", "")
    firsts = [begin(services, blind=True, other="v1*0.5").names[0] for _ in range(40)]
    assert {"baseline", "baseline @ v1*0.5"} == set(firsts)  # missed by chance once in 10^12

    class Told:
        """What `answer` of a comparison yields, with texts by side."""

        def __init__(self, duel: Duel):
            self.answers = {
                name: Answer(name, text, [], "end", seconds)
                for name, text, seconds in zip(duel.names, ("tea", "coffee"), (0.1, 9.9), strict=True)
            }

    drawn = {duel.names[0]: duel for duel in (begin(services, blind=True) for _ in range(40))}
    pages = {render.panes(running_panes(duel, Told(duel))) for duel in drawn.values()}
    assert len(drawn) == 2 and len(pages) == 1
    (page,) = pages
    for secret in ("baseline", "Plain", "v1", "original", "9.9", "0.1"):
        assert secret not in page
    assert "First answer" in page and page.index("tea") < page.index("coffee")


@pytest.mark.parametrize(
    ("one", "other", "values", "message"),
    [
        ("v1", "v1*1", {}, "both sides are answered by v1; choose two"),
        ("none", "v1*0", {}, "both sides are answered by the original model"),
        ("none", "v1", {"arms": ("baseline", "linear_aligned")}, "2 arms were asked for"),
        ("none", "v9*2", {}, "v9"),
        ("none", "v1", {"messages": (("user", " "),)}, "the prompt is empty"),
    ],
)
def test_what_is_no_comparison_of_two_versions_is_refused(
    services: Services, one: str, other: str, values: dict[str, Any], message: str
):
    made(services, "v1", "")
    with pytest.raises((InputError, NotFoundError), match=re.escape(message)):
        begin(services, one, other, **values)
    assert services.store.counts()["rounds"] == 0


def test_cancelling_ends_both_sides_and_keeps_what_was_written(services: Services):
    made(services, "v1")
    duel = begin(services, settings=DecodeSettings(temperature=0, max_new_tokens=100))
    running = services.versus.run(duel)
    next(running)
    services.versus.cancel(duel.round_id)
    *_, last = running
    assert last.done and "cancelled" in {answer.finish_reason for answer in last.answers.values()}
    assert services.store.round(duel.round_id).answers == last.answers
    Versus(services.compare, services.store).cancel("never was")


# --- the way back


def test_rolling_back_goes_from_parent_to_parent_down_to_the_original_model(services: Services):
    made(services, "v1", "", publish=True)
    made(services, "v2", "v1", publish=True)
    assert services.learn.roll_back("") == "v1" == services.versions.in_use("")
    assert services.learn.roll_back("pirate") == ""  # of the pirate alone; all others stay with v1
    assert (services.versions.in_use("pirate"), services.versions.in_use("zen")) == ("", "v1")
    assert services.learn.roll_back("") == ""
    with pytest.raises(InputError, match="the original model answers already"):
        services.learn.roll_back("")
    made(services, "v3", None, publish=True)
    with pytest.raises(InputError, match="what v3 came after is not known"):
        services.learn.roll_back("")
    assert services.versions.in_use("") == "v3"


def test_rolling_back_is_the_owners(tiny_folders: dict[str, Path], tmp_path: Path):
    settings = Settings(
        data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu", admin_token=SecretStr("the owner's")
    )
    services = build(settings)
    made(services, "v1", "", publish=True)
    with pytest.raises(NotAllowedError):
        services.learn.roll_back("")
    assert services.versions.in_use("") == "v1" and services.learn.roll_back("", "the owner's") == ""
