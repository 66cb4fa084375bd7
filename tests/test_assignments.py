"""Who labels what, on real SQLite files: how many, in which order, on which sides, what comes back, and what racing raters get."""

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InputError, NotFoundError
from storage.assignments import GAP, LEAN, RESERVED, Assignments
from storage.records import Handed, Study, Vote
from storage.store import Store
from storage.studies import StudyTable
from tests.studies import ARMS, add_study, answer, both_rounds

ROOT = Path(__file__).parent.parent
LONG_AGO = "2020-01-01T00:00:00.000+00:00"


def tasks(store: Store, study: Study) -> list[dict[str, Any]]:
    """Every assignment of a study with its item's persona and prompt and the arm that was shown first, in the order of handing out."""
    query = """
        select a.*, i.persona, i.messages, r.first_arm from assignments a join study_items i on i.id = a.item
        join rounds r on r.id = a.round where i.study = ? order by a.id
    """
    with store.database.open() as db:
        return list(db.query(query, [study.id]))


def vote(store: Store, round_id: str, rater: str) -> None:
    store.vote(Vote(round_id, rater, "first"))


def label_all(store: Store, study: Study, rater: str) -> Iterator[Handed]:
    """Labels to the end; yields what was handed out before each vote."""
    hands = Assignments(store.database)
    while (handed := hands.hand_out(study, rater)).round:
        yield handed
        vote(store, handed.round, rater)


def lean(rows: list[dict[str, Any]]) -> int:
    return sum(1 if row["first_arm"] == ARMS[0] else -1 for row in rows)


# --- how many, and in which order


def test_every_item_gets_its_raters_and_nobody_gets_one_twice(store: Store):
    study = add_study(store, prompts=6, personas=("pirate", "zen"), overlap=3)
    for rater in ("ann", "bob", "cat", "dan"):
        assert len(list(label_all(store, study, rater))) == (0 if rater == "dan" else 12)
    rows = tasks(store, study)
    assert set(Counter(row["item"] for row in rows).values()) == {3} and {row["state"] for row in rows} == {"done"}
    assert len({(row["item"], row["rater"]) for row in rows}) == len(rows) == 36


def test_progress_counts_to_the_end(store: Store):
    study = add_study(store, prompts=20, repeat=0.1)
    seen = [(handed.done, handed.total) for handed in label_all(store, study, "ann")]
    assert seen == [(done, 22) for done in range(22)]
    assert Assignments(store.database).hand_out(study, "ann") == Handed("", 0, 22, 22)


def test_items_with_fewest_raters_come_first(store: Store):
    study = add_study(store, prompts=4, overlap=2)
    hands = Assignments(store.database)
    for rater in ("ann", "bob", "cat", "dan"):
        hands.hand_out(study, rater)
    assert len({row["item"] for row in tasks(store, study)}) == 4


def test_a_rater_meets_personas_and_prompts_in_turn(store: Store):
    study = add_study(store, prompts=6, personas=("pirate", "zen", "curt"))
    list(label_all(store, study, "ann"))
    rows = tasks(store, study)
    for start in range(0, 18, 3):
        assert {row["persona"] for row in rows[start : start + 3]} == {"pirate", "zen", "curt"}
    assert len({row["messages"] for row in rows[:6]}) == 6


def test_the_order_of_the_items_is_that_of_their_positions(store: Store):
    study = add_study(store, prompts=8)
    list(label_all(store, study, "ann"))
    items = [row["item"] for row in tasks(store, study)]
    assert items == sorted(items)


def test_an_open_task_comes_again_and_is_counted_once(store: Store):
    study = add_study(store, prompts=3)
    hands = Assignments(store.database)
    first = hands.hand_out(study, "ann")
    assert first.round and hands.hand_out(study, "ann") == first
    assert len(tasks(store, study)) == 1


def test_unanswered_items_are_waited_for_and_faulty_ones_are_not(store: Store):
    study = add_study(store, prompts=3, answered=False)
    table, hands = StudyTable(store.database), Assignments(store.database)
    assert hands.hand_out(study, "ann") == Handed("", 3, 0, 3)
    answer(store, "s", most=1)
    handed = hands.hand_out(study, "ann")
    assert handed.round and (handed.pending, handed.total) == (2, 3)
    vote(store, handed.round, "ann")
    table.fault(table.unanswered("r", "s"), "too long")
    assert hands.hand_out(study, "ann") == Handed("", 1, 1, 2)
    table.fault(table.unanswered("r", "s"), "too long")
    assert hands.hand_out(study, "ann") == Handed("", 0, 1, 1)
    (overview,) = table.overviews()
    assert (overview.items, overview.answered, overview.faults, overview.votes, overview.raters) == (3, 1, 2, 1, 1)


