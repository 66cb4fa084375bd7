"""Visits: counted from the stored votes of one rater and session, over when nothing was labelled for half an hour."""

from datetime import UTC, datetime, timedelta

from app.visits import BREAK_AFTER_LABELS, BREAK_AFTER_MINUTES, ENDS_AFTER_MINUTES, Visit, Visits
from storage.records import Vote
from storage.store import Store
from tests.rounds import a_round

BEGIN = datetime(2026, 11, 21, 12, tzinfo=UTC)


def label(
    store: Store, number: int, at: datetime, seconds: float | None, rater: str = "ann", session: str = "s"
) -> None:
    """One vote, set back or forth to a time."""
    store.add_round(a_round(f"r{number}", f"Question {number}?"))
    store.vote(Vote(f"r{number}", rater, "first", dwell_seconds=seconds, session=session))
    with store.database.write() as db:
        db.execute(
            "update votes set created = ? where round = ?", [at.isoformat(timespec="milliseconds"), f"r{number}"]
        )


def test_the_pace_is_the_median_of_the_labels_that_were_timed(store: Store):
    for number, seconds in enumerate([3.0, None, 50.0, 5.0]):
        label(store, number, BEGIN + timedelta(minutes=number), seconds)
    assert Visits(store).now("ann", "s", BEGIN + timedelta(minutes=4)) == Visit("s", 4, 5.0, 4.0)


def test_other_raters_and_other_sessions_are_no_part_of_it(store: Store):
    label(store, 1, BEGIN, 3.0)
    label(store, 2, BEGIN, 90.0, rater="bob")
    label(store, 3, BEGIN, 90.0, session="earlier")
    assert Visits(store).now("ann", "s", BEGIN) == Visit("s", 1, 3.0, 0.0)


def test_a_new_browser_gets_a_session_and_a_new_session_stays(store: Store):
    visits = Visits(store)
    drawn = visits.now("ann", "").session
    assert drawn
    assert drawn != visits.now("ann", "").session
    assert visits.now("ann", drawn) == Visit(drawn)


def test_a_visit_ends_half_an_hour_after_its_last_label_not_after_its_first(store: Store):
    visits = Visits(store)
    label(store, 1, BEGIN, 3.0)
    label(store, 2, BEGIN + timedelta(minutes=20), 3.0)
    end = BEGIN + timedelta(minutes=20 + ENDS_AFTER_MINUTES)
    assert visits.now("ann", "s", end).session == "s"
    later = visits.now("ann", "s", end + timedelta(seconds=1))
    assert later.session != "s"
    assert later.labels == 0


def test_a_break_is_wanted_after_many_labels_or_a_long_time():
    assert not Visit("s", BREAK_AFTER_LABELS - 1, 3.0, BREAK_AFTER_MINUTES - 0.1).wants_break
    assert Visit("s", BREAK_AFTER_LABELS, 3.0, 1.0).wants_break
    assert Visit("s", 1, 3.0, BREAK_AFTER_MINUTES).wants_break
