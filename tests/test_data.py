"""Looking through the rounds: what each filter finds, pages, a round with everything that made it, and markup that stays text."""

from dataclasses import replace
from pathlib import Path

import pytest

from app.data import Data
from app.errors import InputError, NotAllowedError, NotFoundError
from app.import_pairs import ImportReport
from app.ui import data_render
from storage.browse import NOT_VOTED, PAGE, Wanted, choices_to_filter
from storage.imported import Source
from storage.records import Vote
from storage.store import Store
from tests.rounds import BAD, GOOD, a_round, answers

MARKUP = "<img src=x onerror=alert(1)>&"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Five rounds, r0 the oldest; r3 is of a study and nobody voted on r4."""
    store = Store(tmp_path)
    for number in range(5):
        second = ("baseline", "principle_prompted")[number % 2]
        texts = answers(**{"linear_aligned": GOOD, "baseline": BAD, second: BAD})
        persona, version = ("pirate", "")[number == 2], ("", "v3")[number > 2]
        store.add_round(
            a_round(
                f"r{number}", f"Question {number}?", persona, adapter=version, second_arm=second, answers=texts
            )
        )  # fmt: skip
        if number < 4:
            choice = ("first", "second", "tie", "both_bad")[number]
            store.vote(
                Vote(f"r{number}", ("abc1", "abd2")[number % 2], choice, "because it sings" if number == 1 else "")
            )
    store.vote(Vote("r0", "xyz3", "tie"))
    with store.database.write() as db:
        row = {"arms": "[]", "overlap": 1, "repeat": 0, "settings": "{}", "state": "open"}
        db["studies"].insert({"id": "s", "name": "Tone", **row})
        db["study_items"].insert({"id": 7, "study": "s", "position": 0, "persona": "", "messages": "[]"})
        db.execute("update rounds set item = 7 where id = 'r3'")
        db["raters"].insert(
            {"id": "xyz3", "name": "Xenia", "kind": "browser", "consent_version": "1", "consented": "2020"}
        )
    return store


@pytest.fixture
def data(store: Store) -> Data:
    return Data(store, authorise=lambda token: None)


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        ({}, "43210"),
        ({"persona": "pirate"}, "4310"),
        ({"persona": ""}, "2"),
        ({"study": "Tone"}, "3"),
        ({"study": "nobody"}, ""),
        ({"choice": "tie"}, "20"),
        ({"choice": "both_bad"}, "3"),
        ({"choice": NOT_VOTED}, "4"),
        ({"arm": "principle_prompted"}, "31"),
        ({"arm": "linear_aligned"}, "43210"),
        ({"version": "v3"}, "43"),
        ({"version": ""}, "210"),
        ({"rater": "ab"}, "3210"),
        ({"rater": "abc"}, "20"),
        ({"rater": "ab%"}, ""),
        ({"rater": "a_c"}, ""),
        ({"words": "question 3"}, "3"),
        ({"words": "SINGS because"}, "1"),
        ({"words": "tea"}, "43210"),
        ({"ids": ("r1", "r4", "gone", "r0")}, "140"),
        ({"ids": ("r1", "r4", "r0"), "persona": "pirate", "choice": "first"}, "0"),
        ({"words": "tea", "arm": "baseline", "version": "", "rater": "abc"}, "20"),
        ({"persona": "' or 1=1 --"}, ""),
    ],
)
def test_filters(data: Data, wanted: dict, found: str):
    page = data.find(Wanted(**wanted))
    assert "".join(entry.id[1] for entry in page.entries) == found
    assert page.found == len(found)


def test_entry_says_what_was_shown_and_chosen(data: Data):
    entry = data.find(Wanted(ids=("r0",))).entries[0]
    assert (entry.prompt, entry.choices, entry.study, entry.first_arm, entry.second_arm) == (
        "Question 0?", ("first", "tie"), "", "linear_aligned", "baseline"
    )  # fmt: skip
    assert data.find(Wanted(ids=("r3",))).entries[0].study == "Tone"


def test_pages_hold_every_round_once(tmp_path: Path):
    store = Store(tmp_path)
    for number in range(2 * PAGE + 3):
        store.add_round(a_round(f"r{number}", "Why?"))
    data = Data(store, authorise=lambda token: None)
    pages = [data.find(Wanted(), number) for number in range(3)]
    ids = [entry.id for page in pages for entry in page.entries]
    assert ids == [f"r{number}" for number in reversed(range(2 * PAGE + 3))]
    assert [len(page.entries) for page in pages] == [PAGE, PAGE, 3] and pages[0].last == 2
    assert data.find(Wanted(), 99) == pages[2] and data.find(Wanted(), -1) == pages[0]
    assert data.find(Wanted(persona="zen"), 5).entries == ()


def test_a_round_opens_with_everything_that_made_it(store: Store, data: Data):
    found = data.opened("r0")
    assert found.round == store.round("r0")
    assert list(found.votes) == [vote for vote, round_ in store.votes() if round_.id == "r0"]
    assert (found.names, found.study) == ({"xyz3": "Xenia"}, "")
    assert data.opened("r3").study == "Tone"
    shown = data_render.opened(found, {"pirate": "A pirate"})
    for word in (
        "Question 0?", "tea, matey", "the sky", "Answer as a pirate. (weight 1)", "A pirate", "tiny (r)", "{&quot;seed&quot;: 1}",
        "Xenia (xyz3)", "Aligned better", "both as good", "first side", "second side", "the original model",
    ):  # fmt: skip
        assert word in shown, word
    with pytest.raises(NotFoundError):
        data.opened("nowhere")


def test_rounds_of_two_versions_are_found_by_both_and_say_so(store: Store, data: Data):
    duels = {"d1": ("baseline", "baseline @ v3"), "d2": ("linear_aligned @ v4", "linear_aligned @ v3*1.5")}
    for id_, (first, second) in duels.items():
        texts = answers(**{first: GOOD, second: BAD})
        store.add_round(a_round(id_, "Two?", first_arm=first, second_arm=second, answers=texts))
    found = {v: [entry.id for entry in data.find(Wanted(version=v)).entries] for v in ("", "v3", "v4", "v3*1.5", "v")}
    assert found == {"": ["d1", "r2", "r1", "r0"], "v3": ["d1", "r4", "r3"], "v4": ["d2"], "v3*1.5": ["d2"], "v": []}
    assert choices_to_filter(store.database)["version"] == ["", "v3", "v3*1.5", "v4"]
    by_arm = {
        arm: [entry.id for entry in data.find(Wanted(arm=arm, words="two")).entries]
        for arm in ("baseline", "linear_aligned")
    }
    assert by_arm == {"baseline": ["d1"], "linear_aligned": ["d2"]}

    listed = data.find(Wanted(words="two"))
    assert [entry.versions for entry in listed.entries] == [("v4", "v3*1.5"), ("", "v3")]
    assert "original, v3" in data_render.listed(listed, {})
    assert "the original model, v3" in data_render.opened(data.opened("d1"), {})


def test_markup_stays_text(store: Store, data: Data):
    """Of the asker, of the model, of the rater, of the owner and of a file."""
    round_ = a_round(
        "m", MARKUP, MARKUP, principles=[{"text": MARKUP, "weight": 1.0}], settings={"x": MARKUP}, model=MARKUP, adapter=MARKUP
    )  # fmt: skip
    round_.answers["baseline"] = replace(round_.answers["baseline"], text=MARKUP)
    store.add_round(round_)
    store.vote(Vote("m", MARKUP, "first", MARKUP, chips=(MARKUP,), edited_side="first", edited=MARKUP, session=MARKUP))
    with store.database.write() as db:
        db.execute("update studies set name = ?", [MARKUP])
        db.execute("update rounds set item = 7 where id = 'm'")
    shown = [
        data_render.opened(data.opened("m"), {}),
        data_render.listed(data.find(Wanted(ids=("m",))), {MARKUP: MARKUP}),
        data_render.imported(ImportReport(MARKUP, 1, 1, (MARKUP,))),
        data_render.sources([Source(MARKUP, MARKUP, 1, "")], {}),
    ]
    assert [text.count("<img") for text in shown] == [0] * 4
    assert [text.count("&lt;img src=x onerror=alert(1)&gt;&amp;") for text in shown] == [13, 4, 2, 2]


def test_what_there_is_to_choose_from(store: Store):
    assert choices_to_filter(store.database) == {"persona": ["", "pirate"], "study": ["Tone"], "version": ["", "v3"]}


def test_looking_is_the_owners(store: Store):
    def closed(token: str) -> None:
        if token != "open sesame":
            raise NotAllowedError("this needs the owner's token")

    data = Data(store, closed)
    for ask in (lambda: data.find(Wanted()), lambda: data.opened("r0")):
        with pytest.raises(NotAllowedError):
            ask()
    assert data.find(Wanted(), token="open sesame").found == 5


def test_a_search_for_nothing_is_a_sentence(data: Data):
    with pytest.raises(InputError, match="at least one word"):
        data.find(Wanted(words="***"))
