"""Counts that the database keeps against a plain count over the votes themselves, whatever is voted, undone, changed and deleted."""

import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlite_utils import Database

from app.errors import NotFoundError
from storage import judgements
from storage.migrations import migrations
from storage.records import CHOICES, AIVote, Answer, Round, Vote
from storage.store import Store
from storage.tallies import Selection, days, personas, rater_names, studies, study_id, tallies
from tests.rounds import BAD, GOOD, a_round, add_choice, answers, hand_out

ARMS = ("baseline", "principle_prompted", "linear_aligned")
MIDDLE = "the sea, perhaps"


def whole(round_: Round) -> bool:
    """Whether a round's two answers are whole and different, written down once more and apart."""
    shown = [round_.answers[arm] for arm in (round_.first_arm, round_.second_arm)]
    return (
        shown[0].text != shown[1].text
        and all(a.text.strip() for a in shown)
        and not any(a.finish_reason in ("cancelled", "deadline") for a in shown)
    )


def entity(round_: Round, arm: str) -> str:
    return f"{arm} @ {round_.adapter}" if round_.adapter else arm


def counted(votes: list[tuple[Vote, Round]], part: str = "all") -> dict[tuple, Counter]:
    """(part, one, other) -> how often each outcome was voted."""
    found: dict[tuple, Counter] = {}
    for vote, round_ in votes:
        if not whole(round_):
            continue
        names = [entity(round_, round_.first_arm), entity(round_, round_.second_arm)]
        one, other = sorted(names)
        group = {"all": "", "persona": round_.persona, "rater": vote.rater}[part]
        outcome = vote.choice
        if outcome in ("first", "second"):
            chosen = names[0] if outcome == "first" else names[1]
            outcome = f"{'one' if chosen == one else 'other'}_{outcome}"
        found.setdefault((group, one, other), Counter())[outcome] += 1
    return found


ALL = Selection()


def stored(store: Store, selection: Selection = ALL, by: str = "all") -> dict[tuple, Counter]:
    names = ("one_first", "one_second", "other_first", "other_second", "ties", "both_bad")
    called = {"ties": "tie"}
    return {
        (t.part, t.one, t.other): Counter(
            {called.get(name, name): getattr(t, name) for name in names if getattr(t, name)}
        )
        for t in tallies(store.database, selection, by)
    }