def test_two_processes_that_answer_an_item_leave_one_pair(store: Store):
    add_study(store, answered=False, prompts=1)
    table = StudyTable(store.database)
    item = table.unanswered("r", "s")
    assert table.answer(item, both_rounds(item)) and not table.answer(item, both_rounds(item, "again-"))
    assert store.counts()["rounds"] == 2 and table.unanswered("r", "s") is None


def test_a_closed_study_hands_nothing_out_but_takes_the_vote_that_was_on_its_way(store: Store):
    study = add_study(store, prompts=3)
    hands = Assignments(store.database)
    on_its_way = hands.hand_out(study, "ann").round
    StudyTable(store.database).close("s")
    assert hands.hand_out(study, "ann").round == "" and hands.hand_out(study, "bob").round == ""
    vote(store, on_its_way, "ann")
    assert len(store.votes()) == 1
    with pytest.raises(InputError, match="is closed; its choices stand"):
        hands.undo(study, "ann")


# --- places that are kept and given up


def test_a_skip_frees_the_place_and_does_not_come_again(store: Store):
    study = add_study(store, prompts=1)
    hands = Assignments(store.database)
    handed = hands.hand_out(study, "ann")
    assert hands.hand_out(study, "bob").round == ""
    hands.skip(handed.round, "ann")
    hands.skip(handed.round, "ann")
    assert hands.hand_out(study, "ann") == Handed("", 0, 0, 0)
    assert hands.hand_out(study, "bob").round
    with pytest.raises(InputError, match="was skipped"):
        vote(store, handed.round, "ann")
    assert store.votes() == []


def test_only_an_own_open_task_can_be_skipped_or_labelled(store: Store):
    study = add_study(store, prompts=2)
    hands = Assignments(store.database)
    handed = hands.hand_out(study, "ann").round
    other_sides = handed.removesuffix("x").removesuffix("y") + ("y" if handed.endswith("x") else "x")
    for round_id, rater in ((handed, "bob"), (other_sides, "ann")):
        with pytest.raises(NotFoundError, match="was not handed to you"):
            hands.skip(round_id, rater)
        with pytest.raises(NotFoundError, match="was not handed to you"):
            vote(store, round_id, rater)
    assert store.votes() == []
    vote(store, handed, "ann")
    with pytest.raises(InputError, match="labelled already"):
        hands.skip(handed, "ann")


def test_a_task_that_lay_too_long_frees_its_place_and_is_given_up_once_it_is_taken(store: Store):
    study = add_study(store, prompts=1)
    hands = Assignments(store.database)
    old = hands.hand_out(study, "ann").round
    assert hands.hand_out(study, "bob").round == ""
    lay_for_long(store)
    assert hands.hand_out(study, "ann").round == old  # nobody took it meanwhile, and it is ann's again
    assert hands.hand_out(study, "bob").round == ""
    lay_for_long(store)
    assert hands.hand_out(study, "bob").round
    assert hands.hand_out(study, "ann") == Handed("", 0, 0, 0)
    assert [row["rater"] for row in tasks(store, study)] == ["bob"]


def test_a_label_that_comes_after_the_place_was_lost_is_kept(store: Store):
    study = add_study(store, prompts=1)
    hands = Assignments(store.database)
    old = hands.hand_out(study, "ann").round
    lay_for_long(store)
    vote(store, hands.hand_out(study, "bob").round, "bob")
    vote(store, old, "ann")
    assert sorted(row["rater"] for row in tasks(store, study)) == ["ann", "bob"] and len(store.votes()) == 2


def lay_for_long(store: Store) -> None:
    assert RESERVED.total_seconds() < 3600
    with store.database.write() as db:
        db.execute("update assignments set created = ?", [LONG_AGO])


# --- sides


def test_an_item_is_shown_as_often_one_way_as_the_other(store: Store):
    study = add_study(store, prompts=8, overlap=4)
    for rater in ("ann", "bob", "cat", "dan"):
        for _ in label_all(store, study, rater):
            by_item = [[row for row in tasks(store, study) if row["item"] == item] for item in item_ids(store)]
            assert all(abs(lean(rows)) <= 1 for rows in by_item)
    assert all(lean([row for row in tasks(store, study) if row["item"] == item]) == 0 for item in item_ids(store))


