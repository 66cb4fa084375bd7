"""How much one rater may teach: hand-worked caps, their properties, and five hundred turned-round choices that turn nothing."""

import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.refresh.caps import ALWAYS, SLACK, cap, capped

COUNTS = st.lists(st.integers(1, 2000), min_size=1, max_size=40)
SHARES = st.floats(0.01, 1.0)


@pytest.mark.parametrize(
    ("counts", "share", "most"),
    [
        ([500, 30], 0.2, None),  # two raters are held to nothing
        ([500, 30, 30], 0.2, 60),  # of three nobody brings more than half: 60 of 120
        ([500, 100, 100, 100, 100, 100], 0.2, 166),  # 1.5 / 6 = a quarter: 166 <= 0.25 * (166 + 500)
        ([500] + [50] * 10, 0.2, 125),  # a fifth: 125 <= 0.2 * (125 + 500)
        ([500] + [50] * 10, 0.5, None),  # exactly half of 1000
        ([500] + [50] * 10, 1.0, None),
        ([30] * 10, 0.2, None),
        ([100, 1, 1], 0.2, ALWAYS),  # the first twenty always count
        ([20, 1, 1], 0.2, None),
        ([], 0.2, None),
    ],
)
def test_hand_worked_caps(counts: list[int], share: float, most: int | None):
    assert cap(counts, share) == most


@given(COUNTS, SHARES)
def test_nobody_brings_more_than_their_share_and_no_larger_cap_would_do(counts: list[int], share: float):
    most = cap(counts, share)
    if len(counts) < 3 or share == 1:
        assert most is None
        return
    bound = max(share, SLACK / len(counts))

    def fits(number: int) -> bool:
        return number <= bound * sum(min(count, number) for count in counts)

    if most is None:
        assert max(counts) <= ALWAYS or fits(max(counts))
    else:
        assert ALWAYS <= most < max(counts) and not fits(most + 1)
        assert most == ALWAYS or fits(most)


@given(st.lists(st.integers(0, 5), max_size=400), SHARES)
def test_the_newest_of_everybody_stay_in_their_order(raters: list[int], share: float):
    items = list(enumerate(raters))
    kept = capped(items, lambda item: item[1], share)
    most = cap(list(Counter(raters).values()), share)
    for rater in set(raters):
        own = [item for item in items if item[1] == rater]
        assert [item for item in kept if item[1] == rater] == (own if most is None else own[-most:])
    assert kept == sorted(kept)


def test_five_hundred_turned_round_choices_do_not_turn_what_is_learnt():
    """Twelve people prefer A on forty prompts, with one slip in ten; somebody prefers B on all of them, many times over."""
    lot = random.Random(0)
    honest = [(f"person {n}", prompt, lot.random() < 0.9) for n in range(12) for prompt in range(40)]
    attack = [("attacker", number % 40, False) for number in range(500)]
    votes = honest + attack
    assert sum(a for *_, a in votes) < len(votes) / 2  # without the cap the attacker decides
    kept = capped(votes, lambda vote: vote[0], 0.2)
    assert sum(who == "attacker" for who, *_ in kept) <= 0.2 * len(kept)
    assert [vote for vote in kept if vote[0] != "attacker"] == honest
    for prompt in range(40):
        prefer_a = [a for _, p, a in kept if p == prompt]
        assert sum(prefer_a) > len(prefer_a) / 2, prompt
