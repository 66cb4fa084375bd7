"""Arms beyond the three where people choose them: best of n in a comparison, what is refused, and studies of any two arms."""

from typing import Any

import pytest

from app.annotators.implicit import ImplicitJudge
from app.arms_asked import check_needs, checked_arms
from app.best_of import best_of
from app.compare import Comparison, Principle, Progress, Request
from app.decoding.arms import ARM_NAMES, OFFERED_ARMS, DecodeSettings
from app.errors import InputError
from app.prompts import frame
from app.services import Services
from app.ui import compare_panes, render
from app.ui.arms_choice import chosen_arms

SETTINGS = {"temperature": 0.9, "max_new_tokens": 10, "seed": 3, "best_of_count": 3}


def begin(services: Services, **values: Any) -> Comparison:
    given = {"messages": (("user", "Why is the sky blue?"),), "persona": "pirate", "settings": SETTINGS}
    return services.compare.start(Request(**{**given, **values}), "ann")


def shown(services: Services, comparison: Comparison) -> list[Progress]:
    return [progress for progress in services.compare.run(comparison) if not progress.place]


def test_the_best_of_n_is_what_the_models_own_judge_keeps_of_prompted_answers(services: Services):
    comparison = begin(
        services, arms=("best_of_n", "principle_prompted"), voted_arms=("principle_prompted", "best_of_n")
    )
    last = shown(services, comparison)[-1]
    assert list(last.answers) == ["principle_prompted", "best_of_n"]
    persona, settings = services.catalogue.get("pirate"), comparison.request.settings

    def alone():
        principle = frame(persona.principle, persona.framing)
        messages = [{"role": "user", "content": "Why is the sky blue?"}]
        yield (yield from best_of(services.model, ImplicitJudge(services.model), messages, principle, 3, settings))

    *_, found = services.worker.stream(alone())
    kept = last.answers["best_of_n"]
    assert (kept.text, kept.token_ids, kept.finish_reason) == (found.text, found.token_ids, found.finish_reason)
    assert found.answers[0] == last.answers["principle_prompted"].text  # the first of them has the round's own seed
    assert len(set(found.answers)) == 3 and found.text in found.answers
    assert services.store.round(comparison.round_id).answers["best_of_n"] == kept


def test_a_blind_round_with_an_answer_that_comes_at_once_shows_none_before_both_are_written(services: Services):
    comparison = begin(services, blind=True, voted_arms=("linear_aligned", "best_of_n"))
    *before, last = shown(services, comparison)
    assert len(before) > SETTINGS["max_new_tokens"]
    for progress in before:
        assert [(a.text, a.token_ids, a.finish_reason, a.seconds) for a in progress.answers.values()] == [
            ("", [], "", 0.0)
        ] * 2
        assert not progress.done
    assert last.done and all(answer.text for answer in last.answers.values())
    sides = {
        title: pane.answer.text for title, pane in zip("12", compare_panes.running_panes(comparison, last), strict=True)
    }
    assert sides == {"1": last.answers[comparison.first_arm].text, "2": last.answers[comparison.second_arm].text}


def test_the_best_of_n_alone_and_cancelled(services: Services):
    alone = begin(services, arms=("best_of_n",))
    assert list(shown(services, alone)[-1].answers) == ["best_of_n"] and not alone.is_kept
    stopped = begin(services, arms=("best_of_n",))
    running = services.compare.run(stopped)
    next(running)
    services.compare.cancel(stopped.round_id)
    *_, last = running
    assert (last.answers["best_of_n"].finish_reason, last.answers["best_of_n"].text) == ("cancelled", "")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"settings": {"temperature": 0}}, "best_of_n was asked for at temperature 0"),
        ({"persona": "", "principles": (Principle(text="Be kind.", weight=-1.0),)}, "1 principles of weight -1"),
        (
            {"persona": "", "principles": (Principle(text="Be kind."), Principle(text="Be brief."))},
            "2 principles of weight 1, 1",
        ),
    ],
)
def test_what_the_best_of_n_cannot_do_is_refused_before_anything_is_written(
    services: Services, values: dict, message: str
):
    with pytest.raises(InputError, match=message):
        begin(services, arms=(*ARM_NAMES, "best_of_n"), **values)


def test_arms_stand_in_the_houses_order_and_a_blind_round_runs_those_of_the_vote():
    assert checked_arms(("best_of_n", "amulet", "baseline"), ("amulet", "baseline"), blind=False) == (
        "baseline",
        "amulet",
        "best_of_n",
    )
    assert checked_arms(ARM_NAMES, ("best_of_n", "amulet"), blind=True) == ("amulet", "best_of_n")
    check_needs(("adapter_guided",), "v3", DecodeSettings(), [1.0])
    with pytest.raises(InputError, match="no adapter to guide it"):
        check_needs(("adapter_guided",), "", DecodeSettings(), [1.0])


def test_the_pages_menus_give_arms_and_a_vote_that_fit_together():
    asked = chosen_arms(["amulet", "baseline", "linear_aligned"], ["amulet", "baseline"], blind=False)
    assert asked == {"arms": ("baseline", "linear_aligned", "amulet"), "voted_arms": ("baseline", "amulet")}
    assert chosen_arms(list(ARM_NAMES), ["best_of_n", "amulet"], blind=True)["arms"] == ("amulet", "best_of_n")
    for shown_, voted, message in [
        (list(ARM_NAMES), ["baseline"], "the vote is between Plain; choose two"),
        (list(ARM_NAMES), [], "the vote is between none"),
        (list(ARM_NAMES), ["baseline", "amulet"], "and Amulet would not be shown"),
        (list(OFFERED_ARMS[:5]), ["baseline", "amulet"], "5 ways of answering were chosen; 4"),
    ]:
        with pytest.raises(InputError, match=message):
            chosen_arms(shown_, voted, blind=False)


def test_every_arm_says_what_it_is_and_the_vote_names_its_own_two():
    assert set(render.ARM_TITLES) == set(render.ARM_EXPLANATIONS) == set(OFFERED_ARMS)
    assert compare_panes.vote_label("first", False, ("principle_prompted", "amulet")) == "Asked is better"
    assert compare_panes.vote_label("second", False, ("principle_prompted", "amulet")) == "Amulet is better"
    assert compare_panes.vote_label("second", True, ("principle_prompted", "amulet")) == "Second is better"


def test_a_study_compares_any_two_arms_that_can_answer(services: Services):
    given = {"prompts": ["Why?"], "personas": ["pirate"], "settings": DecodeSettings(**SETTINGS)}
    study = services.studies.create("all at once", arms=("amulet", "best_of_n"), **given)
    *_, last = services.studies.answer(study.id)
    assert (last.answered, last.faults) == (1, 0)
    with pytest.raises(InputError, match="no adapter to guide it"):
        services.studies.create("guided", arms=("baseline", "adapter_guided"), adapter="none", **given)
    assert [overview.name for overview in services.studies.all()] == ["all at once"]
