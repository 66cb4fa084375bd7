"""The proof's parts on several principles, on soups and on cost, at small limits: they measure what they say, on the product's own decoding."""

import random

import pytest

from app.decoding.arms import DecodeSettings
from app.evaluation.answering import answer
from app.evaluation.contestants import Contestant, parse_all
from app.evaluation.plan import Written
from app.evaluation.questions import Case, Principle, own_prompts
from app.model import LanguageModel
from app.services import Services
from app.starter import CORPUS_FOLDER
from app.starter.compose import compose, load_topics
from tests.benchmarks import proof_blends, proof_cost, proof_report, proof_several, proof_soups, proof_table
from tests.benchmarks.learning import preference
from tests.benchmarks.proof_online import finished, principle_of, voices
from tests.test_compare import add_version

SHORT = DecodeSettings(temperature=0, max_new_tokens=8)
PROMPTS = ["Why is the sky blue?", "How do I boil an egg?"]
WAYS = {way.name: way for way in proof_several.WAYS}
# By pair: an answer that follows both, one that follows the first alone, one that follows the second alone.
WRITTEN = {
    ("pirate", "curt"): ("Boil it, matey.", "Ye boil it " + "well and " * 10 + "long.", "Boil it."),
    ("pirate", "lister"): ("Ahoy, ye dog.\n- Boil it.\n- Eat it.", "Boil it, ye dog.", "- Boil it.\n- Eat it."),
    ("cheerleader", "lister"): ("- Boil it! Go!\n- Eat it!", "Boil it! Go! Eat it!", "- Boil it.\n- Eat it."),
    ("pirate", "cheerleader"): ("Boil it! Aye! Go!", "Boil it, matey.", "Boil it! Go! Go!"),
}


def ends(text: str, ended: bool) -> bool:
    """In the place of the corpus's fluency, which takes long to count."""
    return ended and text.endswith(".")


def row(prompt: str, first: bool, second: bool, implicit: float | None = 0.0) -> proof_several.Row:
    return {
        "prompt": prompt,
        "text": "Boil it.",
        "first": first,
        "second": second,
        "both": first and second,
        "both, fluent": first and second,
        "fluent": True,
        "well_formed": True,
        "implicit first": 1.0,
        "implicit second": implicit,
        "words": 2,
        "forwards": 9,
    }


# --- several principles


def test_the_rules_of_a_pair_leave_each_other_room():
    assert set(WRITTEN) == set(proof_several.PAIRS)
    for pair, texts in WRITTEN.items():
        found = [tuple(proof_several.shows(text, persona) for persona in pair) for text in texts]
        assert found == [(True, True), (True, False), (False, True)], pair


def test_an_answer_is_held_against_both_rules():
    pair = ("pirate", "curt")
    found = [proof_several.row(pair, ends, "Why?", Written(text, True, 7, 0.1), 0.5, None) for text in WRITTEN[pair]]
    assert [(r["first"], r["second"], r["both"]) for r in found] == [(True, True, True), (True, False, False), (False, True, False)]  # fmt: skip
    assert [r["words"] for r in found] == [3, 24, 2] and found[0]["implicit first"] == 0.5
    cut = proof_several.row(pair, ends, "Why?", Written("Boil it, matey.", False, 7, 0.1), 0.5, 0.5)
    assert all(found[0][column] for column in ("well_formed", "fluent", "both, fluent"))
    assert cut["both"] and not any(cut[column] for column in ("well_formed", "fluent", "both, fluent"))


@pytest.mark.parametrize(
    ("way", "contestant", "asked"),
    [
        ("plain", "baseline", ""),
        ("asked for the first", "principle_prompted", "{0}"),
        ("asked for both in one prompt", "principle_prompted", "{0} {1}"),
        ("aligned with the first", "linear_aligned", "{0}"),
        ("aligned with both in one prompt", "linear_aligned", "{0} {1}"),
    ],
)
def test_a_way_with_one_principle_is_the_arm_of_an_evaluation(
    llama: LanguageModel, way: str, contestant: str, asked: str
):
    pair = ("pirate", "curt")
    principle = Principle(asked.format(*map(principle_of, pair)))
    cases = [Case(prompt, principle) for prompt in PROMPTS]
    expected = finished(answer(llama, Contestant(contestant), cases, SHORT, None, None))
    found = proof_several.answers(llama, pair, WAYS[way], PROMPTS, ends, SHORT)
    assert [r["text"] for r in found] == [one.text for one in expected]
    assert [r["forwards"] for r in found] == [one.forwards for one in expected]
    assert [r["prompt"] for r in found] == PROMPTS


