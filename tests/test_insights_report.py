"""The use case, the command and the page's words on hand-made votes: right figures, right words, nothing unescaped, nothing untold."""

import json
import re
from dataclasses import replace
from pathlib import Path

import orjson
import pytest

from app.__main__ import main
from app.errors import NotAllowedError, NotFoundError, StorageError
from app.insights import Share, share
from app.insights_quick import oriented, quick
from app.insights_report import FRESH_SECONDS, Insights
from app.insights_slow import MOST_TEXTS, compute
from app.ui import insights_render
from storage.records import Choice
from storage.store import Store
from storage.tallies import Selection, tallies
from tests.rounds import GOOD, add_choice, answers

HOSTILE = '<img src=x onerror="alert(1)">'
SWAPPED = {"first_arm": "baseline", "second_arm": "linear_aligned"}


def refuse(token: str) -> None:
    if token != "the owner's":
        raise NotAllowedError("the owner's token is needed")


def fill(
    store: Store,
    wins: int,
    losses: int,
    ties: int = 0,
    start: int = 0,
    persona: str = "pirate",
    raters: int = 4,
    **changes,
) -> None:
    """Votes for and against the aligned answer, which stands first in every other round."""
    outcomes = ["win"] * wins + ["loss"] * losses + ["tie"] * ties
    for number, outcome in enumerate(outcomes, start=start):
        first = number % 2 == 0
        choice: Choice = "tie" if outcome == "tie" else "first" if (outcome == "win") == first else "second"
        add_choice(store, number, persona, choice, f"rater{number % raters}", **({} if first else SWAPPED), **changes)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """28 votes for the aligned answer, 12 against, 4 ties on pirates; 3 for it on tea; 2 of answers from version v2."""
    store = Store(tmp_path / "data")
    fill(store, 28, 12, 4)
    fill(store, 3, 0, persona="tea", start=100)
    fill(store, 1, 1, persona="tea", start=200, adapter="v2", blind=False)
    return store


@pytest.fixture
def insights(store: Store) -> Insights:
    return Insights(store, refuse)


def test_counts_stand_at_once_with_their_intervals(store: Store):
    found = quick(store.database, Selection())
    base, version = found.pairs
    assert found.votes == 49 and found.first.n == 45
    assert (base.one, base.other) == ("linear_aligned", "baseline") and version.one == "linear_aligned @ v2"
    assert base.decisive == share(31, 43) and base.half == share(33, 47) and base.ties == 4 and base.both_bad == 0
    assert [(part.name, part.decisive) for part in base.personas] == [("pirate", share(28, 40)), ("tea", share(3, 3))]
    assert base.as_first.n + base.as_second.n == 43 and not base.too_early and base.by_day
    assert version.too_early and version.missing == {"0.55": 781, "0.60": 192, "0.70": 45}
    assert [part.decisive.n for part in base.times] == [43] and base.raters == []
    assert quick(store.database, Selection(blind_only=True)).votes == 47
    assert quick(store.database, Selection(persona="tea")).votes == 5


def test_arms_are_turned_so_that_the_aligned_one_is_asked_about(store: Store):
    (tally, _) = tallies(store.database, Selection())
    assert (tally.one, oriented(tally).one, oriented(tally).wins) == ("baseline", "linear_aligned", tally.losses)
    other = replace(tally, one="a <new> arm", other="principle_prompted")
    assert oriented(other).one == "principle_prompted"


def test_a_side_that_is_always_chosen_is_seen_and_is_no_preference(tmp_path: Path):
    store = Store(tmp_path)
    for number in range(60):
        add_choice(store, number, "pirate", "first", f"rater{number % 6}", **(SWAPPED if number % 2 else {}))
    found = quick(store.database, Selection())
    (pair,) = found.pairs
    assert found.first == share(60, 60) and pair.decisive == share(30, 60)
    assert pair.as_first == share(30, 30) and pair.as_second == share(0, 30)
    slow = compute(store.database, Selection())
    assert slow.first.interval[0] > 0.9 and "separation" in slow.adjusted[0].adjusted.fault


