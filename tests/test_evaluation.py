"""The evaluation without a model: what is asked, who takes part, the rules, the figures by hand, the pages that come of them."""

import csv
import io
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from app.decoding.arms import DecodeSettings
from app.embedding import Embedder
from app.errors import InputError, NotFoundError
from app.evaluation.columns import COLUMNS
from app.evaluation.contestants import Contestant, parse, parse_all
from app.evaluation.journal import Journal
from app.evaluation.plan import Outcome, Plan, Written
from app.evaluation.plots import Spot, frontier, scatter, ticks
from app.evaluation.questions import Case, Principle, cases, own_principles, own_prompts, read_questions
from app.evaluation.report import report
from app.evaluation.scoring import by_embedding, by_markers, follows, well_formed
from app.evaluation.summary import summarise
from app.evaluation.tables import as_json, figures_csv, wins_csv
from app.insights.means import clustered_mean
from app.starter import CORPUS_FOLDER, STARTER_FOLDER
from app.starter.compose import load_topics, read_lines
from app.starter.voices import load_voices
from app.starter.wordings import read_wordings
from personas import load_library

LIBRARY = load_library()
VOICES = load_voices(CORPUS_FOLDER / "voices")


def plain(text: str) -> str:
    """The words alone, so that neither case nor signs make two texts different."""
    return " ".join(re.findall(r"[a-z0-9']+", text.lower()))


# --- what is asked


def test_the_own_prompts_are_a_hundred_and_none_of_the_corpus():
    prompts = {plain(question.prompt) for question in own_prompts()}
    assert len(prompts) == 100 and all(question.principle is None for question in own_prompts())
    corpus = {plain(prompt) for topic in load_topics(CORPUS_FOLDER / "topics") for prompt in topic["prompts"]}
    gold = read_lines(CORPUS_FOLDER / "gold.jsonl")
    corpus |= {plain(text) for entry in gold for text in (entry["prompt"], *entry["wordings"])}
    corpus |= {plain(text) for entry in read_lines(CORPUS_FOLDER / "beyond.jsonl") for text in entry["prompts"]}
    corpus |= {plain(entry["prompt"]) for entry in read_lines(STARTER_FOLDER / "evaluation" / "fresh_prompts.jsonl")}
    smalltalk = yaml.safe_load((CORPUS_FOLDER / "smalltalk.yaml").read_text())
    corpus |= {plain(text) for entry in smalltalk for text in entry["prompts"]}
    corpus |= {plain(prompt) for persona in LIBRARY.values() for prompt in persona.example_prompts}
    assert len(corpus) > 10_000
    assert not prompts & corpus


def test_the_own_principles_are_twelve_manners_in_no_wording_of_the_corpus():
    principles = own_principles()
    assert len({p.text for p in principles}) == len({p.persona for p in principles}) == 12
    assert all(VOICES[p.persona].markers or VOICES[p.persona].check for p in principles)
    known = {
        plain(wording)
        for path in (CORPUS_FOLDER / "wordings").glob("*.yaml")
        for group in read_wordings(path).groups
        for wording in group
    }
    unseen = yaml.safe_load((STARTER_FOLDER / "evaluation" / "unseen_personas.yaml").read_text())
    known |= {plain(text) for texts in unseen.values() for text in texts}
    known |= {plain(persona.principle) for persona in LIBRARY.values()}
    assert len(known) > 1000
    assert not {plain(p.text) for p in principles} & known


@pytest.fixture
def listed(tmp_path: Path):
    def write(entries) -> Path:
        path = tmp_path / "questions.json"
        path.write_text(entries if isinstance(entries, str) else json.dumps(entries))
        return path

    return write


