"""The statistics against published worked examples, hand-made sums, and simulations in which the truth is known."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from app.insights import share
from app.insights.agreement import agreement, alpha, counts_of
from app.insights.power import EFFECTS, votes_missing, votes_needed
from app.insights.rates import clustered_share
from app.insights.regression import Effect, adjusted
from app.insights.strengths import Duel, strengths
from app.insights.texts import marks, words

# --- agreement

# Krippendorff (2011), "Computing Krippendorff's Alpha-Reliability", four observers, twelve units, missing values; nominal alpha .743.
OBSERVERS = (
    "1 2 3 3 2 1 4 1 2 . . .",
    "1 2 3 3 2 2 4 1 2 5 . 3",
    ". 3 3 3 2 3 4 2 2 5 1 .",
    "1 2 3 3 2 4 4 1 2 5 1 .",
)
# The table of Fleiss' kappa that is printed most often: fourteen raters, ten subjects, five labels; kappa .210.
FOURTEEN = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def labelled(*raters: str) -> list[tuple[str, str, str]]:
    return [
        (f"{item:02}", f"rater {number}", label)
        for number, labels in enumerate(raters)
        for item, label in enumerate(labels.split())
        if label != "."
    ]


def test_krippendorffs_alpha_of_his_own_example():
    found = agreement(labelled(*OBSERVERS))
    assert found.alpha.value == pytest.approx(0.743, abs=5e-4)
    assert (found.alpha.n, found.alpha.judgements, found.items, found.raters) == (11, 40, 11, 4)
    low, high = found.alpha.interval
    assert -1 <= low < found.alpha.value < high <= 1
    assert found.cohen is None and found.fleiss.n == 8  # the items that all four judged


def test_fleiss_kappa_of_the_printed_table():
    labels = []
    for item, row in enumerate(FOURTEEN):
        kinds = [str(kind) for kind, times in enumerate(row) for _ in range(times)]
        labels += [(f"{item}", f"{rater:02}", kind) for rater, kind in enumerate(kinds)]
    found = agreement(labels)
    assert found.fleiss.value == pytest.approx(0.210, abs=5e-4)
    assert (found.fleiss.n, found.fleiss.judgements) == (10, 140)
    assert found.fleiss.interval[0] < 0.210 < found.fleiss.interval[1]


def test_cohens_kappa_by_hand():
    """20 times both yes, 15 both no, 5 and 10 of each disagreement: 70 % agree, 50 % would by chance, kappa 0.4."""
    one, other = ["y"] * 20 + ["n"] * 15 + ["y"] * 5 + ["n"] * 10, ["y"] * 20 + ["n"] * 15 + ["n"] * 5 + ["y"] * 10
    found = agreement(labelled(" ".join(one), " ".join(other)))
    assert found.cohen.value == pytest.approx(0.4)
    assert found.cohen.n == 50 and found.cohen.interval[0] < 0.4 < found.cohen.interval[1]
    assert found.fleiss is None
    # With two raters alpha is a little more: 1 - (n - 1) / n * (1 - Scott's pi); 55 and 45 of 100 labels, pi = (.7 - .505) / .495.
    assert found.alpha.value == pytest.approx(1 - 99 / 100 * (1 - (0.7 - 0.505) / 0.495))


def test_agreement_without_what_it_takes_has_no_value():
    assert agreement([]).alpha is None and agreement([]).items == 0
    same = agreement(labelled("a a a", "a a a"))
    assert same.alpha is None and same.cohen is None and same.items == 3
    alone = agreement([("1", "ann", "a"), ("2", "bob", "b")])
    assert (alone.items, alone.alpha, alone.cohen) == (0, None, None)


def test_full_agreement_is_1_and_labels_at_random_are_near_0():
    assert alpha(counts_of(labelled("a b c a", "a b c a", "a b c a"))) == 1
    generator = np.random.default_rng(1)
    random = [" ".join(generator.choice(["a", "b", "tie"], 3000)) for _ in range(3)]
    assert abs(alpha(counts_of(labelled(*random)))) < 0.03


# --- Bradley-Terry

# Agresti, "Categorical Data Analysis": baseball, American League East 1987, wins of the row's team over the column's. Strengths against
# Baltimore as printed by BradleyTerry2 (R).
TEAMS = ("Milwaukee", "Detroit", "Toronto", "New York", "Boston", "Cleveland", "Baltimore")
WON = [
    [0, 7, 9, 7, 7, 9, 11], [6, 0, 7, 5, 11, 9, 9], [4, 6, 0, 7, 7, 8, 12], [6, 8, 6, 0, 6, 7, 10],
    [6, 2, 6, 7, 0, 7, 12], [4, 4, 5, 6, 6, 0, 6], [2, 4, 1, 3, 1, 7, 0],
]  # fmt: skip
PRINTED = (1.5814, 1.4364, 1.2945, 1.2476, 1.1077, 0.6839, 0.0)


def baseball(rater: str = "league") -> list[Duel]:
    return [
        Duel(rater, TEAMS[i], TEAMS[j], WON[i][j], WON[j][i]) for i in range(len(TEAMS)) for j in range(len(TEAMS)) if i < j
    ]  # fmt: skip


def test_strengths_of_baseball_teams():
    (group,) = strengths(baseball())
    assert not group.held_back
    assert [s.name for s in group.strengths] == list(TEAMS)
    values = np.array([s.value for s in group.strengths])
    assert values - values[-1] == pytest.approx(PRINTED, abs=1e-4) and values.sum() == pytest.approx(0)
    assert all(s.n == 78 and s.interval[0] < s.value < s.interval[1] for s in group.strengths)


def test_two_entities_have_the_log_odds_of_their_votes_and_ties_are_half_of_each():
    (group,) = strengths([Duel("ann", "x", "y", 8 + 2 / 2, 4 + 2 / 2)])
    assert group.strengths[0].value - group.strengths[1].value == pytest.approx(math.log(9 / 5))
    assert group.strengths[0].against_average[0] == pytest.approx(1 / (1 + math.exp(-math.log(9 / 5) / 2)))
    # Half the error of a log-odds, since both values are half of it: sqrt(1/9 + 1/5) / 2.
    half = 1.959964 * math.sqrt(1 / 9 + 1 / 5) / 2
    assert group.strengths[0].interval[1] - group.strengths[0].value == pytest.approx(half, rel=1e-5)


def test_what_never_met_stands_in_groups_of_its_own():
    groups = strengths(
        [Duel("a", "x", "y", 3, 2), Duel("a", "p", "q", 5, 6), Duel("a", "q", "r", 2, 2), Duel("a", "z", "x", 0, 0)]
    )
    assert [{s.name for s in group.strengths} for group in groups] == [{"p", "q", "r"}, {"x", "y"}]
    assert strengths([]) == []


def test_who_won_everything_is_held_back_and_it_is_said():
    """No finite strength fits 5 : 0, nor one that leads everybody in a longer chain; half a win each way gives (5 + 1/2 ...) a bound."""
    (group,) = strengths([Duel("a", "x", "y", 5, 0)])
    assert group.held_back and 0 < group.strengths[0].value < 3
    (chain,) = strengths([Duel("a", "x", "y", 5, 5), Duel("a", "y", "z", 4, 0)])
    assert chain.held_back and chain.strengths[-1].name == "z" and all(abs(s.value) < 4 for s in chain.strengths)
    (round_about,) = strengths([Duel("a", "x", "y", 5, 0), Duel("a", "y", "z", 4, 0), Duel("a", "z", "x", 3, 0)])
    assert not round_about.held_back  # each has beaten one that has beaten the other


def test_raters_who_differ_widen_the_intervals_and_the_same_votes_of_one_do_not():
    split = [Duel(f"r{i}", "x", "y", 19, 1) for i in range(6)] + [Duel(f"s{i}", "x", "y", 5, 15) for i in range(6)]
    one = [Duel("r", "x", "y", 6 * 19 + 6 * 5, 6 * 1 + 6 * 15)]
    wide, narrow = (strengths(duels)[0].strengths[0] for duels in (split, one))
    assert wide.value == pytest.approx(narrow.value)
    assert wide.interval[1] - wide.interval[0] > 1.5 * (narrow.interval[1] - narrow.interval[0])


# --- shares


@pytest.mark.parametrize("n", [20, 60, 200])
@pytest.mark.parametrize("rate", [0.3, 0.5, 0.62, 0.9])
def test_wilson_intervals_hold_the_truth_about_as_often_as_they_say(n: int, rate: float):
    """Exactly: the chance of each outcome, summed where its interval holds the truth."""
    held = [low <= rate <= high for low, high in (share(k, n).interval for k in range(n + 1))]
    assert 0.92 <= binom.pmf(np.arange(n + 1), n, rate)[held].sum() <= 0.985


@pytest.mark.parametrize("raters", [6, 25])
def test_intervals_over_raters_hold_the_truth_where_those_over_votes_do_not(raters: int):
    """Raters' own tastes vary about 0.6 (beta 6, 4); each votes 40 times."""
    generator, runs = np.random.default_rng(7), 300
    over_raters = over_votes = 0
    for seed in range(runs):
        wins = generator.binomial(40, generator.beta(6, 4, raters)).astype(float)
        low, high = clustered_share(wins, np.full(raters, 40), seed).interval
        over_raters += low <= 0.6 <= high
        low, high = share(wins.sum(), 40 * raters).interval
        over_votes += low <= 0.6 <= high
    assert 0.91 <= over_raters / runs <= 0.99
    assert over_votes / runs < 0.8


