"""Finding personas, several principles in the form, and personas as HTML: whatever people wrote stays text."""

import re
from dataclasses import replace

import pytest

from app.catalogue import MOST_MIXED, Catalogue
from app.compare import Principle, principles_of
from app.errors import InputError
from app.persona_search import OWN, SHARED, common_tags, find, similar
from app.ui import persona_render
from app.ui.persona_mix import EMPTY, mix_filling, principles_in
from personas import load_library
from storage.store import Store

HOSTILE = "<img src=x onerror=alert(1)> ${7*7} \"'"
MIXED = [{"text": "Be kind.", "framing": "principle", "weight": -0.5}]


def ids(found: list) -> list[str]:
    return [one.persona.id for one in found]


def test_nothing_typed_finds_all_in_their_order(catalogue: Catalogue):
    assert ids(find(catalogue)) == ids(find(catalogue, " ")) == list(load_library())
    assert not any(found.by_meaning for found in find(catalogue))


@pytest.mark.parametrize(
    ("words", "first"), [("pirate", "pirate"), ("THE zen", "zen"), ("calm", "zen"), ("poet", "rhymer")]
)
def test_words_are_found_in_names_principles_and_tags(catalogue: Catalogue, words: str, first: str):
    named = [one for one in find(catalogue, words) if not one.by_meaning]
    assert ids(named) == [first]


def test_what_holds_none_of_the_words_comes_after_and_says_so(catalogue: Catalogue):
    found = find(catalogue, "a peaceful monk")
    assert found[0].persona.id == "zen" and all(one.by_meaning for one in found)
    found = find(catalogue, "brief")
    assert [one.by_meaning for one in found] == sorted(one.by_meaning for one in found)
    assert len(set(ids(found))) == len(found)


def test_a_tag_narrows_what_words_and_meaning_find(catalogue: Catalogue):
    library = load_library()
    assert set(ids(find(catalogue, tag="mood"))) == {id_ for id_, p in library.items() if "mood" in p.tags}
    assert "pirate" not in ids(find(catalogue, "pirate", "mood"))
    assert find(catalogue, tag="no such tag") == []


def test_ones_own_are_listed_under_yours_and_nobody_elses(catalogue: Catalogue, store: Store):
    baker = catalogue.save("Baker", "a baker at dawn", "answer_as", 2.0, "ann", mix=MIXED)
    assert ids(find(catalogue, "", OWN, "ann")) == ids(find(catalogue, "kind baker", "", "ann"))[:1] == ["baker"]
    assert OWN in common_tags(catalogue, "ann") and OWN not in common_tags(catalogue, "bob")
    for rater in ("bob", ""):
        assert "baker" not in ids(find(catalogue, "baker", "", rater))
        assert "baker" not in [p.id for p in similar(catalogue, "a baker in the morning", rater)]
    store.save_persona(replace(baker, public_wanted=True, public_approved=True))
    assert find(catalogue, "baker", "", "bob")[0].tags == (SHARED,)


def test_similar_ones_do_not_say_the_same(catalogue: Catalogue):
    assert similar(catalogue, "Answer in rhymes.")[0].id == "rhymer"
    assert load_library()["rhymer"].principle == "Answer in rhyme."
    assert "rhymer" not in [p.id for p in similar(catalogue, " answer in RHYME")]
    assert len(similar(catalogue, "a calm old monk who is brief", most=2)) <= 2


def test_cards_escape_what_people_wrote_and_carry_one_button_each(catalogue: Catalogue):
    catalogue.save(f"Evil {HOSTILE}", HOSTILE, "principle", 1.0, "ann", mix=[{**MIXED[0], "text": HOSTILE}])
    found = find(catalogue, rater="ann")
    html = persona_render.cards(found, chosen="pirate")
    assert "<img" not in html and html.count("<button") == len(found) == html.count('data-persona="')
    assert re.findall(r'data-persona="(\w+)" aria-current=true', html) == ["pirate"]
    assert "(and 1 more)" in html
    for one in (
        persona_render.similar([f.persona for f in found]),
        persona_render.added([{"text": HOSTILE, "weight": 1}]),
    ):
        assert "<img" not in one and "&lt;img" in one
    assert "<img" not in persona_render.kept(found[-1].persona)
    assert "data-persona" not in persona_render.cards([])


def test_several_principles_show_their_weights_and_one_alone_does_not():
    assert persona_render.added([{"text": "Be brief.", "weight": 1.0}]).count("<li>") == 0
    shown = persona_render.added([{"text": "Be brief.", "weight": 1.0}, {"text": "Be kind.", "weight": -0.5}])
    assert re.findall(r"<span>([^<]+)</span> <b>([^<]+)</b>", shown) == [("+1", "Be brief."), ("-0.5", "Be kind.")]
    assert "<span>+2</span>" in persona_render.added([{"text": "Be brief.", "weight": 2.0}])


def test_rows_without_text_ask_for_nothing():
    rows = [" ", "principle", 4.0, "a pirate ", "answer_as", -1, *EMPTY]
    assert principles_in(" Be brief. ", "principle", [0.5, *rows]) == (
        Principle(text="Be brief.", framing="principle", weight=0.5),
        Principle(text="a pirate", framing="answer_as", weight=-1),
    )
    assert principles_in("Be brief.", "principle", [1, *EMPTY * MOST_MIXED]) == (Principle(text="Be brief."),)
    with pytest.raises(InputError, match=r"weight is 5\.5"):
        principles_in("Be brief.", "principle", [5.5, *EMPTY * MOST_MIXED])


def test_a_saved_mix_fills_the_form_and_comes_back_out_of_it(catalogue: Catalogue):
    saved = catalogue.save("Baker", "a baker", "answer_as", 2.0, "ann", weight=2, mix=MIXED)
    asked = principles_of(saved)
    assert [p.weight for p in asked] == [2.0, -0.5]
    assert principles_in(saved.principle, saved.framing, mix_filling(asked)) == asked
    pirate = load_library()["pirate"]
    assert principles_in(pirate.principle, pirate.framing, mix_filling(principles_of(pirate))) == principles_of(pirate)
