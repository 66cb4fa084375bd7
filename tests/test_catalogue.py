"""The personas that can be chosen: the library's and the saved ones, with ids made from names."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.catalogue import Catalogue
from app.embedding import Embedder
from app.errors import InputError, NotFoundError
from app.prompts import MAX_PRINCIPLE_CHARACTERS
from personas import load_library
from storage.records import SavedPersona
from storage.store import Store


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(load_library(), Store(tmp_path), Embedder())


def save(
    catalogue: Catalogue,
    name: str = "Old Sailor",
    principle: str = "an old sailor",
    framing: str = "answer_as",
    ratio: float = 2.0,
    rater: str = "ann",
) -> SavedPersona:
    return catalogue.save(name, principle, framing, ratio, rater)


def test_library_comes_first_and_saved_ones_after_it(catalogue: Catalogue):
    library = load_library()
    assert catalogue.all() == library
    sailor, cook = save(catalogue), save(catalogue, "Cook", "a cook", rater="bob")
    assert list(catalogue.all("ann")) == [*library, "old_sailor"] and list(catalogue.all("bob")) == [*library, "cook"]
    assert catalogue.all("ann")["old_sailor"] == sailor and catalogue.all("bob")["cook"] == cook
    assert catalogue.get("pirate") == library["pirate"]
    assert catalogue.get("old_sailor") == sailor and sailor.created and sailor.link
    plain = SavedPersona("old_sailor", "ann", "Old Sailor", "an old sailor", "answer_as", 2.0)
    assert replace(sailor, created="", link="") == plain


def test_saved_persona_is_there_after_a_restart(catalogue: Catalogue, tmp_path: Path):
    save(catalogue)
    assert Catalogue(load_library(), Store(tmp_path), Embedder()).get("old_sailor").principle == "an old sailor"


def test_library_persona_that_came_later_hides_a_saved_one(catalogue: Catalogue, tmp_path: Path):
    Store(tmp_path).save_persona(SavedPersona("pirate", "ann", "Pirate", "mine", "answer_as", 1.0))
    assert catalogue.get("pirate") == load_library()["pirate"]
    assert list(catalogue.all("ann")).count("pirate") == 1


@pytest.mark.parametrize(
    ("name", "persona_id"),
    [
        ("Élan Vital", "elan_vital"),
        ("Käpt'n Blaubär", "kapt_n_blaubar"),
        ("  --Dr. Who?!-- ", "dr_who"),
        ("ﬁne", "fine"),
        ("Agent 007", "agent_007"),
        ("Straße 🏴‍☠️", "strae"),
        ("n" * 60, "n" * 40),
        ("a\u202eb\x00c", "abc"),  # neither a turned direction nor a zero byte is kept
        ("../../etc/passwd", "etc_passwd"),
    ],
)
def test_id_is_made_from_the_name(catalogue: Catalogue, name: str, persona_id: str):
    saved = save(catalogue, name)
    assert saved.id == persona_id
    assert catalogue.get(persona_id).name == saved.name
    assert saved.name.isprintable() or "\u200d" in saved.name


@pytest.mark.parametrize("name", ["", "   ", "\x00\u202e", "n" * 61, "海盗", "007", "🏴‍☠️", "_", "n" * 50_000])
def test_name_that_makes_no_id_is_refused(catalogue: Catalogue, name: str):
    with pytest.raises(InputError, match="name") as caught:
        save(catalogue, name)
    assert len(str(caught.value)) < 300
    assert catalogue.all("ann") == load_library()


@pytest.mark.parametrize("name", ["Pirate", "PIRATE!", "pirâte", "The Pirate", "the pirate"])
def test_name_of_the_library_is_refused(catalogue: Catalogue, name: str):
    with pytest.raises(InputError, match="belongs to a persona of the library"):
        save(catalogue, name)
    assert catalogue.all("ann") == load_library()


def test_a_name_that_somebody_else_uses_is_free_and_ones_own_is_replaced(catalogue: Catalogue):
    first = save(catalogue)
    assert save(catalogue, principle="another", rater="bob").id == "old_sailor_2"
    again = save(catalogue, principle="a young sailor", ratio=0)
    assert (again.id, again.principle, again.ratio, again.link) == ("old_sailor", "a young sailor", 0.0, first.link)
    assert (
        catalogue.get("old_sailor_2").principle == "another" and len(catalogue.all("ann")) == len(catalogue.all()) + 1
    )


def test_two_names_of_one_person_that_make_one_id_do_not_replace_each_other(catalogue: Catalogue):
    save(catalogue)
    assert save(catalogue, "old-sailor!", "a pirate").id == "old_sailor_2"
    assert catalogue.get("old_sailor").principle == "an old sailor"
    long = [save(catalogue, f"{'n' * 50}{number}").id for number in range(3)]
    assert long == ["n" * 40, f"{'n' * 36}_2", f"{'n' * 36}_3"]


@pytest.mark.parametrize(
    ("principle", "told"),
    [
        ("", "empty"),
        (" \n\t", "empty"),
        ("\x00\x07", "empty"),
        ("p" * 50_000, f"50000 characters.*{MAX_PRINCIPLE_CHARACTERS}"),
    ],
)
def test_principle_without_bounds_is_refused(catalogue: Catalogue, principle: str, told: str):
    with pytest.raises(InputError, match=f"the principle is {told}"):
        save(catalogue, principle=principle)
    assert catalogue.all("ann") == load_library()


def test_longest_principle_is_kept_whole_and_control_characters_are_not(catalogue: Catalogue):
    save(catalogue, principle="p" * MAX_PRINCIPLE_CHARACTERS)
    assert catalogue.get("old_sailor").principle == "p" * MAX_PRINCIPLE_CHARACTERS
    save(catalogue, principle=" an old\x00 sailor\ud800 ")
    assert catalogue.get("old_sailor").principle == "an old sailor"


@pytest.mark.parametrize(
    ("framing", "ratio", "told"),
    [
        ("speak_as", 2.0, "'speak_as'.*answer_as"),
        ("answer_as", -0.1, "-0.1"),
        ("answer_as", 20.5, "20.5"),
        ("answer_as", float("nan"), "nan"),
    ],
)
def test_framing_and_strength_out_of_bounds_are_refused(catalogue: Catalogue, framing: str, ratio: float, told: str):
    with pytest.raises(InputError, match=told):
        save(catalogue, framing=framing, ratio=ratio)
    assert catalogue.all("ann") == load_library()


@pytest.mark.parametrize("persona_id", ["sailor", "", "Pirate", "../pirate", "s" * 50_000])
def test_unknown_persona_is_told_which_are_known(catalogue: Catalogue, persona_id: str):
    with pytest.raises(NotFoundError, match=r"known are .*pirate") as caught:
        catalogue.get(persona_id)
    assert len(str(caught.value)) < 1000


def test_personas_are_found_by_meaning(catalogue: Catalogue):
    save(catalogue, "Old Sailor", "a weathered sailor of the seven seas")
    words = "talk like somebody who sails a ship and hunts for treasure"
    found = catalogue.like(words, "ann")
    assert {p.id for p, _ in found} == set(catalogue.all("ann")) and found[0][0].id == "pirate"
    assert {p.id for p, _ in catalogue.like(words, "bob")} == set(load_library())
    assert catalogue.like("an old sailor of the seas", "ann")[0][0].id == "old_sailor"
    assert found[0][1] > found[-1][1]
    assert catalogue.like("no more than one short line, please")[0][0].id == "curt"
    with pytest.raises(InputError, match="the description is empty"):
        catalogue.like("  ")