def test_an_interval_over_raters_is_never_narrower_than_over_votes_and_one_rater_has_no_other():
    agreed = clustered_share(np.full(8, 6.0), np.full(8, 10))
    assert agreed == share(48, 80)
    assert clustered_share(np.array([7.5]), np.array([10])) == share(7.5, 10)
    assert clustered_share(np.zeros(0), np.zeros(0)).interval == (0.0, 1.0)
    differing = clustered_share(np.array([10.0, 0, 10, 0]), np.full(4, 10))
    assert differing.interval[0] < share(20, 40).interval[0] and differing.interval[1] > share(20, 40).interval[1]


# --- power


def test_votes_needed_are_the_known_numbers():
    assert [votes_needed(rate) for rate in (0.55, 0.6, 0.7)] == [783, 194, 47]
    assert votes_needed(0.4) == 194
    assert EFFECTS == (0.55, 0.6, 0.7) and votes_missing(100) == {0.55: 683, 0.6: 94, 0.7: 0}


@pytest.mark.parametrize("rate", EFFECTS)
def test_so_many_votes_find_the_effect_in_four_of_five_cases(rate: float):
    """Exactly: how likely the votes' Wilson interval leaves one half out."""
    n = votes_needed(rate)
    found = [share(k, n).interval[0] > 0.5 for k in range(n + 1)]
    assert 0.76 <= binom.pmf(np.arange(n + 1), n, rate)[found].sum() <= 0.86


