"""A clock that goes backwards: ids, order, tasks, visits and deletions hold."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.visits import Visits
from storage import clock
from storage.database import now
from storage.history import rounds_of
from storage.log_rows import bury, tombstones_of
from storage.raters import RaterTable
from storage.records import Rater, Vote
from storage.store import Store
from tests.rounds import a_round, add_choice
from tests.test_store import a_version

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


@pytest.fixture
def hands(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[datetime]]:
    """The machine's clock: its one element is what it says. The process has told no time yet."""
    hands = [NOON]
    monkeypatch.setattr(clock, "wall", lambda: hands[0])
    monkeypatch.setattr(clock, "_last", datetime.min.replace(tzinfo=UTC))
    return hands


def test_times_only_grow_whatever_the_clock_says(hands: list[datetime]):
    told = []
    for minutes in (0, 0, 1, -60, -60, -59, 2):
        hands[0] = NOON + timedelta(minutes=minutes)
        told.append(now())
    assert told == sorted(set(told)), "strictly: no two share a time"
    assert told[0] == "2026-11-21T12:00:00.000+00:00" and told[-1] == "2026-11-21T12:02:00.000+00:00"


def test_rounds_votes_and_versions_keep_their_order(hands: list[datetime], tmp_path: Path):
    store = Store(tmp_path)
    for number in range(6):
        hands[0] -= timedelta(hours=5)
        add_choice(store, number)
        store.add_version(a_version(store.next_version_id()), publish=True)
    expected = [f"pirate-{number}" for number in range(6)]
    assert [vote.round for vote, _ in store.votes()] == expected == [id_ for id_, _ in store.last_prompts()]
    assert [past.id for past in rounds_of(store.database, "ann", 10)] == expected[::-1]
    assert [version.id for version in store.versions()] == ["v6", "v5", "v4", "v3", "v2", "v1"]
    assert store.published("") == "v6"
    store.publish("", "v2")
    assert store.published("") == "v2"


def test_what_is_made_after_a_deletion_is_not_taken_away_with_it(hands: list[datetime], tmp_path: Path):
    store = Store(tmp_path)
    raters = RaterTable(store.database)
    add_choice(store, 1)
    store.add_round(a_round("bobs", "Tea?", rater="bob"))
    store.vote(Vote("bobs", "ann", "first"))
    raters.save(Rater("ann", name="Ann", consent_version="1"))
    raters.delete("ann")
    hands[0] -= timedelta(days=1)
    raters.save(Rater("ann", name="Ann again", consent_version="1"))
    assert store.vote(Vote("bobs", "ann", "tie")).choice == "tie"
    with store.database.write() as db:
        bury(db, tombstones_of(db))  # as every start of a replica does
    assert [vote.round for vote, _ in store.votes()] == ["bobs"] and raters.get("ann").name == "Ann again"


def test_a_visit_goes_on_and_lasts_no_less_than_nothing(hands: list[datetime], tmp_path: Path):
    store = Store(tmp_path)
    for number in range(3):
        store.add_round(a_round(f"r{number}", f"Question {number}?"))
        store.vote(Vote(f"r{number}", "ann", "first", session="s"))
        hands[0] -= timedelta(minutes=5)
    visit = Visits(store).now("ann", "s")
    assert (visit.session, visit.labels) == ("s", 3) and visit.minutes >= 0
    # Another process, which was told no later time: the labels lie in its future.
    assert Visits(store).now("ann", "s", NOON - timedelta(minutes=10)).minutes == 0
    assert Visits(store).now("ann", "s", NOON - timedelta(hours=10)).session != "s"
