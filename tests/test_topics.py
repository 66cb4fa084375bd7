"""The benchmark of topics: it judges on prompts that training never draws, and what it reads is there."""

import torch
import yaml

from app.model import LanguageModel
from app.starter.dataset import Corpus
from app.starter.evaluate import CONFIG
from app.starter.held_out import is_held_out
from tests.benchmarks.topics import asked, hidden_states, in_answers, in_states, in_words

TRAINED = [("boil an egg", 0), ("cook the egg", 0), ("walk the dog", 1), ("the dog pulls", 1)]


def test_no_prompt_is_on_both_sides():
    own, held_out, further = asked(Corpus(yaml.safe_load(CONFIG.read_text())))
    assert len(own) > 10_000 and len(held_out) > 1_000 and len(further) > 20_000
    assert all(is_held_out("prompt", prompt) for prompt, _ in held_out)
    assert not any(is_held_out("prompt", prompt) for prompt, _ in own + further)


def test_words_find_the_topic_that_shares_them_and_no_words_find_none():
    judged = [("egg too soft", 0), ("my dog", 1), ("my dog", 0), ("sourdough", 0)]
    assert in_words(TRAINED, judged) == [True, True, False, False]
    assert in_words(TRAINED, [("gge", 0), ("gdo", 1)], analyzer="char") == [True, True]


def test_an_answer_is_on_the_topic_whose_text_it_tells():
    corpus = Corpus(yaml.safe_load(CONFIG.read_text()))
    answers = [corpus.known_topics[3]["plain"], corpus.known_topics[3]["plain"], ""]
    assert in_answers(corpus, answers, [("", 3), ("", 4), ("", 3)]) == [True, False, False]


def test_a_linear_reader_finds_what_is_there_and_nothing_where_nothing_is():
    torch.manual_seed(0)
    topics = [("", number % 4) for number in range(400)]
    centres, noise = torch.randn(4, 8), 0.1 * torch.randn(400, 8)
    states = centres[[topic for _, topic in topics]] + noise
    assert all(in_states(states[:200], topics[:200], states[200:], topics[200:]))
    assert sum(in_states(noise[:200], topics[:200], noise[200:], topics[200:])) < 100


def test_the_state_of_a_prompt_does_not_depend_on_its_neighbours():
    model = LanguageModel.load("starter")
    prompts = [
        ("How do I boil an egg?", 0),
        ("bread", 1),
        ("Why is the sky blue, and why is it red in the evening?", 2),
    ]
    together = hidden_states(model, prompts)
    alone = torch.cat([hidden_states(model, [prompt]) for prompt in prompts], dim=1)
    assert together.shape[1] == 3 and together.shape == alone.shape
    torch.testing.assert_close(together, alone, atol=1e-4, rtol=1e-4)