# --- regression


def simulated(generator: np.random.Generator, n: int, effect: float, side: float, length: float, raters: int) -> dict:
    """Votes in which the truth is known: log-odds of the one answer."""
    first = generator.integers(0, 2, n)
    longer, markdown = generator.normal(0.3, 0.5, n), np.log((1 + generator.poisson(1, n)) / (1 + generator.poisson(1, n)))  # fmt: skip
    odds = effect + side * (first - 0.5) + length * longer
    chosen = generator.random(n) < 1 / (1 + np.exp(-odds))
    return {"chosen": chosen, "first": first, "length": longer, "markdown": markdown, "raters": generator.integers(0, raters, n)}  # fmt: skip


def test_planted_effect_side_and_length_are_found_and_markdown_is_not_made_up():
    found = adjusted(**simulated(np.random.default_rng(3), 4000, effect=0.4, side=0.8, length=1.2, raters=40))
    for effect, truth in ((found.effect, 0.4), (found.side, 0.8), (found.length, 1.2), (found.markdown, 0.0)):
        assert effect.interval[0] <= truth <= effect.interval[1]
    assert all(e.interval[0] > 0 for e in (found.effect, found.side, found.length))
    assert (found.n, found.raters, found.fault) == (4000, 40, "")
    rate, low, high = found.effect.rate
    assert low < 1 / (1 + math.exp(-0.4)) < high and rate == pytest.approx(1 / (1 + math.exp(-found.effect.value)))