def test_what_takes_longer_is_of_the_same_votes(store: Store):
    slow = compute(store.database, Selection())
    base = slow.clustered[0]
    assert (base.one, base.raters, base.decisive.value, base.half.value) == ("linear_aligned", 4, 31 / 43, 33 / 47)
    assert (
        base.decisive.interval[0] <= share(31, 43).interval[0]
        and base.decisive.interval[1] >= share(31, 43).interval[1]
    )
    assert [{s.name for s in group.strengths} for group in slow.groups] == [
        {"linear_aligned", "baseline"},
        {"linear_aligned @ v2", "baseline @ v2"},
    ]
    assert slow.groups[0].strengths[0].n == 47  # ties among them
    assert (slow.texts, slow.sampled, slow.longer.n) == (45, False, 0)  # GOOD and BAD have two words each
    (fit,) = slow.adjusted  # the other pair has two votes
    assert fit.adjusted.effect.rate[0] > 0.5 and fit.adjusted.length is None
    assert slow.itself is None and slow.agreement.items == 0 and MOST_TEXTS > 45
    assert slow.made > "2020" and slow.seconds >= 0


def test_the_longer_answer_is_found_to_be_chosen(tmp_path: Path):
    store = Store(tmp_path)
    longer = answers(linear_aligned=GOOD, baseline="five words are more here")
    fill(store, 5, 35, answers=longer)
    assert compute(store.database, Selection()).longer.value == 35 / 40


def test_the_background_computes_once_and_what_it_made_is_kept(insights: Insights, store: Store):
    selection = insights.selection()
    first = insights.report(selection)
    assert first.computing and first.slow is None and first.quick.votes == 49
    thread = insights._thread
    assert insights.report(insights.selection("tea")).computing  # waits its turn: one at a time
    assert insights._thread is thread or not thread.is_alive()
    thread.join(300)
    second = insights.report(selection)
    assert not second.computing and second.slow.texts == 45
    fill(store, 1, 0, start=300)
    third = insights.report(selection)  # new votes are counted at once, the slow figures may be a minute old
    assert third.slow is second.slow and not third.computing and third.quick.votes == 50 and FRESH_SECONDS <= 60
    assert insights.report(selection, wait=True).slow.texts == 46
    orjson.dumps(insights.report(selection).described())  # as the page's server does, which takes texts as names only


def test_rows_of_single_raters_are_the_owners(insights: Insights, store: Store):
    selection = insights.selection()
    for token in ("", "guessed"):
        with pytest.raises(NotAllowedError):
            insights.report(selection, raters=True, token=token)
    anybody, owner = insights.report(selection), insights.report(selection, raters=True, token="the owner's")
    assert "rater1" not in json.dumps(anybody.described()["quick"])
    rows = owner.quick.pairs[0].raters
    assert {row.name for row in rows} == {f"rater{i}" for i in range(4)} and sum(r.decisive.n for r in rows) == 43
    assert [r.decisive.n for r in rows] == sorted((r.decisive.n for r in rows), reverse=True)


def test_what_is_not_there_is_named(insights: Insights, tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"'nobody'.*pirate, tea"):
        insights.selection("nobody")
    with pytest.raises(NotFoundError, match=r"'Tea'.*none yet"):
        insights.selection(study="Tea")
    empty = Insights(Store(tmp_path / "empty"), refuse)
    found = empty.report(empty.selection(), wait=True)
    assert found.quick.votes == 0 and found.slow.groups == [] and found.slow.first.n == 0
    assert "No votes here yet" in insights_render.report(found, {})


def test_a_database_that_is_gone_is_told_and_not_computed_again_and_again(insights: Insights, store: Store):
    selection = insights.selection()
    found = quick(store.database, selection)
    with store.database.write() as db:
        db.execute("alter table answers rename to elsewhere")
    assert insights._compute(selection, (1, 1)).fault.startswith("the database")
    kept, computing = insights._background(selection, insights._votes(found))
    assert not computing and kept.slow is None and "could not be used" in kept.fault
    with pytest.raises(StorageError):
        compute(store.database, selection)


# --- words


def plain(markup: str) -> str:
    return re.sub(r"\s+", " ", re.sub(r"<svg.*?</svg>|<[^>]+>", " ", markup, flags=re.S))


