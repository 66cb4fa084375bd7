"""Bans: what no longer counts, what comes back, whom they meet; and raters who choose against everybody else."""

from pathlib import Path

import pytest
from scipy.stats import binom

from app.bans import Bans
from app.consent import read_consent
from app.errors import InputError, NotAllowedError, NotFoundError
from app.insights.outliers import outliers
from app.label import Label, rater_of
from app.raters import Raters
from storage.judgements import ONES
from storage.records import Vote
from storage.store import Store
from storage.tallies import Selection, tallies
from storage.voted import voted
from tests.rounds import a_round

ANN, BOB, EVE = (rater_of(f"secret of {name}") for name in ("ann", "bob", "eve"))


@pytest.fixture
def bans(store: Store) -> Bans:
    return Bans(store, lambda token: None)


def chose(store: Store, round_id: str, rater: str, choice: str = "first") -> None:
    if round_id not in dict(store.last_prompts()):
        store.add_round(a_round(round_id, f"What of {round_id}?", rater="asker"))
    Label(store).vote(round_id, choice, rater)


def counted(store: Store) -> dict[str, object]:
    """Every count of votes that there is."""
    with store.database.open() as db:
        judged = [tuple(row.values()) for row in db.query(ONES, Selection().values)]
        rows = {t: sorted(tuple(r.values()) for r in db[t].rows) for t in ("tallies", "rater_tallies")}
    return {
        "votes": [(vote.rater, vote.round, vote.choice) for vote, _ in store.votes()],
        "exported": [(vote.rater, vote.round) for vote, _ in voted(store.database)],
        "decisive": store.count_decisive(),
        "tallied": tallies(store.database, Selection()),
        "judged": sorted(judged),
        **rows,
    }


def test_banned_votes_count_nowhere_and_count_again_once_the_ban_is_lifted(store: Store, bans: Bans):
    for rater in (ANN, BOB):
        for number in range(3):
            chose(store, f"r{number}", rater, "first" if rater == ANN or number else "tie")
    without_eve = counted(store)
    for number in range(5):
        chose(store, f"r{number}", EVE, "second")
    with_eve = counted(store)
    assert with_eve["decisive"] == 10 and len(with_eve["votes"]) == 11
    assert bans.ban(EVE[:8], "turned every choice round") == EVE
    assert counted(store) == without_eve | {"tallied": counted(store)["tallied"]}
    assert (counted(store)["tallied"], counted(store)["decisive"]) == (without_eve["tallied"], 5)
    assert bans.ban(EVE[:6]) == EVE and counted(store)["decisive"] == 5  # twice is once
    assert bans.lift(EVE) == EVE
    assert counted(store) == with_eve
    with pytest.raises(NotFoundError, match="is not banned"):
        bans.lift(EVE)


def test_a_banned_rater_is_told_why_keeps_what_they_chose_and_may_delete_it(store: Store, bans: Bans, tmp_path: Path):
    raters = Raters(store, tmp_path, read_consent(None))
    raters.enter(EVE, "Eve", raters.consent.version)
    chose(store, "r1", EVE)
    chose(store, "r1", ANN)
    bans.ban(EVE, "turned every choice round")
    with pytest.raises(NotAllowedError, match="no longer takes choices from you: turned every choice round"):
        Label(store).vote("r1", "second", EVE)
    with pytest.raises(NotAllowedError, match="no longer takes choices"):
        raters.checked(EVE)
    assert len(raters.labels(EVE)) == 1
    assert raters.delete_labels(EVE).votes == 1 and raters.labels(EVE) == []
    with pytest.raises(NotAllowedError):
        Label(store).vote("r1", "second", EVE)  # deleting is no way round it
    assert store.count_decisive() == 1
    bans.lift(EVE)
    chose(store, "r1", EVE)
    assert store.count_decisive() == 2


def test_a_vote_that_comes_from_elsewhere_does_not_count_while_its_rater_is_banned(store: Store, bans: Bans):
    chose(store, "r1", EVE)
    bans.ban(EVE)
    store.add_round(a_round("r2", "And this?"))
    store.vote(Vote("r2", EVE, "first"))  # as the sync brings one in
    assert store.count_decisive() == 0 and store.votes() == []
    bans.lift(EVE)
    assert store.count_decisive() == 2