@pytest.mark.parametrize(
    ("entry", "prompt", "principle", "persona"),
    [
        ("Why?", "Why?", None, None),
        ({"question": "Why?"}, "Why?", None, None),
        ({"prompt": " Why? ", "answer": "Because.", "id": 7}, "Why?", None, None),
        ({"question": "Why?", "preference": "I like short answers"}, "Why?", "I like short answers.", ""),
        ({"question": "Why?", "persona": "pirate"}, "Why?", "Answer as a pirate.", "pirate"),
        ({"question": "Why?", "persona": "an aunt"}, "Why?", "Answer as an aunt.", ""),
        ({"prompt": "Why?", "persona": "pirate", "preference": "Be brief."}, "Why?", "Answer as a pirate. Be brief.", "pirate"),
        ({"question": "Why?", "persona": None, "preference": ""}, "Why?", None, None),
    ],
)  # fmt: skip
def test_lists_of_questions_in_every_form(listed, entry, prompt, principle, persona):
    (found,) = read_questions(listed([entry]), LIBRARY)
    assert found.prompt == prompt
    assert (found.principle and found.principle.text) == principle
    assert (found.principle and found.principle.persona) == persona


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ("{", "no JSON"),
        ({"question": "Why?"}, "must hold a JSON list"),
        ([], "at least one question"),
        (["Why?", 7], "question 2 is '7'"),
        ([{"text": "Why?"}], "question 1 has neither 'question' nor 'prompt', but 'text'"),
        ([{"question": ["Why?"]}], "of question 1 is .*must be a text"),
        (["Why?", {"question": "Why?", "persona": 3}], "persona of question 2 is '3'"),
        (["  "], "prompt of question 1 is empty"),
        (["x" * 8001], "8001 characters"),
    ],
)
def test_other_lists_are_refused_in_words(listed, entries, message):
    with pytest.raises(InputError, match=message):
        read_questions(listed(entries), LIBRARY)


def test_a_list_that_is_not_there(tmp_path: Path):
    with pytest.raises(NotFoundError, match=r"nowhere\.json' does not exist"):
        read_questions(tmp_path / "nowhere.json", LIBRARY)


def test_questions_go_under_every_principle_or_under_their_own(listed):
    first, second = Principle("Be brief."), Principle("Be warm.")
    asked = read_questions(listed(["A?", {"question": "B?", "preference": "Be odd."}, "A?"]), LIBRARY)
    own = Principle("Be odd.")
    assert cases(asked, [first, second]) == [Case("A?", first), Case("A?", second), Case("B?", own)]
    with pytest.raises(InputError, match="no principle is given"):
        cases(asked, [])


# --- who takes part


def test_contestants_by_words():
    one, two = parse("linear_aligned  ratio=1,2.5 @ v2*0.5+v4*0.5")
    assert one == Contestant("linear_aligned", {"ratio": 1.0}, "v2*0.5+v4*0.5")
    assert two.name == "linear_aligned ratio=2.5 @ v2*0.5+v4*0.5" and one.family == two.family
    assert two.settings(DecodeSettings(seed=3)) == DecodeSettings(seed=3, ratio=2.5)
    assert parse("baseline @ none") == parse("baseline") == [Contestant("baseline")]
    assert [c.name for c in parse("linear_aligned kl_budget=0.1 top_p=0.9,1")] == [
        "linear_aligned kl_budget=0.1 ratio=10 top_p=0.9",
        "linear_aligned kl_budget=0.1 ratio=10 top_p=1",
    ]
    (best,) = parse("best_of_n count=4 annotator=embedding")
    assert (best.count, best.annotator, best.name) == (4, "embedding", "best_of_n count=4 annotator=embedding")
    assert best.settings(DecodeSettings(temperature=0)).temperature > 0


@pytest.mark.parametrize(
    "text", ["baseline", "amulet amulet_alpha=0.5 @ v3", "best_of_n count=2", "adapter_guided @ v1"]
)
def test_a_name_reads_back_as_who_it_names(text):
    (one,) = parse(text)
    assert parse(one.name) == [one]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the arm is ''"),
        ("lineal", "the arm is 'lineal'"),
        ("baseline ratio", "'ratio' .* is no setting of baseline"),
        ("baseline seed=3", "'seed=3' .* is no setting"),
        ("linear_aligned count=3", "'count=3' .* is no setting of linear_aligned"),
        ("best_of_n best_of_count=3", "'best_of_count=3' .* is no setting of best_of_n; there are count,"),
        ("linear_aligned ratio=much", "no number"),
        ("linear_aligned ratio=99", "ratio is 99"),
        ("linear_aligned ratio=1,", "no number"),
    ],
)
def test_who_cannot_take_part_is_told_why(text, message):
    with pytest.raises(InputError, match=message):
        parse(text)


def test_nobody_takes_part_twice():
    with pytest.raises(InputError, match="'baseline' was given twice"):
        parse_all(["baseline", "amulet", "baseline @ none"])


# --- rules