def test_an_answer_that_wins_only_by_its_length_has_no_effect_of_its_own():
    votes = simulated(np.random.default_rng(4), 3000, effect=0.0, side=0.0, length=1.5, raters=30)
    assert share(votes["chosen"].sum(), 3000).interval[0] > 0.55  # it does win
    found = adjusted(**votes)
    assert found.effect.interval[0] < 0 < found.effect.interval[1] and found.length.interval[0] > 1


def test_nothing_is_found_where_nothing_is_more_often_than_it_may_be():
    """400 studies without any effect, but with a strong side bias: about 5 % find one (binomial, 99.9 %: at most 34), and some do."""
    generator = np.random.default_rng(5)
    runs = [adjusted(**simulated(generator, 150, effect=0.0, side=1.0, length=0.0, raters=12)) for _ in range(400)]
    wrong = sum(not r.effect.interval[0] < 0 < r.effect.interval[1] for r in runs)
    assert 3 <= wrong <= 34
    assert sum(r.side.interval[0] > 0 for r in runs) > 250  # while the side bias is found in most


def test_votes_that_cannot_be_fitted_say_why():
    votes = simulated(np.random.default_rng(6), 60, effect=0.0, side=0.0, length=0.0, raters=4)
    few = adjusted(**{**votes, "chosen": np.arange(60) < 3})
    assert few.effect is None and "3 votes for and 57 against" in few.fault
    told = adjusted(**{**votes, "chosen": votes["first"] == 1})
    assert told.effect is None and "separation" in told.fault and (told.n, told.raters) == (60, 4)
    alike = adjusted(**{**votes, "markdown": votes["length"] * 2})
    assert alike.effect is None and "told apart" in alike.fault
    plain = adjusted(**{**votes, "markdown": np.zeros(60), "length": np.zeros(60)})
    assert isinstance(plain.effect, Effect) and plain.length is None and plain.markdown is None
    assert adjusted(*[np.zeros(0)] * 5).effect is None


def test_repeating_votes_of_few_raters_do_not_make_an_effect_surer():
    """Four raters of one opinion each, 50 votes each: without the clusters the interval would be that of 200 votes."""
    generator = np.random.default_rng(8)
    raters = np.repeat(np.arange(4), 50)
    chosen = generator.random(200) < np.array([0.9, 0.8, 0.3, 0.6])[raters]
    first, nothing = generator.integers(0, 2, 200), np.zeros(200)
    of_few = adjusted(chosen, first, nothing, nothing, raters).effect
    of_many = adjusted(chosen, first, nothing, nothing, np.arange(200)).effect
    assert of_few.value == of_many.value
    assert of_few.interval[1] - of_few.interval[0] > 2 * (of_many.interval[1] - of_many.interval[0])


def test_words_and_marks():
    text = "# Title\n\nSome **bold** words and __these__.\n- one\n* two\n  1. three\n2) four\nNo #tag, no 2 * 3 * 4."
    assert marks(text) == 1 + 2 + 4
    assert marks("plain words - with a dash, 3. and a * star") == 0
    assert (words("one two\nthree"), words("\u00a0")) == (3, 1)