rounds_drawn = st.fixed_dictionaries(
    {
        "arms": st.permutations(ARMS).map(lambda arms: arms[:2]),
        "persona": st.sampled_from(["pirate", "tea", ""]),
        "adapter": st.sampled_from(["", "v1", "v2"]),
        "blind": st.booleans(),
        "text": st.sampled_from([GOOD, BAD, MIDDLE, " \n", ""]),
        "finish_reason": st.sampled_from(["end", "length", "cancelled", "deadline"]),
    }
)
actions = st.lists(
    st.tuples(
        st.sampled_from(["vote", "vote", "vote", "undo", "change"]),
        st.integers(0, 5),
        st.sampled_from(["ann", "bob", "cleo"]),
        st.sampled_from(CHOICES),
    ),
    max_size=40,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(drawn=st.lists(rounds_drawn, min_size=6, max_size=6), done=actions)
def test_counts_are_those_of_the_votes_whatever_was_done(drawn: list[dict], done: list[tuple]):
    with TemporaryDirectory() as folder:
        store = Store(Path(folder))
        for number, values in enumerate(drawn):
            first, second = values["arms"]
            shown = answers(**{first: values["text"], second: MIDDLE})
            shown[first] = Answer(first, values["text"], [1], values["finish_reason"], 0.1)
            plain = {name: values[name] for name in ("persona", "adapter", "blind")}
            store.add_round(a_round(f"r{number}", "Why?", first_arm=first, second_arm=second, answers=shown, **plain))
        for action, number, rater, choice in done:
            if action == "vote":
                store.vote(Vote(f"r{number}", rater, choice))
            elif action == "undo":
                store.undo_vote(f"r{number}", rater)
            else:
                with store.database.write() as db:
                    db.execute("update votes set choice = ? where round = ? and rater = ?", [choice, f"r{number}", rater])  # fmt: skip
        votes = store.votes()
        for part in ("all", "persona", "rater"):
            assert stored(store, by=part) == counted(votes, part)
        for persona in ("pirate", "tea", ""):
            chosen = [(v, r) for v, r in votes if r.persona == persona and r.blind]
            assert stored(store, Selection(persona=persona, blind_only=True)) == counted(chosen)
        for vote, round_ in votes:
            store.undo_vote(round_.id, vote.rater)
        assert stored(store) == stored(store, by="rater") == {}
        with store.database.open() as db:
            assert db["tallies"].count == db["rater_tallies"].count == 0  # no trace of a rater whose votes were deleted


def test_votes_from_before_the_counts_are_counted_when_the_database_is_opened(tmp_path: Path):
    store = Store(tmp_path)
    for number, choice in enumerate(CHOICES):
        add_choice(store, number, choice=choice)
    add_choice(store, 9, answers=answers(linear_aligned="same", baseline="same"))
    expected = stored(store)
    with closing(sqlite3.connect(store.path)) as connection:  # the file as it was before the migration
        db = Database(connection)
        for trigger in ("votes_tallied", "votes_untallied", "votes_tallied_anew"):
            db.execute(f"drop trigger {trigger}")
        db.execute("drop table tallies")
        db.execute("drop table rater_tallies")
        db.execute("alter table votes drop column counts")
        db.execute("delete from _sqlite_migrations where name = 'm008_insights'")
        connection.commit()
        assert [m.name for m in migrations.pending(db)] == ["m008_insights"]
    again = Store(tmp_path)
    assert stored(again) == expected != {}
    add_choice(again, 10)
    assert again.count_decisive() == 3  # first, second and the new one: the round with equal answers never counts


def test_annotators_votes_are_in_no_count(tmp_path: Path):
    store = Store(tmp_path)
    add_choice(store, 0)
    before = stored(store)
    store.add_ai_votes(
        [
            AIVote(
                "run",
                1,
                "pirate",
                "Be kind.",
                "implicit",
                "m",
                [{"role": "user", "content": "Hi"}],
                "a",
                "b",
                "first",
                1.0,
                1,
                1,
                1,
                "m",
                "r",
            )
        ]
        * 5
    )
    assert stored(store) == before
    assert len(list(judgements.decisive(store.database, Selection(), 100))) == 1


def test_days_become_weeks_that_begin_on_monday(tmp_path: Path):
    store = Store(tmp_path)
    dates = ["2026-01-04T23:59:59.000+00:00", "2026-01-05T00:00:00.000+00:00", "2026-01-11T12:00:00.000+00:00"]
    for number, date in enumerate(dates):  # a Sunday, the Monday after, and the Sunday after that
        add_choice(store, number)
        with store.database.write() as db:
            db.execute("update votes set created = ? where round = ?", [date, f"pirate-{number}"])
    assert {t.part: t.wins + t.losses for t in tallies(store.database, Selection(), "week")} == {
        "2025-12-29": 1,
        "2026-01-05": 2,
    }
    assert [t.part for t in tallies(store.database, Selection(), "day")] == ["2026-01-04", "2026-01-05", "2026-01-11"]
    assert days(store.database, Selection()) == 8
    assert days(store.database, Selection(persona="tea")) == 0


@pytest.fixture
def studied(tmp_path: Path) -> Store:
    """Study *Tea* with two items, each in two rounds with the sides exchanged; ann judges both rounds of both, bob one each."""
    store = Store(tmp_path)
    with store.database.write() as db:
        db["studies"].insert(
            {
                "id": "s1",
                "created": "1",
                "name": "Tea",
                "arms": "[]",
                "overlap": 2,
                "repeat": 1.0,
                "settings": "{}",
                "state": "open",
            }
        )
        for item in (1, 2):
            db["study_items"].insert({"id": item, "study": "s1", "position": item, "persona": "pirate", "messages": "[]"})  # fmt: skip
    for item in (1, 2):
        store.add_round(a_round(f"a{item}", "Why?", item=item))
        store.add_round(a_round(f"b{item}", "Why?", item=item, first_arm="baseline", second_arm="linear_aligned"))
    for round_, rater, choice in [
        ("a1", "ann", "first"), ("b1", "ann", "second"),  # the aligned answer both times
        ("a2", "ann", "first"), ("b2", "ann", "first"),  # the first side both times: not the same answer
        ("b1", "bob", "second"), ("b2", "bob", "tie"),
    ]:  # fmt: skip
        hand_out(store, round_, rater, repeat=int(rater == "ann" and round_.startswith("b")))
        store.vote(Vote(round_, rater, choice))
    add_choice(store, 1, rater="ann")  # of no study
    return store


def test_a_study_is_counted_apart(studied: Store):
    (tally,) = tallies(studied.database, Selection(study="s1"))
    assert (tally.one, tally.other) == ("baseline", "linear_aligned")
    assert (tally.wins, tally.losses, tally.ties, tally.both_bad) == (1, 4, 1, 0)
    assert (tally.one_first, tally.one_second, tally.other_first, tally.other_second) == (1, 0, 2, 2)
    assert (tally.decisive, tally.preferred_first, tally.votes) == (5, 3, 6)
    assert tally.turned().turned() == tally and tally.turned().wins == 4 and tally.turned().one_first == 2
    assert {t.part: t.votes for t in tallies(studied.database, Selection(), "study")} == {"": 1, "s1": 6}
    assert study_id(studied.database, "Tea") == study_id(studied.database, "s1") == "s1"
    assert studies(studied.database) == {"s1": "Tea"} and personas(studied.database) == ["pirate"]
    with pytest.raises(NotFoundError, match=r"'Coffee'.*Tea"):
        study_id(studied.database, "Coffee")


def test_what_two_raters_judged_is_labelled_by_arm_and_not_by_side(studied: Store):
    assert judgements.shared(studied.database, Selection(), 100) == [
        ("item 1", "ann", "linear_aligned"),
        ("item 1", "bob", "linear_aligned"),
        ("item 2", "ann", "linear_aligned"),
        ("item 2", "bob", "tie"),
    ]
    assert len(judgements.shared(studied.database, Selection(), 1)) == 2  # one thing, all who judged it
    assert judgements.repeats(studied.database, Selection()) == [("ann", 2, 1)]
    assert judgements.repeats(studied.database, Selection(persona="tea")) == []


def test_single_votes_come_with_both_texts_and_a_sample_is_the_same_every_time(studied: Store):
    votes = list(judgements.decisive(studied.database, Selection(study="s1"), 100))
    assert sorted((v.rater, v.first, v.chose_first) for v in votes) == [
        ("ann", "baseline", False), ("ann", "baseline", True), ("ann", "linear_aligned", True),
        ("ann", "linear_aligned", True), ("bob", "baseline", False),
    ]  # fmt: skip
    assert {(v.first, v.first_text) for v in votes} == {("linear_aligned", GOOD), ("baseline", BAD)}
    some = list(judgements.decisive(studied.database, Selection(), 3))
    assert len(some) == 3 and some == list(judgements.decisive(studied.database, Selection(), 3))


def test_raters_names_are_those_they_gave(studied: Store):
    with studied.database.write() as db:
        for id_, name in (("ann", "Ann"), ("bob", "")):
            db["raters"].insert({"id": id_, "name": name, "kind": "browser", "consent_version": "1", "consented": "1"})
    assert rater_names(studied.database) == {"ann": "Ann"}