@pytest.mark.parametrize(
    ("persona", "text", "kept"),
    [
        ("pirate", "Boil the water, matey.", True),
        ("pirate", "Boil the water.", False),
        ("lister", "- Boil it.\n- Pour it.", True),
        ("lister", "- Boil it.", False),
        ("lister", "First:\n- Boil it.", False),
        ("curt", "Boil it, then pour.", True),
        ("curt", "one two three four five six seven eight nine ten eleven twelve thirteen", False),
        ("curt", "  ", False),
        ("rhymer", "Boil the pot\nuntil it's hot", True),
    ],
)
def test_a_manner_by_its_rule(persona, text, kept):
    assert follows(text, VOICES[persona]) is kept
    case = Case("Why?", Principle("As it may be.", persona))
    assert by_markers()([case], [written(text)]) == [{"markers": float(kept)}]


def test_rules_have_no_say_on_a_manner_of_ones_own():
    assert by_markers()([Case("Why?", Principle("Be odd."))], [written("Ahoy!")]) == [{"markers": None}]


def test_the_embedder_finds_the_answer_that_is_near():
    case = Case("Why?", Principle("Boil the water and make the tea."))
    near, far, empty = by_embedding(Embedder())(
        [case] * 3, [written(t) for t in ("Tea in hot water.", "Volcanoes.", " ")]
    )
    assert near["embedding"] > far["embedding"] and empty["embedding"] is None
    assert by_embedding(Embedder())([case], [written(case.principle.text)])[0]["embedding"] == pytest.approx(
        1, abs=1e-5
    )


@pytest.mark.parametrize(
    ("text", "ended", "good"),
    [
        ("Boil it.", True, True),
        ("Boil it.", False, False),
        ("Boil it and", True, False),
        ("", True, False),
        ("- Boil it\n- Pour it", True, True),
        ("Boil the water now and boil the water now.", True, False),
    ],
)
def test_a_well_formed_answer(text, ended, good):
    assert well_formed(text, ended) is good


# --- what is kept


def test_a_line_that_was_cut_short_is_done_again(tmp_path: Path):
    path = tmp_path / "work.jsonl"
    journal = Journal(path)
    journal.add("a", [1, "ü\u2028"])
    journal.add("b", {"x": None})
    with path.open("ab") as file:
        file.write(b'{"key": "c", "val')
    again = Journal(path)
    assert again.done == {"a": [1, "ü\u2028"], "b": {"x": None}}
    again.add("c", 3)
    assert Journal(path).done == {**again.done, "c": 3} and len(path.read_bytes().splitlines()) == 3


def test_a_file_of_something_else_is_refused(tmp_path: Path):
    path = tmp_path / "work.jsonl"
    path.write_text("hello\n")
    with pytest.raises(InputError, match="line 1 of"):
        Journal(path)


# --- figures


def written(text: str, forwards: int = 10, seconds: float = 1.0) -> Written:
    return Written(text, True, forwards, seconds)


ASKED = [Case(prompt, Principle(text)) for prompt in ("P?", "Q?") for text in ("Be brief.", "Be warm.")]


def plan_of(asked: list[Case], *names: str) -> Plan:
    contestants = parse_all(list(names))
    against = [contestants[0].name]
    return Plan("tiny", "0", contestants, against, asked, ["markers"], {}, DecodeSettings(temperature=0), 4)


def by_hand() -> tuple[Plan, Outcome]:
    """The aligned arm against the plain one on two prompts with two cases each."""
    plan = plan_of(ASKED, "baseline", "linear_aligned ratio=2")
    answers = {
        "baseline": [written("one two", 5, 1.0) for _ in ASKED],
        "linear_aligned ratio=2": [written("one two three four five", f, 3.0) for f in (10, 20, 5, 5)],
    }
    scores = {"markers": {"baseline": [0.0, 0.0, 1.0, 1.0], "linear_aligned ratio=2": [1.0, 0.0, None, 1.0]}}
    wins = {"endpoint": {("linear_aligned ratio=2", "baseline"): [1.0, 1.0, 0.5, 0.0]}}
    return plan, Outcome(answers, scores, wins)


