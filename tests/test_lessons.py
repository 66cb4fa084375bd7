"""What preference pairs teach: hand-worked figures, what is counted, and how it is told."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.insights.lessons import Telling, lesson, lessons, telling_words
from app.insights.texts import exclamations, marks, vocabulary, words
from app.learned import Taught
from app.ui import learn_render

HOSTILE = "<img src=x onerror=hacked()>"


def by_measure(pairs: list[tuple[str, str]]) -> dict:
    return {item.measure: item for item in lessons(pairs)}


def test_length_of_three_pairs_by_hand():
    # Chosen less rejected: 3 - 5, 2 - 6 and 1 - 1 words, so -2, -4 and 0: mean -2, standard deviation 2.
    found = by_measure([("a b c", "a b c d e"), ("a b", "a b c d e f"), ("a", "b")])["length"]
    assert (found.mean, found.n) == (-2.0, 3)
    # t with 2 degrees of freedom at 97.5 % is 4.30265; times 2 / sqrt(3) is 4.96828.
    assert found.interval == pytest.approx((-6.96828, 2.96828), abs=1e-4)
    assert (found.more.value, found.more.n) == (0.0, 2)  # the pair of equal length says nothing
    assert found.direction == 0  # two of two may be chance: Wilson's interval of 0 of 2 goes up to 0.66


def test_six_of_six_shorter_is_a_preference_and_its_mirror_the_opposite():
    pairs = [("a", "a b c")] * 6
    assert by_measure(pairs)["length"].direction == -1
    assert by_measure([(worse, better) for better, worse in pairs])["length"].direction == 1
    assert by_measure(pairs)["length"].interval == (-2.0, -2.0)


@given(st.lists(st.tuples(st.text(max_size=30), st.text(max_size=30)), min_size=1, max_size=12))
def test_exchanging_the_sides_turns_every_lesson_around(pairs):
    there, back = lessons(pairs), lessons([(b, a) for a, b in pairs])
    for one, other in zip(there, back, strict=True):
        assert one.mean == pytest.approx(-other.mean)
        assert one.more.n == other.more.n <= one.n == len(pairs)
        assert one.direction == -other.direction


def test_a_single_pair_has_no_interval_and_no_pair_no_lesson():
    assert lesson("length", [3.0]).interval is None
    assert lessons([]) == [] and telling_words([]) == []


def test_what_is_counted():
    assert words("one  two\nthree") == 3 and words("") == 1
    assert marks("# Title\n- item\n1. item\n**bold** and plain") == 4
    assert exclamations("Arr! Ho!!") == 3
    assert vocabulary("Don’t say 42 DON'T, matey_x") == {"don't", "say", "matey", "x"}


def test_telling_words_are_counted_by_pair_and_on_one_side_only():
    pairs = [("Arr arr, the tea, matey", "The tea, please")] * 4 + [("arr", "matey")]
    assert telling_words(pairs) == [
        Telling("arr", 5, 0),
        Telling("matey", 4, 1),
        Telling("please", 0, 4),
    ]
    assert telling_words(pairs[:2]) == []  # twice is chance


def test_the_page_says_it_with_n_and_interval_and_as_text():
    taught = Taught(6, 3, lessons([("a", "a b c")] * 6), [Telling(HOSTILE, 5, 1)])
    shown = learn_render.taught(taught, lesson("fidelity", [0.5, 0.25, 0.75, 0.5, 0.5, 0.5]), measuring=False)
    assert "chosen answers are <b>shorter</b> in 100% of 6 pairs (61% to 100%)" in shown
    assert "-2.0 (-2.0 to -2.0) words on average, n = 6" in shown
    assert "chosen answers are <b>truer to the principle</b> in 100% of 6 pairs (61% to 100%)" in shown
    undecided = Taught(2, 2, lessons([("a", "a b"), ("a", "a c")]), [])
    assert "shorter in 100% of 2 pairs (34% to 100%): no clear preference" in learn_render.taught(
        undecided, None, False
    )
    assert "all pairs are alike" in shown  # no marks and no exclamation marks anywhere
    assert "<img" not in shown and "&lt;img" in shown and "+5 −1" in shown


def test_without_choices_the_page_says_how_to_begin_and_with_few_how_many_are_missing():
    assert learn_render.taught(Taught(0, 0, [], []), None, measuring=False) == learn_render.EMPTY
    assert "0 clear choices</b>. 6 more needed" in learn_render.count(0, 0)
    assert "5 clear choices</b> on 2 prompts. 1 more needed" in learn_render.count(5, 2)
    assert "1 clear choice</b> on 1 prompt. 5 more needed" in learn_render.count(1, 1)
    assert "Enough to learn from" in learn_render.count(6, 3)
    assert "being measured" in learn_render.taught(Taught(1, 1, lessons([("a", "b c")]), []), None, measuring=True)
