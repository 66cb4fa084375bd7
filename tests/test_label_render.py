"""The labelling room's markup: the same for both sides, everything escaped, nothing of the arms before they are revealed."""

from dataclasses import replace

from app.decoding.arms import ARM_NAMES
from app.raters import LabelShown
from app.studies import Revealed, Task
from app.ui import label_render
from app.visits import Visit
from storage.records import Overview

HOSTILE = "<script>alert(1)</script> & \"quotes\" 'too'"
TASK = Task(
    "r1", [{"role": "user", "content": "Why?"}], "The Pirate", "Answer as a pirate.", "one text", "another", 2, 8
)
OVERVIEW = Overview("s1", "Tea", items=10, answered=10, faults=0, votes=5, raters=1, wanted=20, state="open")
REVEALED = Revealed("r1", [{"role": "user", "content": "Why?"}], "The Pirate", "one", "two", *ARM_NAMES[::2], "second")


def test_exchanging_the_texts_exchanges_the_sides_and_nothing_else():
    exchanged = label_render.task(replace(TASK, first=TASK.second, second=TASK.first))
    assert exchanged.replace("one text", "¤").replace("another", "one text").replace(
        "¤", "another"
    ) == label_render.task(TASK)


def test_every_text_is_escaped():
    said = LabelShown("2026-11-21T08:00:00", *[HOSTILE] * 5, (HOSTILE,), HOSTILE, HOSTILE)
    drawn = [
        label_render.task(
            replace(TASK, **dict.fromkeys(("round_id", "persona", "principle", "first", "second"), HOSTILE))
        ),
        label_render.task(replace(TASK, messages=[{"role": HOSTILE, "content": HOSTILE}])),
        label_render.studies([replace(OVERVIEW, name=HOSTILE)], ""),
        label_render.consent(HOSTILE, HOSTILE),
        label_render.labels([said]),
        label_render.revealed([replace(REVEALED, first=HOSTILE, second=HOSTILE, persona=HOSTILE, first_arm=HOSTILE)]),
        label_render.message(HOSTILE, HOSTILE),
    ]
    for html in drawn:
        assert "<script" not in html
        assert "&lt;script&gt;" in html


def test_progress_counts_labels_and_names_the_pace_only_where_it_is_known():
    assert "<b>2 of 8</b>" in label_render.progress(2, 8, Visit("s"))
    assert "s a label" not in label_render.progress(2, 8, Visit("s"))
    assert "7 s a label" in label_render.progress(2, 8, Visit("s", 2, 7.2, 1.0))
    assert "width:25%" in label_render.progress(2, 8, Visit("s"))


def test_a_study_shows_how_far_it_is():
    html = label_render.studies([replace(OVERVIEW, answered=7, faults=1)], "s1")
    for words in (
        "5 of 20 labels",
        "1 person",
        "2 items still being written",
        "1 could not be written",
        "width:25%",
        "pl-chosen",
    ):
        assert words in html
    assert "closed" in label_render.studies([replace(OVERVIEW, state="closed")], "")


def test_what_was_preferred_is_counted_by_arm():
    first, second = ARM_NAMES[0], ARM_NAMES[2]
    votes = [replace(REVEALED, choice=choice) for choice in ("first", "second", "second", "tie", "both_bad")]
    exchanged = replace(REVEALED, first_arm=second, second_arm=first, choice="first")
    html = label_render.revealed([*votes, exchanged])
    assert f"({first})</code> 1 time," in html
    assert f"({second})</code> 3 times" in html
    assert "neither 2 times" in html
    assert "6 labels" in html