def test_the_figures_by_hand():
    summary = summarise(*by_hand())
    plain_arm, aligned = summary.figures
    assert (plain_arm.scores["markers"].value, plain_arm.scores["markers"].n) == (0.5, 4)
    assert (aligned.scores["markers"].value, aligned.scores["markers"].n) == (pytest.approx(2 / 3), 3)
    assert (aligned.words, aligned.forwards, aligned.seconds) == (5.0, 10.0, 3.0)
    markers, endpoint = summary.wins
    assert (markers.judge, markers.one, markers.other) == ("markers", "linear_aligned ratio=2", "baseline")
    # Won, tied, out, tied: (1 + 0.5 + 0.5) / 3; its scores are higher by 1, 0 and 0.
    assert (markers.rate.value, markers.rate.n, markers.ties) == (pytest.approx(2 / 3), 3, 2)
    assert markers.gain.value == pytest.approx(1 / 3)
    # Of two prompts the drawings are PP, PQ and QQ: 1/2, 1/3 and 0. Two clusters ask for the whole range.
    assert markers.gain.interval == pytest.approx((0.0, 0.5))
    assert (markers.longer, markers.forwards, markers.seconds) == (2.5, 2.0, 3.0)
    assert markers.at_equal_length is None and "5 of each" in markers.fault
    assert (endpoint.rate.value, endpoint.rate.n, endpoint.ties, endpoint.gain) == (0.625, 4, 1, None)


def test_an_arm_against_its_equal_is_a_half():
    asked = [Case(f"{i}?", p) for i in range(20) for p in own_principles()[:3]]
    plan = plan_of(asked, "baseline", "principle_prompted")
    scores = [float(x) for x in np.random.default_rng(0).normal(size=len(asked))]
    names = [contestant.name for contestant in plan.contestants]
    outcome = Outcome({n: [written("x.")] * 60 for n in names}, {"implicit": dict.fromkeys(names, scores)}, {})
    (win,) = summarise(plan, outcome).wins
    assert win.rate.value == 0.5 and win.rate.interval[0] < 0.5 < win.rate.interval[1] and win.ties == 60
    assert (win.gain.value, win.gain.interval, win.longer, win.forwards) == (0.0, (0.0, 0.0), 1.0, 1.0)


def test_a_win_by_length_alone_is_none_at_equal_length():
    """The longer answer always wins, whoever wrote it; one of the two writes long answers three times as often."""
    rng = np.random.default_rng(3)
    asked = [Case(f"{i}?", Principle("Be brief.")) for i in range(400)]
    plan = plan_of(asked, "baseline", "principle_prompted")
    longer = rng.random(400) < 0.75
    lengths = [(12, 6) if long else (6, 12) for long in longer]
    flips = rng.random(400) < 0.1
    answers = {
        name: [written("w " * pair[i]) for pair in lengths] for i, name in enumerate(("principle_prompted", "baseline"))
    }
    wins = [float(long != flip) for long, flip in zip(longer, flips, strict=True)]
    outcome = Outcome(answers, {}, {"endpoint": {("principle_prompted", "baseline"): wins}})
    (win,) = summarise(plan, outcome).wins
    assert win.rate.interval[0] > 0.6 and win.longer > 1.2
    assert win.at_equal_length[1] < 0.5 < win.at_equal_length[2]


def test_repeating_every_prompt_makes_no_interval_narrower():
    values, prompts = np.random.default_rng(1).normal(size=40), np.arange(40)
    once = clustered_mean(values, prompts)
    again = clustered_mean(np.repeat(values, 12), np.repeat(prompts, 12))
    assert (
        again.interval == pytest.approx(once.interval) and again.n == 480 and again.value == pytest.approx(once.value)
    )
    # A mean of 40 of variance 1: about 1.96 / sqrt(40) on either side.
    assert once.interval[1] - once.interval[0] == pytest.approx(2 * 1.96 / math.sqrt(40), rel=0.25)


def test_one_prompt_says_nothing_about_others():
    assert clustered_mean(np.ones(5), np.zeros(5)).interval == (-math.inf, math.inf)
    assert clustered_mean(np.zeros(0), np.zeros(0)).n == 0


def test_every_contestant_is_compared_with_each_reference_once():
    plan = plan_of(ASKED, "baseline", "principle_prompted", "amulet")
    assert plan.pairs() == [("principle_prompted", "baseline"), ("amulet", "baseline")]
    both = Plan(**{**plan.__dict__, "against": ["baseline", "principle_prompted"]})
    assert both.pairs() == [*plan.pairs(), ("amulet", "principle_prompted")]


# --- pages and tables


