"""Whose a saved persona is: seen by its rater alone, read by its link, and everybody's once it was offered and agreed to."""

from pathlib import Path

import pytest

from app.catalogue import Catalogue
from app.embedding import Embedder
from app.errors import InputError, NotAllowedError, NotFoundError
from app.persona_offers import PersonaOffers
from personas import load_library
from storage.log import Event
from storage.log_outbox import Outbox
from storage.log_rows import put
from storage.records import SavedPersona
from storage.store import Store

TOKEN = "the owner's"


@pytest.fixture
def offers(store: Store) -> PersonaOffers:
    def authorise(token: str) -> None:
        if token != TOKEN:
            raise NotAllowedError("the owner's token is needed")

    return PersonaOffers(store, authorise)


def saved(catalogue: Catalogue, principle: str = "a baker at dawn", **more) -> SavedPersona:
    return catalogue.save("Baker", principle, "answer_as", 2.0, "ann", **more)


def test_a_saved_persona_is_seen_by_its_rater_alone(catalogue: Catalogue):
    baker = saved(catalogue)
    assert catalogue.seen("baker", "ann") == catalogue.get("baker") == baker
    for other in ("bob", ""):
        assert set(catalogue.all(other)) == set(load_library())
        with pytest.raises(NotFoundError, match="'baker' does not exist") as caught:
            catalogue.seen("baker", other)
        assert "baker" not in str(caught.value).split("known are")[1]


def test_whoever_has_the_link_reads_it_and_an_id_is_no_link(catalogue: Catalogue):
    baker = saved(catalogue)
    assert catalogue.linked(baker.link) == catalogue.linked("baker", "ann") == baker
    assert catalogue.linked("pirate").id == "pirate"
    for address in ("baker", "", baker.link[:-1], f"{baker.link}x", "é" * 40, "\ud800"):
        with pytest.raises(NotFoundError):
            catalogue.linked(address, "bob")


def test_what_is_offered_waits_for_the_owner(catalogue: Catalogue, offers: PersonaOffers):
    baker = saved(catalogue, offered=True)
    assert "baker" not in catalogue.all("bob")
    assert offers.waiting(TOKEN) == [baker] and offers.approved(TOKEN) == []
    for call in (offers.waiting, offers.approved):
        with pytest.raises(NotAllowedError):
            call("bob's")
    for call in (offers.approve, offers.hide, offers.delete):
        with pytest.raises(NotAllowedError):
            call("baker", "bob's")
    assert "baker" not in catalogue.all("bob")

    offers.approve("baker", TOKEN)
    assert catalogue.seen("baker", "bob").principle == catalogue.seen("baker", "").principle == "a baker at dawn"
    assert offers.waiting(TOKEN) == [] and [p.id for p in offers.approved(TOKEN)] == ["baker"]


def test_what_nobody_offered_cannot_be_approved(catalogue: Catalogue, offers: PersonaOffers):
    saved(catalogue)
    for persona_id in ("baker", "pirate", "nobody", ""):
        with pytest.raises(NotFoundError, match="is not offered"):
            offers.approve(persona_id, TOKEN)
    assert "baker" not in catalogue.all("bob")


def test_a_change_after_the_approval_has_to_be_approved_anew(catalogue: Catalogue, offers: PersonaOffers):
    saved(catalogue, offered=True)
    offers.approve("baker", TOKEN)
    changed = saved(catalogue, "a thief in the night", offered=True)
    assert "baker" not in catalogue.all("bob") and offers.waiting(TOKEN) == [changed]


def test_an_offer_is_taken_back_by_its_rater_and_by_the_owner(catalogue: Catalogue, offers: PersonaOffers):
    saved(catalogue, offered=True)
    offers.approve("baker", TOKEN)
    assert catalogue.offer("baker", "ann", True).public_approved  # offering again what is there already changes nothing
    assert not catalogue.offer("baker", "ann", False).public_approved
    assert "baker" not in catalogue.all("bob")
    catalogue.offer("baker", "ann", True)
    assert [p.id for p in offers.waiting(TOKEN)] == ["baker"]
    offers.approve("baker", TOKEN)
    offers.hide("baker", TOKEN)
    assert "baker" not in catalogue.all("bob") and "baker" in catalogue.all("ann") and offers.waiting(TOKEN) == []
    with pytest.raises(NotFoundError, match="'nobody' does not exist"):
        offers.hide("nobody", TOKEN)