def test_the_page_says_it_in_words_with_n_and_interval(insights: Insights):
    found = insights.report(insights.selection(), wait=True)
    markup = insights_render.report(found, {"pirate": "Pirate", "tea": "Tea"})
    text = plain(markup)
    assert "The aligned answer was preferred to the plain answer in 72% of 43 clear choices (57% to 83%)." in text
    assert "Too early to say: 2 clear choices so far, and below 20" in text
    assert "781 more to find 55%, 192 more to find 60%, 45 more to find 70% (power 80 %, alpha 5 %)" in text
    assert "of v2" in text and "Bradley-Terry" in text and "never met" in text and "side bias" in text
    assert "Pirate 70% of 40 (55% to 82%)" in text and "Tea 100% of 3" in text
    assert found.slow.made[:19].replace("T", " ") in text
    # Every plot has its numbers beside it.
    assert markup.count("pl-interval") > 5
    for figure in re.findall(r'<div class="pl-figure">(.*?)</div>', markup, re.S):
        assert re.search(
            r"\d of \d+ \(\d+% to \d+%\)|% of \d+ \(|, \d+ comparisons|on \d+ items|no votes|not told", figure
        ), figure
    assert "http" not in markup


def test_few_votes_that_differ_from_chance_or_do_not_are_told_apart(tmp_path: Path):
    store, insights = Store(tmp_path), None
    fill(store, 14, 10, raters=24)
    insights = Insights(store, refuse)
    text = plain(insights_render.report(insights.report(insights.selection(), wait=True), {}))
    assert "It could still be chance." in text and "759 more for 55%" in text
    fill(store, 26, 0, start=50, raters=26)
    text = plain(insights_render.report(insights.report(insights.selection(), wait=True), {}))
    assert "That is more than chance would give." in text


def test_names_of_people_personas_studies_and_arms_are_escaped(tmp_path: Path):
    store = Store(tmp_path)
    with store.database.write() as db:
        db["studies"].insert(
            {
                "id": "s",
                "created": "1",
                "name": HOSTILE,
                "arms": "[]",
                "overlap": 1,
                "repeat": 0.0,
                "settings": "{}",
                "state": "open",
            }
        )
        db["study_items"].insert({"id": 1, "study": "s", "position": 1, "persona": "p", "messages": "[]"})
        db["raters"].insert({"id": "ann", "name": HOSTILE, "kind": "browser", "consent_version": "1", "consented": "1"})
    add_choice(
        store,
        1,
        HOSTILE,
        rater="ann",
        item=1,
        first_arm=HOSTILE,
        adapter=HOSTILE,
        answers=answers(**{HOSTILE: "a", "baseline": "b"}),
    )
    add_choice(store, 2, rater=HOSTILE)
    insights = Insights(store, refuse)
    found = insights.report(insights.selection(), raters=True, token="the owner's", wait=True)
    for names in ({}, {HOSTILE: HOSTILE, "pirate": HOSTILE}):
        markup = insights_render.report(found, names)
        assert "<img" not in markup and markup.count("&lt;img") >= 5


def test_what_is_being_computed_or_failed_is_said(insights: Insights):
    found = insights.report(insights.selection(), wait=True)
    waiting = replace(found, slow=None, computing=True)
    assert "Being computed" in insights_render.report(waiting, {})
    assert "side bias" in plain(insights_render.report(waiting, {}))
    failed = replace(found, slow=None, computing=False, fault="the disk <b>burns</b>")
    assert "the disk &lt;b&gt;burns" in insights_render.report(failed, {})
    assert "Newer figures are being computed" in insights_render.report(replace(found, computing=True), {})


def test_a_share_without_votes_has_no_number():
    assert insights_render.told(Share(0.5, 0, (0.0, 1.0))) == "no votes"


# --- the command line


def test_the_command_prints_one_json_object_or_lines(store: Store, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setenv("PLUMBLINE_DATA", str(store.path.parent))
    assert main(["insights", "--json", "--persona", "pirate", "--blind-only"]) == 0
    out = capsys.readouterr().out
    report = json.loads(out)
    assert out.count("\n") == 1 and report["quick"]["votes"] == 44 and not report["computing"]
    assert report["quick"]["pairs"][0]["decisive"] == {"value": 0.7, "n": 40, "interval": list(share(28, 40).interval)}
    assert report["slow"]["clustered"][0]["raters"] == 4 and len(report["quick"]["pairs"][0]["raters"]) == 4
    assert main(["insights"]) == 0
    text = capsys.readouterr().out
    assert "linear_aligned preferred to baseline: 72.1% (57.3% to 83.3%) of 43 of the decisive votes" in text
    assert "too early to say; still needed (power 80 %, alpha 5 %): 781 for 55%, 192 for 60%, 45 for 70%" in text
    assert "Bradley-Terry strengths: linear_aligned" in text
    for wrong in (["--persona", "nobody"], ["--study", "none"]):
        assert main(["insights", *wrong]) == 2
        error = capsys.readouterr().err
        assert error.startswith("plumbline: ") and "Traceback" not in error