def test_tables_say_what_the_figures_say():
    plan, outcome = by_hand()
    summary = summarise(plan, outcome)
    (first, second) = csv.DictReader(io.StringIO(wins_csv(summary.wins)))
    assert (first["arm"], first["against"], float(first["longer"])) == ("linear_aligned ratio=2", "baseline", 2.5)
    assert float(first["win_rate"]) == pytest.approx(2 / 3, abs=1e-6) and second["gain"] == ""
    rows = list(csv.DictReader(io.StringIO(figures_csv(summary.figures))))
    assert [(row["arm"], row["judge"], float(row["forwards"])) for row in rows] == [
        ("baseline", "markers", 5.0),
        ("linear_aligned ratio=2", "markers", 10.0),
    ]
    told = json.loads(json.dumps(as_json(plan, outcome, summary, {}), allow_nan=False))
    assert told["wins"][0]["rate"]["n"] == 3 and "cases" not in told["plan"]
    assert told["cases"][2]["answers"]["linear_aligned ratio=2"]["scores"] == {"markers": None}
    assert told["cases"][2]["prompt"] == "Q?" and told["cases"][1]["principle"] == "Be warm."


def test_no_number_is_null_in_json():
    plan = plan_of(ASKED[:2], "baseline", "principle_prompted")  # of one prompt
    names = [contestant.name for contestant in plan.contestants]
    outcome = Outcome({n: [written("x.")] * 2 for n in names}, {"implicit": {name: [0.1, None] for name in names}}, {})
    told = as_json(plan, outcome, summarise(plan, outcome), {})
    assert json.loads(json.dumps(told, allow_nan=False))["figures"][0]["scores"]["implicit"]["interval"] == [None, None]


HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)> & </td>"


class Tags(HTMLParser):
    """All tags and attributes of a page, and its text."""

    def __init__(self, page: str):
        super().__init__()
        self.tags, self.attributes, self.text = set(), set(), ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attributes}

    def handle_data(self, data):
        self.text += data


def test_the_report_escapes_what_people_and_models_wrote():
    asked = [Case(f"{HOSTILE} {i}", Principle(f"{HOSTILE} p")) for i in range(3)]
    names = ("baseline", "linear_aligned ratio=2", "linear_aligned ratio=3")
    plan = plan_of(asked, *names)
    plan = Plan(**{**plan.__dict__, "model": HOSTILE})
    scores = {
        "implicit": {name: [float(i), 1.0, 2.0] for i, name in enumerate(names)},
        "natural": {name: [-float(i), -1.0, -2.0] for i, name in enumerate(names)},
    }
    page = report(
        plan, outcome := Outcome({n: [written(HOSTILE)] * 3 for n in names}, scores, {}), summarise(plan, outcome)
    )
    found = Tags(page)
    assert not found.tags & {"script", "img", "iframe", "link"} and "svg" in found.tags
    assert not any(name.startswith("on") or name in ("src", "href") for name in found.attributes)
    assert found.text.count(HOSTILE) >= 3 + 3 + 3 * 3 + 1  # prompts, principles, answers and the model's name


def test_the_report_shows_n_intervals_lengths_and_costs():
    plan, outcome = by_hand()
    text = Tags(report(plan, outcome, summarise(plan, outcome))).text
    assert "0.667 [" in text and "2.50" in text and "2.00" in text and "3.00" in text
    assert COLUMNS["markers"].says in text and "linear_aligned ratio=2 against baseline" in text


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-0.06, 1.06, [0, 0.2, 0.4, 0.6, 0.8, 1]), (46.9, 207, [50, 100, 150, 200])],
)
def test_ticks_are_round(low: float, high: float, found: list[float]):
    assert ticks(low, high) == pytest.approx(found)


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6))
def test_ticks_lie_on_every_axis(low: float, room: float):
    found = ticks(low, low + room)
    assert len(found) >= 4 and low - 1e-6 <= found[0] and found[-1] <= low + room + 1e-6
    assert np.ptp(np.diff(found)) < 1e-6


def test_the_frontier_by_hand():
    spots = {name: Spot(x, y, y, y, name, name) for name, x, y in (("a", 1, 1), ("b", 2, 3), ("c", 3, 2), ("d", 3, 3))}
    assert {spot.label for spot in frontier(spots.values(), less_x=True)} == {"a", "b"}
    assert {spot.label for spot in frontier(spots.values(), less_x=False)} == {"d"}
    assert scatter({"one": list(spots.values())}, "cost", "gain", less_x=True).count("<circle") == 4 + 2
