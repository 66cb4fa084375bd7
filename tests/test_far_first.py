"""Farthest-first order of prompts: worked by hand on a circle, as a property, and with the real embedder."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.embedding import Embedder
from app.far_first import far_first


def on_circle(*degrees: float) -> np.ndarray:
    radians = np.radians(np.array(degrees, dtype=np.float64))
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


NONE = np.zeros((0, 2))


def test_worked_by_hand():
    # The mean of 0, 10, 20, 90 points to about 29 degrees: 20 is nearest to it. Farthest from 20 is 90 (70 away), then 0 (20 away).
    assert list(far_first(on_circle(0, 10, 20, 90), NONE)) == [2, 3, 0, 1]
    # With 80 labelled: farthest is 0 (80 away), then 20 (20 away), then 90 and 10, both 10 away: the earlier one.
    assert list(far_first(on_circle(0, 90, 10, 20), on_circle(80))) == [0, 3, 1, 2]


def test_equal_prompts_come_last_and_in_their_order():
    assert list(far_first(on_circle(0, 0, 90, 0, 90), on_circle(180))) == [0, 2, 1, 3, 4]
    assert list(far_first(NONE, on_circle(3))) == []


@given(st.lists(st.integers(0, 359), min_size=1, max_size=12), st.lists(st.integers(0, 359), max_size=4))
def test_each_is_as_far_as_any_that_is_left(degrees: list[int], labelled: list[int]):
    vectors, done = on_circle(*degrees), on_circle(*labelled) if labelled else NONE
    order = list(far_first(vectors, done))
    assert sorted(order) == list(range(len(degrees)))
    for place, index in enumerate(order):
        before = np.concatenate([done, vectors[order[:place]]])
        if len(before):
            nearest = (vectors[order[place:]] @ before.T).max(axis=1)
            assert (vectors[index] @ before.T).max() <= nearest.min() + 1e-9


def test_with_the_real_embedder_the_next_to_label_is_about_something_else():
    embedder = Embedder()
    prompts = [
        "How do I train my dog?",
        "My dog barks at night.",
        "What is a good pasta sauce?",
        "Why does my dog pull?",
    ]
    labelled = embedder.encode(["How can I stop my dog from barking?"])
    assert next(far_first(embedder.encode(prompts), labelled)) == 2