@pytest.mark.parametrize(
    ("pseudonym", "error", "message"),
    [
        ("", InputError, "6 to 24 of the characters"),
        (EVE[:5], InputError, "6 to 24"),
        ("%" * 8, InputError, "6 to 24"),
        ("' or '1'='1", InputError, "6 to 24"),
        (EVE + "0", InputError, "6 to 24"),
        ("000000", NotFoundError, "no rater's pseudonym begins with '000000'"),
    ],
)
def test_bad_pseudonyms_are_sentences(store: Store, bans: Bans, pseudonym: str, error: type, message: str):
    chose(store, "r1", EVE)
    for act in (bans.ban, bans.lift):
        with pytest.raises(error, match=message):
            act(pseudonym)
    assert store.count_decisive() == 1


def test_a_beginning_that_fits_two_raters_bans_neither(store: Store, bans: Bans):
    for rater in ("abcdef0", "abcdef1"):
        chose(store, "r1", rater)
    with pytest.raises(InputError, match="several raters"):
        bans.ban("abcdef")
    assert store.count_decisive() == 2
    bans.ban("ABCDEF1 ")
    assert [vote.rater for vote, _ in store.votes()] == ["abcdef0"]


def test_a_reason_is_short(bans: Bans, store: Store):
    chose(store, "r1", EVE)
    with pytest.raises(InputError, match="301 characters"):
        bans.ban(EVE, "x" * 301)
    assert store.count_decisive() == 1


def test_bans_and_people_ask_for_the_owner(store: Store):
    chose(store, "r1", EVE)

    def nobody(token: str) -> None:
        raise NotAllowedError("no")

    guarded = Bans(store, nobody)
    for act in (lambda: guarded.ban(EVE), lambda: guarded.lift(EVE), guarded.people):
        with pytest.raises(NotAllowedError, match=r"^no$"):
            act()
    assert store.count_decisive() == 1


# --- outliers


def test_who_turns_every_choice_round_is_found_and_who_is_unlucky_is_not(store: Store, bans: Bans):
    for number in range(12):
        for rater in (ANN, BOB, "cc" * 12):
            chose(store, f"r{number}", rater, "second" if rater == BOB and number < 3 else "first")
        chose(store, f"r{number}", EVE, "second")
    chose(store, "alone", "dd" * 12)
    found = {person.voter.rater: person for person in bans.people()}
    assert next(iter(found)) == EVE  # first of all
    eve, bob, alone = found[EVE], found[BOB], found["dd" * 12]
    # On the first three BOB and EVE stand against two: evenly split for nobody but 2 against 1 for each of the others.
    assert (eve.shared, eve.agreed, eve.outlier) == (12, 0, True)
    assert eve.chance == pytest.approx(4 * binom.cdf(0, 12, 0.5))
    assert (bob.shared, bob.agreed, bob.outlier) == (12, 9, False)
    assert (alone.shared, alone.chance, alone.outlier) == (0, None, False)
    assert not any(found[rater].outlier for rater in (ANN, "cc" * 12))


def test_chance_is_the_binomial_tail_times_holms_factor():
    """Three agree on everything, one never does: of seven things none right is 1/128, times four raters; of six it is 4/64."""
    for things, chance, outlier in ((7, 4 / 128, True), (6, 4 / 64, False)):
        labels = [(f"t{n}", who, "y" if who == "d" else "x") for n in range(things) for who in "abcd"]
        first, *others = outliers(labels)
        assert (first.rater, first.shared, first.agreed, first.outlier) == ("d", things, 0, outlier)
        assert first.chance == pytest.approx(chance)
        assert [(o.rater, o.shared, o.agreed, o.chance) for o in others] == [
            (who, things, things, 1.0) for who in "abc"
        ]


def test_where_the_others_are_split_evenly_nothing_is_compared():
    labels = [(f"t{n}", who, "y" if who == "c" else "x") for n in range(6) for who in "abc"]
    assert [(o.rater, o.shared, o.chance) for o in outliers(labels)] == [("c", 6, pytest.approx(1 / 64))]


def test_ties_single_judgements_and_nothing_at_all_say_nothing():
    assert outliers([]) == []
    assert outliers([("t", "a", "x"), ("u", "b", "x")]) == []
    assert outliers([("t", "a", "tie"), ("t", "b", "x"), ("t", "c", "both_bad")]) == []