def test_a_rater_sees_both_ways_about_as_often_and_cannot_foretell_them(store: Store):
    orders = set()
    for number in range(6):
        study = add_study(store, f"s{number}", prompts=12)
        leans = []
        for _ in label_all(store, study, "ann"):
            leans.append(lean(tasks(store, study)))
        assert max(map(abs, leans)) <= LEAN
        orders.add(tuple(leans))
    assert len(orders) > 1


def item_ids(store: Store) -> list[int]:
    with store.database.open() as db:
        return [row["id"] for row in db["study_items"].rows]


# --- repeats


@pytest.mark.parametrize(("prompts", "repeat", "expected"), [(30, 0.1, 3), (30, 0.0, 0), (12, 0.5, 6), (4, 0.5, 2), (1, 0.5, 0), (9, 0.05, 0)])  # fmt: skip
def test_the_share_of_repeats(store: Store, prompts: int, repeat: float, expected: int):
    study = add_study(store, prompts=prompts, repeat=repeat)
    assert len(list(label_all(store, study, "ann"))) == prompts + expected
    assert sum(row["repeat"] for row in tasks(store, study)) == expected


@pytest.mark.parametrize("repeat", [0.1, 0.3, 0.5])
def test_a_repeat_is_the_other_way_round_later_and_only_once(store: Store, repeat: float):
    study = add_study(store, prompts=20, repeat=repeat)
    list(label_all(store, study, "ann"))
    rows = tasks(store, study)
    firsts = {row["item"]: place for place, row in enumerate(rows) if not row["repeat"]}
    repeats = [(place, row) for place, row in enumerate(rows) if row["repeat"]]
    assert len(firsts) == 20 and len({row["item"] for _, row in repeats}) == len(repeats) == 20 * repeat
    last_first = max(firsts.values())
    for place, row in repeats:
        first = rows[firsts[row["item"]]]
        assert row["round"] != first["round"] and row["first_arm"] != first["first_arm"]
        assert place - firsts[row["item"]] > (GAP if place < last_first else 1)
    assert any(place < last_first for place, _ in repeats)  # among the others, not all of them behind


def test_repeats_are_labels_of_their_own_and_make_no_study_complete(store: Store):
    study = add_study(store, prompts=10, repeat=0.5, overlap=2)
    list(label_all(store, study, "ann"))
    (overview,) = StudyTable(store.database).overviews()
    assert (overview.votes, overview.wanted, overview.raters, len(store.votes())) == (10, 20, 1, 15)


# --- taking back


def test_undo_opens_the_last_task_again_before_the_one_that_is_open(store: Store):
    study = add_study(store, prompts=4)
    hands = Assignments(store.database)
    one = hands.hand_out(study, "ann").round
    vote(store, one, "ann")
    two = hands.hand_out(study, "ann").round
    vote(store, two, "ann")
    three = hands.hand_out(study, "ann").round
    assert hands.undo(study, "ann") and hands.hand_out(study, "ann").round == two
    assert hands.undo(study, "ann") and hands.hand_out(study, "ann").round == one
    assert not hands.undo(study, "ann") and store.votes() == []
    for expected in (one, two, three):
        handed = hands.hand_out(study, "ann")
        assert (handed.round, handed.total) == (expected, 4)
        vote(store, handed.round, "ann")


def test_undo_is_of_this_rater_in_this_study(store: Store):
    study, other = add_study(store, "s", prompts=2, overlap=2), add_study(store, "o", prompts=2)
    hands = Assignments(store.database)
    for rater, of in (("ann", study), ("bob", study), ("ann", other)):
        vote(store, hands.hand_out(of, rater).round, rater)
    assert hands.undo(study, "ann")
    assert sorted((vote.rater, vote.round[0]) for vote, _ in store.votes()) == [("ann", "o"), ("bob", "s")]


def test_after_the_arms_were_told_nothing_is_taken_back_or_handed_out(store: Store):
    study = add_study(store, prompts=3, overlap=2)
    hands = Assignments(store.database)
    rounds = []
    for _ in range(2):
        rounds.append(hands.hand_out(study, "ann").round)
        vote(store, rounds[-1], "ann")
    assert hands.reveal(study, "ann") == [(round_id, "first") for round_id in rounds]
    with pytest.raises(InputError, match="have been told which answer was which"):
        hands.undo(study, "ann")
    assert hands.hand_out(study, "ann") == Handed("", 0, 2, 2)
    store.vote(Vote(rounds[0], "ann", "second"))  # sent again: the first one stands
    assert {vote.choice for vote, _ in store.votes()} == {"first"} and hands.hand_out(study, "bob").round


