"""A visitor's own persona in the page's menus and in studies: theirs to choose, and nobody else's."""

from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from app.decoding.arms import DecodeSettings
from app.label import rater_of
from app.services import Services, build
from app.settings import Settings
from app.ui.door import Door
from app.ui.page import build_page

ANN, BEN = "ann's secret", "ben's secret"


@pytest.fixture(scope="module")
def services(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Services:
    data = tmp_path_factory.mktemp("own")
    made = build(Settings(data=data, model=str(tiny_folders["llama"]), device="cpu"))
    made.catalogue.save("Kind Monk", "Be kind.", "principle", 2.0, rater_of(ANN))
    return made


@pytest.fixture(scope="module")
def page(services: Services) -> Door:
    return build_page(services)


def offered(page: Door, elem_id: str, secret: str) -> set[str]:
    """What a menu offers after the one event that brings it up to date for whoever looks at it."""

    def brings(event: Any) -> bool:
        asked = [type(component) for component in event.inputs]
        return asked == [gr.BrowserState] and elem_id in [getattr(made, "elem_id", None) for made in event.outputs]

    (event,) = (event for event in page.fns.values() if brings(event))
    given = event.fn(secret)
    if isinstance(given, dict):
        given = [given[component] for component in event.outputs]
    (menu,) = (new for new, made in zip(given, event.outputs, strict=True) if getattr(made, "elem_id", None) == elem_id)
    return {value for _, value in menu.choices}


@pytest.mark.parametrize("menu", ["versus-persona", "study-personas"])
def test_a_menu_offers_ones_own_personas_and_nobody_elses(page: Door, menu: str):
    hers, his = offered(page, menu, ANN), offered(page, menu, BEN)
    assert hers - his == {"kind_monk"} and "pirate" in his and his < hers


def test_a_call_makes_no_study_of_somebodys_own_persona(services: Services, page: Door):
    (event,) = (event for event in page.fns.values() if event.api_name == "study_create")
    with pytest.raises(gr.Error, match="'kind_monk' does not exist"):
        event.fn("theirs", ["Why?"], ["kind_monk"], ["baseline", "linear_aligned"])
    assert services.studies.all() == []


def test_raters_of_a_study_are_told_an_own_persona_by_its_name(services: Services):
    settings, rater = DecodeSettings(max_new_tokens=6, seed=11, temperature=0.9), rater_of(BEN)
    study = services.studies.create("kind", ["Why?"], ["kind_monk"], ("baseline", "linear_aligned"), settings=settings)
    list(services.studies.answer(study.id))
    services.raters.enter(rater, "", services.raters.consent.version)
    assert services.studies.next(study.id, rater).persona == "Kind Monk"
    services.catalogue.delete("kind_monk", rater_of(ANN))
    assert services.studies.next(study.id, rater).persona == "kind_monk"