def test_only_its_rater_and_the_owner_delete_a_persona(catalogue: Catalogue, offers: PersonaOffers, store: Store):
    link = saved(catalogue, offered=True).link
    offers.approve("baker", TOKEN)
    for rater in ("bob", ""):
        with pytest.raises(InputError, match="'Baker' is not yours"):
            catalogue.delete("baker", rater)
        with pytest.raises(InputError, match="'Baker' is not yours"):
            catalogue.offer("baker", rater, False)
    with pytest.raises(InputError, match="not yours"):
        catalogue.delete("pirate", "ann")
    catalogue.delete("baker", "ann")
    assert set(catalogue.all("ann")) == set(load_library())
    with pytest.raises(NotFoundError):
        catalogue.linked(link, "ann")
    saved(catalogue)
    offers.delete("baker", TOKEN)
    assert store.personas() == []
    with pytest.raises(NotFoundError):
        offers.delete("baker", TOKEN)
    with store.database.open() as db:
        assert [(row["kind"], row["key"]) for row in db["tombstones"].rows] == [("persona", "baker")] * 2


def test_several_principles_are_kept_with_their_weights(catalogue: Catalogue, store: Store):
    mix = [
        {"text": " Be brief. ", "framing": "principle", "weight": 0.5},
        {"text": "a pirate", "framing": "answer_as", "weight": -1},
    ]
    baker = saved(catalogue, weight=2, mix=mix)
    again = next(p for p in Store(store.path.parent).personas())
    assert again == baker and again.weight == 2.0
    assert again.mix == (
        {"text": "Be brief.", "framing": "principle", "weight": 0.5},
        {"text": "a pirate", "framing": "answer_as", "weight": -1.0},
    )


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"weight": 5.5}, "a weight is 5.5.*-5 and 5"),
        ({"weight": float("nan")}, "a weight is nan"),
        ({"mix": [{"text": "x", "framing": "principle", "weight": -6}]}, "a weight is -6"),
        ({"mix": [{"text": " ", "framing": "principle", "weight": 1}]}, "the principle is empty"),
        ({"mix": [{"text": "x", "framing": "shout", "weight": 1}]}, "the framing is 'shout'"),
        ({"mix": [{"text": "x", "framing": "principle", "weight": 1}] * 8}, "9 principles were given; 4 are the most"),
    ],
)
def test_a_mix_out_of_bounds_is_refused(catalogue: Catalogue, more: dict, told: str):
    with pytest.raises(InputError, match=told):
        saved(catalogue, **more)
    assert set(catalogue.all("ann")) == set(load_library())


def test_nobody_saves_nothing(catalogue: Catalogue):
    with pytest.raises(InputError, match="without a rater"):
        catalogue.save("Baker", "a baker", "answer_as", 2.0, "")


def test_a_line_of_an_older_program_brings_a_persona_back_as_private(tmp_path: Path):
    store = Store(tmp_path / "new")
    row = {"id": "baker", "created": "2024", "rater": "ann", "name": "Baker", "principle": "a baker"}
    row |= {"framing": "answer_as", "ratio": 2.0}
    with store.database.write() as db:
        assert put(db, Event("personas", ("baker",), "2024", row))
        assert not put(db, Event("personas", ("cook",), "2024", row | {"id": "cook", "mix": "{"}))
        assert not put(db, Event("personas", ("cook",), "2024", row | {"id": "cook", "mix": "3"}))
    assert store.personas() == [SavedPersona("baker", "ann", "Baker", "a baker", "answer_as", 2.0, "2024")]
    catalogue = Catalogue(load_library(), store, Embedder())
    with pytest.raises(NotFoundError):
        catalogue.linked("")


def test_a_deleted_persona_leaves_the_log_too(tmp_path: Path):
    store = Store(tmp_path)
    outbox = Outbox(store.database)
    outbox.turn_on("owner/name")
    catalogue = Catalogue(load_library(), store, Embedder())
    saved(catalogue)
    catalogue.delete("baker", "ann")
    events = [event for batch in outbox.batches(0) for event in batch.events]
    assert [(e.kind, e.key, e.row) for e in events if e.kind == "personas"] == [("personas", ("baker",), None)]
    assert any(batch.deletes for batch in outbox.batches(0))


def test_where_many_stand_together_a_private_one_is_not_told_by_name(catalogue: Catalogue):
    saved(catalogue)
    assert catalogue.names("ann")["baker"] == "Baker" and catalogue.names("bob")["baker"] == "somebody's own persona"
    assert catalogue.names()["pirate"] == load_library()["pirate"].name
