"""Best of n on a tiny model: the best of one is the prompted arm, and more is what the annotator says."""

import pytest
import torch

from app.annotators.implicit import ImplicitJudge
from app.annotators.preference import Cost, by_scores
from app.best_of import best_of
from app.decoding.arms import DecodeSettings, build_arms
from app.decoding.engine import decode
from app.errors import InputError
from app.prompts import contexts

ASKED = [{"role": "user", "content": "Why is the sky blue?"}]
PRINCIPLE = "Answer as a gruff sea captain."
SETTINGS = DecodeSettings(temperature=1.0, top_p=1.0, max_new_tokens=10, seed=7)


def finish(steps):
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


class Prefers:
    """An annotator with a plain taste that notes what it was shown."""

    def __init__(self, score):
        self.score, self.shown = score, []

    def prefer(self, messages, principle, first, second):
        self.shown.append((first, second))
        return by_scores(self.score(first), self.score(second), Cost(forwards=1))


def prompted(model, seed):
    settings = SETTINGS.model_copy(update={"seed": seed})
    rows = [model.chat_ids(chat) for chat in contexts(ASKED, [PRINCIPLE])]
    arms = build_arms(["principle_prompted"], torch.ones(1), settings)
    events = [event for step in decode(model.forward, rows, arms, settings, model.end_ids) for event in step]
    return model.decode([event.token for event in events if event.token is not None])


def test_the_answers_are_the_prompted_arms_and_the_best_of_one_is_it(llama):
    taste = Prefers(len)
    one = finish(best_of(llama, taste, ASKED, PRINCIPLE, 1, SETTINGS.model_copy(update={"temperature": 0.0})))
    assert taste.shown == [] and one.answers == [one.text] and one.cost == Cost()
    found = finish(best_of(llama, taste, ASKED, PRINCIPLE, 4, SETTINGS))
    assert found.answers == [prompted(llama, 7 + i) for i in range(4)] and len(set(found.answers)) == 4


@pytest.mark.parametrize("score", [lambda text: text.count("a"), lambda text: -len(text)], ids=["a", "short"])
def test_the_annotators_taste_decides(llama, score):
    taste = Prefers(score)
    found = finish(best_of(llama, taste, ASKED, PRINCIPLE, 6, SETTINGS))
    assert score(found.text) == max(map(score, found.answers))
    # Where nobody scores higher, the earlier one stays.
    assert found.text == max(found.answers, key=score)
    assert found.cost == Cost(forwards=len(taste.shown)) and len(taste.shown) == 5
    assert found.undecided == sum(score(first) == score(second) for first, second in taste.shown)


def test_the_model_may_judge_its_own_answers(llama):
    judge = ImplicitJudge(llama)
    found = finish(best_of(llama, judge, ASKED, PRINCIPLE, 4, SETTINGS))
    others = [answer for answer in found.answers if answer != found.text]
    assert len(others) == 3
    assert all(judge.prefer(ASKED, PRINCIPLE, found.text, other).choice == "first" for other in others)


@pytest.mark.parametrize(("count", "message"), [(0, "0 answers were asked for; 1 to 32"), (33, "33 answers")])
def test_out_of_bounds_is_refused_in_words(llama, count, message):
    with pytest.raises(InputError, match=message):
        finish(best_of(llama, Prefers(len), ASKED, PRINCIPLE, count, SETTINGS))


def test_several_greedy_answers_are_refused(llama):
    with pytest.raises(InputError, match="temperature is 0, at which 3 answers are all the same"):
        finish(best_of(llama, Prefers(len), ASKED, PRINCIPLE, 3, SETTINGS.model_copy(update={"temperature": 0.0})))