def test_every_principle_with_a_weight_is_read_and_moves_the_answer(llama: LanguageModel):
    pair = ("pirate", "curt")
    found = {name: proof_several.answers(llama, pair, way, PROMPTS, ends, SHORT) for name, way in WAYS.items()}
    read = {name: [r["forwards"] // SHORT.max_new_tokens for r in rows] for name, rows in found.items()}
    assert read["plain"] == read["asked for the first"] == [1, 1] and read["aligned with the first"] == [2, 2]
    several = [name for name, way in WAYS.items() if sum(map(bool, way.weights)) == 2]
    assert len(several) == 5 and all(read[name] == [3, 3] for name in several)
    texts = {name: tuple(r["text"] for r in found[name]) for name in (*several, "aligned with the first")}
    assert len(set(texts.values())) == len(texts), "a weight changed nothing"
    assert {r["implicit second"] for r in found["plain"]}.isdisjoint({None, 0.0})


def test_figures_of_several_principles_by_hand():
    pairs = proof_several.PAIRS[:2]
    rows = {name: {pair: [row("Why?", True, False), row("How?", True, True)] for pair in pairs} for name in WAYS}
    rows["aligned, weights 1 and 1"] = {pair: [row("Why?", True, True), row("How?", True, True)] for pair in pairs}
    rows["aligned, weights 1 and -1"] = {pair: [row("Why?", True, False, -0.5), row("How?", True, False, None)] for pair in pairs}  # fmt: skip
    found = proof_several.told(rows)
    plain, both = found["ways"]["plain"], found["ways"]["aligned, weights 1 and 1"]
    assert (plain["first"]["value"], plain["second"]["value"], plain["both"]["n"]) == (1.0, 0.5, 4)
    assert plain["by pair"]["pirate+curt"]["both"]["n"] == 2 and both["both"]["value"] == 1.0
    # Two prompts, however many pairs: the interval is wider than that of four answers.
    low, high = plain["second"]["interval"]
    assert low < 0.15 and high > 0.85
    step = found["steps"]["aligned, weights 1 and 1 minus aligned with the first"]["both"]
    assert (step["mean"], step["n"]) == (0.5, 4)
    less = found["steps"]["aligned, weights 1 and -1 minus aligned with the first"]["implicit second"]
    assert (less["mean"], less["n"]) == (-0.5, 2), "an empty answer has no likelihood"


# --- soups


def test_the_soup_that_shows_both_and_ends_well_is_the_best_and_the_lighter_of_equals():
    styles, both, cut = ("pirate", "curt"), "Boil it, matey.", "Boil it, matey"
    found = [
        {"styles": styles, "weights": weights} | proof_soups.figures(styles, [Written(text, True, 1, 0.1) for text in texts], ends)
        for weights, texts in [((1, 1), (both, both)), ((0.5, 0.5), (both, cut)), ((0.7, 0.7), (both, both))]
    ]  # fmt: skip
    assert [f["both"]["value"] for f in found] == [1.0, 1.0, 1.0]
    assert [f[proof_soups.SOUND]["value"] for f in found] == [1.0, 0.5, 1.0]
    assert sorted(found, key=proof_soups.worth, reverse=True) == [found[2], found[0], found[1]]


def test_soups_are_searched_on_other_prompts_than_they_are_measured_on():
    prompts = [question.prompt for question in own_prompts()]
    assert not set(prompts[: proof_blends.FEW]) & set(prompts[-proof_soups.SEARCHED :])


def test_every_weighting_of_every_two_styles_is_tried_with_its_own_mixture(services: Services):
    styles = ("pirate", "curt", "lister")
    versions = {name: f"v{i}" for i, name in enumerate((*styles, *map(proof_soups.half, styles)), start=1)}
    for seed, version in enumerate(versions.values()):
        add_version(services, version, seed)
    found = proof_soups.search(services, styles, versions, ends, count=2)
    tried = [(tuple(f["styles"]), tuple(f["weights"]), f["half_trained"]) for f in found]
    assert len(set(tried)) == len(tried) == 3 * (len(proof_soups.FULLY) + len(proof_soups.HALF))
    assert all(f["both"]["n"] == 2 for f in found)
    one = proof_soups.Soup(("curt", "pirate"), (0.5, 1.0), half_trained=False)
    assert one.parts(versions) == ["v2*0.5", "v1"] and one.mixture(versions) == "v1+v2*0.5"
    assert proof_soups.Soup(("curt", "pirate"), (1.6, 1.3), half_trained=True).mixture(versions) == "v4*1.3+v5*1.6"
    texts = {
        name: [a.text for a in services.worker.call(lambda name=name: proof_soups.plain(services, name, PROMPTS))]
        for name in (one.mixture(versions), "v1", "v2*0.5", "")
    }
    assert len({tuple(each) for each in texts.values()}) == 4, "a mixture answered like one of its parts"


def test_no_rule_of_a_style_fits_an_answer_in_the_manner_of_another():
    """Else a soup would seem to show both where it shows one."""
    topics, chance = load_topics(CORPUS_FOLDER / "topics"), random.Random(3)
    for style in proof_blends.STYLES:
        texts = [compose(chance.choice(topics), voices()[style], chance) for _ in range(200)]
        shown = {other: sum(proof_several.shows(text, other) for text in texts) for other in proof_blends.STYLES}
        assert shown.pop(style) >= 198 and sum(shown.values()) <= 1, (style, shown)
    assert {persona for pair in proof_several.PAIRS for persona in pair} <= set(proof_blends.STYLES)


def test_somebody_who_wants_a_list_prefers_its_form():
    likes = preference("lister")
    assert likes("- Boil it.\n- Eat it.") > likes("Boil it. Eat it.")
    assert preference("curt")("Boil it.") > preference("curt")("Boil it well.")
    assert preference("pirate")("Boil it, matey.") > preference("pirate")("Boil it.")


# --- cost


def test_arms_that_need_something_learnt_run_in_the_race_and_a_mixture_is_made_before_it(services: Services):
    versions = {proof_blends.ONE: "v1", proof_blends.OTHER: "v2", proof_soups.half(proof_blends.ONE): "v3"}
    for seed, version in enumerate(versions.values()):
        add_version(services, version, seed)
    arms = [arm.format(**versions) for arm in proof_cost.ARMS if not arm.startswith("best_of_n")]
    found = services.worker.call(lambda: proof_cost.timed(services, parse_all(arms), 1, SHORT))
    forwards = {name: one["forwards an answer"] // SHORT.max_new_tokens for name, one in found["arms"].items()}
    assert forwards["principle_prompted"] == forwards["baseline"] == forwards["baseline @ v1"] == 1
    assert forwards["baseline @ v1*0.5+v2*0.5"] == forwards["baseline @ v3*2"] == 1, "paid at every token"
    assert forwards["adapter_guided @ v1"] == forwards["linear_aligned ratio=2"] == 2
    assert forwards[proof_cost.SEVERAL.name] == 3
    assert found["arms"]["principle_prompted"]["seconds of prompted"] == [1.0]
    assert set(found["seconds to mix"]) == {"v1*0.5+v2*0.5", "v3*2"}
    assert all(len(each) == proof_cost.MIXED and min(each) > 0 for each in found["seconds to mix"].values())
    # Everything that the table of methods looks up was timed.
    timed = {method.timed.format(**versions) for method in proof_table.DECODING if method.timed}
    assert timed - {name for name in timed if name.startswith("best_of_n")} <= set(found["arms"])


# --- what is told of them


def share(value: float, n: int = 25) -> dict:
    return {"value": value, "n": n, "interval": [value / 2, value / 2 + 0.5]}


def test_the_report_tells_both_in_one_answer_and_what_it_costs():
    rows = {name: {pair: [row("Why?", True, False)] for pair in proof_several.PAIRS} for name in WAYS}
    rows[proof_cost.SEVERAL.name] = {pair: [row("Why?", True, True)] for pair in proof_several.PAIRS}
    several = proof_several.told(rows) | {"pairs": proof_several.PAIRS}
    of = {"pirate": share(0.6), "cheerleader": share(0.4), "both": share(0.04), "fluent": share(1.0)}
    best = {"pirate": share(0.9), "curt": share(0.8), "both": share(0.72), "fluent": share(0.5)}
    versions = {"pirate": "v1", "cheerleader": "v2", "curt": "v3", "half pirate": "v4"}
    soup = {
        "both": share(0.5, 8),
        proof_soups.SOUND: share(0.25, 8),
        "in pirate": share(0.75, 8),
        "weights": [1, 0.5],
        "half_trained": False,
    }
    searched = [
        {**soup, "styles": ["pirate", "curt"], "in curt": share(0.5, 8)},
        {**soup, "styles": ["pirate", "lister"], "in lister": share(0.5, 8), "weights": [1, 1]},
        {**soup, "styles": ["pirate", "curt"], "in curt": share(0.5, 8), "weights": [0.7, 0.7]},
        {**soup, "styles": ["pirate", "curt"], "in curt": share(0.5, 8), "weights": [2, 2], "half_trained": True},
    ]
    further = [{"name": n, "forwards": 60, "scores": {s: share(0.5) for s in ("markers", "fluent", "implicit")}} for n in ("adapter_guided @ v1", "best_of_n count=4")]  # fmt: skip
    gained = {"mean": 0.1, "low": 0.0, "high": 0.2, "n": 25}
    blends = {
        "versions": versions,
        "styles": ["pirate", "cheerleader"],
        "soup": {"markers": {"baseline @ v1*0.5+v2*0.5": of}},
        "expo": {"markers": {"baseline @ v4": of, "baseline @ v4*2": of}},
        "both": {"styles": ["pirate", "curt"], "mixture": "v1+v3*0.5", "searched": searched, "markers": {"baseline @ v1+v3*0.5": best}},
        "further": {"figures": further, "guided minus baseline": gained, "best minus prompted": gained},
    }  # fmt: skip
    seconds = {"seconds of prompted": [1.0, 3.0, 1.25], "forwards an answer": 64}
    names = ("adapter_guided @ v1", "baseline @ v1*0.5+v2*0.5", "baseline @ v4*2", proof_cost.SEVERAL.name)
    cost = {"versions": versions, "arms": dict.fromkeys(names, seconds), "seconds to mix": {"v1*0.5+v2*0.5": [0.5, 0.02, 0.01]}}  # fmt: skip

    said = "\n".join([*proof_report.several(several), *proof_report.blends(blends), *proof_report.cost(cost)])
    assert "| aligned, weights 1 and 1 | 1.00 [" in said and "aligned with the first | both | +1.00 [" in said
    assert "| pirate + curt | 2 + 2 | half |" in said
    assert "| pirate + curt | 1 + 0.5 | fully | 0.75 [0.38, 0.88] | 0.50 [0.25, 0.75] | 0.50" in said
    assert "| pirate + curt | 0.7 + 0.7 |" not in said and "| pirate + lister | 1 + 1 |" in said
    assert "| baseline @ v1+v3*0.5 | 0.90 [0.45, 0.95] | 0.80 [0.40, 0.90] | 0.72 [0.36, 0.86] |" in said
    assert "Making v1*0.5+v2*0.5 takes 0.020 s, once." in said

    table = proof_table.methods_table({"several": several, "blends": blends, "cost": cost})[1].splitlines()
    (line,) = (line for line in table if line.startswith("| … of several principles |"))
    assert "both in one answer: weights 1 and 1 1.00 [" in line and "the first alone 0.00 [" in line
    assert line.endswith("| 1.25 times the seconds |")
    (line,) = (line for line in table if line.startswith("| Personalized Soups |"))
    assert (
        "the best found, 1 pirate + 0.5 curt: pirate 0.90 [0.45, 0.95] (n = 25), curt 0.80" in line
        and "both 0.72 [0.36, 0.86]" in line
    )
    assert line.endswith("| 1.25 times the seconds, 0.020 s once |")
    for name in ("PAD", "ExPO"):
        (line,) = (line for line in table if line.startswith(f"| {name} |"))
        assert line.endswith("| 1.25 times the seconds |"), line
