"""Versions of one's own: learnt from one's own choices, used by nobody else, few, gone with one's labels, and the owner's to publish."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pydantic import SecretStr

from app.compare import Request
from app.decoding.arms import DecodeSettings
from app.errors import InputError, NotAllowedError, NotFoundError
from app.label import rater_of
from app.learn import Outcome
from app.manage_versions import remove_deleted
from app.private_refresh import MOST_PAIRS, OF_ALL_RATERS, OF_ONE_RATER, PrivateRefresh
from app.refresh.adapters import AdapterFolder
from app.services import Services, build
from app.settings import Settings
from storage.private_versions import own_versions, retire
from storage.records import Version
from storage.store import Store
from tests.rounds import BAD, GOOD, add_choice

ANN, BOB = rater_of("ann's secret"), rater_of("bob's secret")
TOKEN = "the owner's"


@pytest.fixture(scope="module")
def services(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Services:
    """A guarded page on which Ann made ten choices and Bob two."""
    settings = Settings(
        data=tmp_path_factory.mktemp("private"),
        model=str(tiny_folders["llama"]),
        device="cpu",
        admin_token=SecretStr(TOKEN),
    )
    services = build(settings)
    for number in range(10):
        add_choice(services.store, number, "pirate", rater=ANN)
    for number in range(2):
        add_choice(services.store, number, "zen", rater=BOB)
    return services


def answered(services: Services, adapter: str, rater: str) -> str:
    """The version that answers a rater who asks for it."""
    request = Request(
        messages=(("user", "Why?"),), persona="zen", settings=DecodeSettings(max_new_tokens=4, seed=5), adapter=adapter
    )
    comparison = services.compare.start(request, rater)
    list(services.compare.run(comparison))
    return services.store.round(comparison.round_id).adapter


def a_version(id_: str, rater: str, **changes: object) -> Version:
    values = {"scope": "", "model": "tiny", "model_revision": "r", "settings": {}, "pairs_train": 8, "pairs_heldout": 2}
    metrics = {"samples": [{"prompt": "What Ann asked"}]}
    return Version(id_, **values, metrics=metrics, seconds=1.0, published=False, reason="", rater=rater, **changes)


def test_a_version_of_ones_own_is_used_by_its_rater_alone_until_the_owner_publishes_it(services: Services):
    private, store = services.private, services.store
    assert [len(private.pairs(rater)) for rater in (ANN, BOB, "")] == [10, 2, 0]
    assert {(pair.chosen, pair.rejected) for pair in private.pairs(ANN)} == {(GOOD, BAD)}
    with pytest.raises(InputError, match="2 clear choices"):
        list(private.refresh(BOB))  # Ann's ten are none of his
    with pytest.raises(InputError, match="nobody is learning"):
        list(private.refresh(""))
    outcome = list(private.refresh(ANN))[-1]
    assert isinstance(outcome, Outcome) and not outcome.published and "yours alone" in outcome.reason
    assert outcome.pairs_train + outcome.pairs_heldout == 10 and outcome.samples
    made = outcome.version
    assert store.version(made).rater == ANN and store.published("") == ""
    # Hers.
    assert [version.id for version in private.versions(ANN)] == [made] == [v.id for v in services.versions.listed(ANN)]
    assert answered(services, made, ANN) == made and answered(services, f"{made}*0.5", ANN) == f"{made}*0.5"
    # Nobody else's, in the words for what is not there.
    for rater in (BOB, ""):
        assert services.versions.listed(rater) == [] == private.versions(rater)
        for wanted in (made, f"{made}*0.5", f"{made}*1+{made}*1"):
            with pytest.raises((NotFoundError, InputError)) as refused:
                answered(services, wanted, rater)
            assert "Ann" not in str(refused.value) and "own" not in str(refused.value)
        with pytest.raises(NotFoundError) as missing:
            answered(services, "v77", rater)
        with pytest.raises(NotFoundError) as hidden:
            answered(services, made, rater)
        assert str(hidden.value) == str(missing.value).replace("v77", made)
        with pytest.raises(NotFoundError, match="does not exist"):
            private.delete(made, rater)
    assert services.manage.described() == [] and services.store.versions() == []
    with pytest.raises(NotFoundError):
        services.studies.create("s", ["Why?"], ["zen"], ("baseline", "linear_aligned"), adapter=made, token=TOKEN)
    # Only the owner publishes; it is everybody's from then on, and no longer hers to take away.
    for token in ("", "ann's secret"):
        with pytest.raises(NotAllowedError):
            services.owner.use("zen", made, token)
    assert [v.id for v in services.owner.private_versions(TOKEN)] == [made]
    services.owner.use("zen", made, TOKEN)
    assert answered(services, made, BOB) == made and store.version(made).rater == ""
    assert services.versions.in_use("zen") == made and services.owner.private_versions(TOKEN) == []
    services.raters.delete_labels(ANN)
    assert answered(services, made, BOB) == made
    # And back to what answered before.
    assert services.owner.roll_back("zen", TOKEN) == "" and services.versions.in_use("zen") == ""
    with pytest.raises(InputError, match="the original model answers already"):
        services.owner.roll_back("zen", TOKEN)
    with pytest.raises(NotAllowedError):
        services.owner.roll_back("zen", "")


def test_a_banned_rater_learns_nothing_and_keeps_no_place(services: Services):
    rater = rater_of("mallory")
    for number in range(8):
        add_choice(services.store, number, "curt", rater=rater)
    services.bans.ban(rater, "", TOKEN)
    with pytest.raises(NotAllowedError, match="no longer takes choices"):
        list(services.private.refresh(rater))
    assert services.private.pairs(rater) == []
    services.bans.lift(rater, TOKEN)
    assert len(services.private.pairs(rater)) == 8


def test_only_so_many_choices_are_learnt_from_the_newest(services: Services):
    rater = rater_of("busy")
    for number in range(MOST_PAIRS + 3):
        add_choice(services.store, number, "detective", rater=rater)
    pairs = services.private.pairs(rater)
    assert len(pairs) == MOST_PAIRS
    assert (pairs[0].round, pairs[-1].round) == ("detective-3", f"detective-{MOST_PAIRS + 2}")
    assert services.private.pairs(rater, "zen") == []


# --- few, and gone for good: no model needed


@pytest.fixture
def kept(tmp_path: Path) -> tuple[Store, AdapterFolder, PrivateRefresh]:
    """The use case on a store and a folder; what trains is not asked."""
    store, adapters = Store(tmp_path), AdapterFolder(tmp_path / "adapters")

    class Folders:
        """The part of `Versions` that knows folders."""

        def __init__(self) -> None:
            self.adapters = adapters

    return store, adapters, PrivateRefresh(store, Folders(), None)


def add(store: Store, adapters: AdapterFolder, id_: str, rater: str) -> None:
    adapters.write(id_, lambda folder: (folder / "weights").write_text(id_))
    store.add_version(a_version(id_, rater), publish=False, rounds={f"round of {id_}": False})


def there(adapters: AdapterFolder) -> set[str]:
    return {path.name for path in adapters.root.iterdir()}


def test_a_new_version_takes_the_place_of_the_oldest(kept: tuple[Store, AdapterFolder, PrivateRefresh]):
    store, adapters, private = kept
    add(store, adapters, "v1", "")
    for number in range(2, 4 + OF_ONE_RATER):
        add(store, adapters, f"v{number}", "ann")
    add(store, adapters, "v9", "bob")
    private.make_room("ann")
    assert [v.id for v in own_versions(store.database)] == ["v9", "v5", "v4"]
    assert there(adapters) == {"v1", "v4", "v5", "v9"} and [v.id for v in store.versions()] == ["v1"]
    for number in range(10, 10 + OF_ALL_RATERS):
        add(store, adapters, f"v{number}", f"rater {number}")
    private.make_room("nobody")
    left = own_versions(store.database)
    assert len(left) == OF_ALL_RATERS and "v9" not in {v.id for v in left}
    assert there(adapters) == {"v1", *(v.id for v in left)}


def test_deleting_ones_labels_deletes_ones_versions_and_every_word_in_them(
    kept: tuple[Store, AdapterFolder, PrivateRefresh], tmp_path: Path
):
    from app.consent import Consent
    from app.raters import Raters

    store, adapters, _ = kept
    add(store, adapters, "v1", "ann")
    add(store, adapters, "v2", "bob")
    Raters(store, tmp_path, Consent(""), partial(remove_deleted, store, adapters)).delete_labels("ann")
    assert [v.id for v in own_versions(store.database)] == ["v2"] and there(adapters) == {"v2"}
    assert store.rounds_of("v1") == {} and store.rounds_of("v2") != {}
    with store.database.open() as db:
        row = next(db["versions"].rows_where("id = 'v1'"))
    assert (row["rater"], row["metrics"]) == ("", "{}") and row["deleted"]
    assert store.next_version_id() == "v3"  # its number is not used again
    with pytest.raises(NotFoundError, match="was deleted"):
        store.version("v1")


def test_what_the_owner_published_meanwhile_is_not_taken_away(kept: tuple[Store, AdapterFolder, PrivateRefresh]):
    store, adapters, private = kept
    add(store, adapters, "v1", "ann")
    (mine,) = own_versions(store.database, "ann")
    store.publish("", "v1")
    assert retire(store.database, [mine]) == [] and store.version("v1").rater == ""
    with pytest.raises(NotFoundError):
        private.delete("v1", "ann")
    assert there(adapters) == {"v1"} and replace(store.version("v1"), created="") == a_version("v1", "")


def test_nobody_s_secret_names_no_versions(kept: tuple[Store, AdapterFolder, PrivateRefresh]):
    store, adapters, private = kept
    add(store, adapters, "v1", "ann")
    add(store, adapters, "v2", "")
    for version in ("v1", "v2", "v3"):
        with pytest.raises(NotFoundError, match="does not exist"):
            private.delete(version, "")
    with pytest.raises(InputError):
        private.delete("../v1", "ann")
    assert there(adapters) == {"v1", "v2"}
    private.delete("v1", "ann")
    assert there(adapters) == {"v2"}
