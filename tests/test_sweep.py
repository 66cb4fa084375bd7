"""A sweep on a tiny model: its points are what single comparisons say, and its scores are those of the implicit judge's arithmetic."""

import html
import re
from pathlib import Path

import pytest
import torch

from app.compare import Request
from app.decoding.arms import DecodeSettings
from app.errors import InputError
from app.services import Services, build
from app.settings import Settings
from app.sweep import VALUES, Point
from app.ui import sweep_render

SETTINGS = DecodeSettings(max_new_tokens=12, seed=5)


@pytest.fixture(scope="module")
def services(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Services:
    return build(Settings(data=tmp_path_factory.mktemp("sweep"), model=str(tiny_folders["llama"])))


def asked(**changes) -> Request:
    return Request(messages=(("user", "Why is the sky blue?"),), persona="pirate", settings=SETTINGS, **changes)


def compared(services: Services, request: Request, arm: str) -> tuple[str, list[int]]:
    *_, last = services.compare.run(services.compare.start(request, "ann"))
    return last.answers[arm].text, last.answers[arm].token_ids


def logp(services: Services, context: list[int], answer: list[int]) -> float:
    """The sum of the answer's log-probabilities, by one plain forward."""
    ids = torch.tensor([context + answer])
    logits = services.model.logits(ids, torch.ones_like(ids), None)[0].log_softmax(-1)
    return sum(float(logits[len(context) + i - 1, token]) for i, token in enumerate(answer))


def test_points_are_what_single_comparisons_say(services: Services):
    *_, points = services.sweep.run(asked())
    assert [point.value for point in points] == list(VALUES["ratio"])
    assert len({point.text for point in points}) > 1
    for point in (points[0], points[3], points[-1]):
        settings = SETTINGS.model_copy(update={"ratio": point.value})
        assert point.text == compared(services, asked().model_copy(update={"settings": settings}), "linear_aligned")[0]
    assert points[0].text == compared(services, asked(), "principle_prompted")[0]


def test_scores_are_means_of_log_probabilities_by_hand(services: Services):
    *_, points = services.sweep.run(asked())
    comparison = services.compare.start(asked(), "ann")
    text, tokens = compared(services, asked(), "linear_aligned")
    (point,) = (p for p in points if p.value == SETTINGS.ratio)
    assert point.text == text
    plain, led = (logp(services, context, tokens) / len(tokens) for context in comparison.contexts)
    assert point.fluency == pytest.approx(plain, abs=1e-4)
    assert point.fidelity == pytest.approx(led - plain, abs=1e-4)


def test_a_sweep_over_the_budget_keeps_the_ratio(services: Services):
    *_, points = services.sweep.run(asked(), "kl_budget")
    assert [point.value for point in points] == list(VALUES["kl_budget"])
    settings = SETTINGS.model_copy(update={"kl_budget": 0.25})
    text, _ = compared(services, asked().model_copy(update={"settings": settings}), "linear_aligned")
    assert next(p for p in points if p.value == 0.25).text == text


def test_a_sweep_stores_nothing(services: Services):
    before = services.store.counts()["rounds"]
    list(services.sweep.run(asked()))
    assert services.store.counts()["rounds"] == before


def test_a_bad_sweep_is_refused(services: Services):
    with pytest.raises(InputError, match="goes over 'top_p'; it must be one of ratio, kl_budget"):
        next(services.sweep.run(asked(), "top_p"))


def test_the_picture_says_every_number_and_texts_are_text():
    hostile = "<img src=x>"
    markup = sweep_render.sweep(
        [Point(0.0, hostile, 0.5, -1.0), Point(2.0, "", None, None), Point(5.0, "x", 1.5, -3.0)], "ratio"
    )
    assert "<img" not in markup and html.escape(hostile) in markup
    first, second = re.findall(r'aria-label="([^"]*)"', markup)
    assert first.endswith("0: 0.50; 2: –; 5: 1.50") and second.endswith("0: -1.00; 2: –; 5: -3.00")
    (line, _) = re.findall(r'<polyline points="([^"]*)"', markup)
    assert line.split() == [
        "16.0,126.0",
        "444.0,30.0",
    ]  # the lowest below, the highest above, none for what has no score
    assert "<svg" not in sweep_render.sweep([Point(0.0, "x")], "ratio")