# --- at once


def test_racing_raters_never_get_more_than_the_overlap(store: Store):
    study = add_study(store, prompts=6, overlap=3, repeat=0.3)
    barrier = threading.Barrier(9)

    def label(number: int) -> None:
        barrier.wait(60)
        list(label_all(store, study, f"rater {number}"))

    with ThreadPoolExecutor(9) as pool:
        list(pool.map(label, range(9)))
    firsts = [row for row in tasks(store, study) if not row["repeat"]]
    assert set(Counter(row["item"] for row in firsts).values()) == {3}
    assert len({(row["item"], row["rater"]) for row in firsts}) == 18


def test_a_rater_in_many_tabs_has_one_task(store: Store):
    study = add_study(store, prompts=6)
    barrier = threading.Barrier(6)

    def ask(_: int) -> str:
        barrier.wait(60)
        return Assignments(store.database).hand_out(study, "ann").round

    with ThreadPoolExecutor(6) as pool:
        assert len(set(pool.map(ask, range(6)))) == 1
    assert len(tasks(store, study)) == 1


RACE = """
import sys
from pathlib import Path
from storage.assignments import Assignments
from storage.records import Vote
from storage.store import Store
from storage.studies import StudyTable

store = Store(Path(sys.argv[1]))
study, hands = StudyTable(store.database).get("s"), Assignments(store.database)
for _ in range(4):
    for rater in (sys.argv[2], sys.argv[2] + "'s friend"):
        if round_id := hands.hand_out(study, rater).round:
            store.vote(Vote(round_id, rater, "tie"))
"""


def test_racing_processes_never_get_more_than_the_overlap(store: Store):
    study = add_study(store, prompts=8)
    racing = [
        subprocess.Popen([sys.executable, "-c", RACE, store.path.parent, f"rater {n}"], cwd=ROOT) for n in range(3)
    ]
    assert [process.wait(300) for process in racing] == [0, 0, 0]
    assert sorted(row["item"] for row in tasks(store, study)) == item_ids(store) and len(store.votes()) == 8


STEPS = st.lists(
    st.tuples(st.sampled_from(["ann", "bob", "cat"]), st.sampled_from(["vote", "vote", "vote", "ask", "undo", "skip"])),
    max_size=40,
)
number = count()


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store(tmp_path_factory.mktemp("shared"))


@settings(max_examples=25, deadline=None)
@given(steps=STEPS, prompts=st.integers(1, 7), overlap=st.integers(1, 3), repeat=st.sampled_from([0.0, 0.2, 0.5]))
def test_whatever_people_do_the_rules_hold(shared: Store, steps: list, prompts: int, overlap: int, repeat: float):
    study = add_study(shared, f"s{next(number)}", prompts=prompts, overlap=overlap, repeat=repeat)
    hands = Assignments(shared.database)
    skipped = False
    for rater, step in steps:
        handed = hands.hand_out(study, rater)
        if step == "undo":
            hands.undo(study, rater)
        elif handed.round and step == "vote":
            vote(shared, handed.round, rater)
        elif handed.round and step == "skip":
            hands.skip(handed.round, rater)
            skipped = True
        rows = tasks(shared, study)
        held = Counter(row["item"] for row in rows if not row["repeat"] and row["state"] != "skipped")
        assert max(held.values(), default=0) <= overlap
        assert all(sum(row["rater"] == rater and row["state"] == "open" for row in rows) <= 1 + steps.count((rater, "undo")) for rater in ("ann", "bob", "cat"))  # fmt: skip
        for item in held:
            shown = [row for row in rows if row["item"] == item and not row["repeat"] and row["state"] != "skipped"]
            assert skipped or abs(lean(shown)) <= 1
    for rater in ("ann", "bob", "cat"):
        list(label_all(shared, study, rater))
    rows = tasks(shared, study)
    done = Counter(row["item"] for row in rows if not row["repeat"] and row["state"] == "done")
    assert "open" not in {row["state"] for row in rows}
    if not skipped:
        assert set(done.values()) == {overlap} and len(done) == prompts
        for rater in ("ann", "bob", "cat"):
            own = [row for row in rows if row["rater"] == rater]
            firsts = sum(not row["repeat"] for row in own)
            assert len(own) - firsts == (int(firsts * repeat + 0.5) if firsts > 1 else 0)
    voted = {(vote.round, vote.rater) for vote, _ in shared.votes()}
    assert voted >= {(row["round"], row["rater"]) for row in rows if row["state"] == "done"}
