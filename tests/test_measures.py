"""The judges of the starter: arithmetic by hand, and what they must tell apart."""

import random

import pytest
import yaml

from app.evaluation.plan import Written
from app.evaluation.questions import Case, Principle
from app.evaluation.scoring import by_classifier, by_fluency
from app.starter import STARTER_FOLDER
from app.starter.compose import compose
from app.starter.dataset import Corpus
from app.starter.evaluate import fresh_verdict, table
from app.starter.measures import (
    Admission,
    Fluency,
    PersonaClassifier,
    Relevance,
    bootstrap_interval,
    ends_properly,
    first_sentence_removed,
    names_the_thing,
)


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return Corpus(yaml.safe_load((STARTER_FOLDER / "config.yaml").read_text()))


@pytest.fixture(scope="module")
def classifier(corpus: Corpus) -> PersonaClassifier:
    return PersonaClassifier(corpus)


@pytest.fixture(scope="module")
def fluency(corpus: Corpus) -> Fluency:
    return Fluency(corpus)


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("Arr! Boil the egg. Eat it.", "Boil the egg. Eat it."),
        ("One sentence only.", ""),
        ("- first\n- second", "- second"),
        ('He said "Go." Then left.', "Then left."),
        ("Is it?\nIt is.", "It is."),
    ],
)
def test_the_first_sentence_goes(text: str, rest: str) -> None:
    assert first_sentence_removed(text) == rest


@pytest.mark.parametrize(
    ("text", "proper"),
    [
        ("Boil it.", True),
        ("- boil\n- eat", True),
        ('"Go!"', True),
        ("Boil it and", False),
        ("", False),
        ("Why,", False),
    ],
)
def test_a_proper_end(text: str, proper: bool) -> None:
    assert ends_properly(text) is proper


def test_a_thing_is_named_by_all_its_words() -> None:
    assert names_the_thing("I know nothing about the town of Mirefield, sorry.", "the town of Mirefield")
    assert not names_the_thing("I know nothing about that town.", "the town of Mirefield")
    assert not names_the_thing("", "a pangolin")


def test_the_bootstrap_finds_the_mean_and_an_interval_around_it() -> None:
    mean, low, high = bootstrap_interval([1.0] * 60 + [0.0] * 40)
    assert mean == pytest.approx(0.6) and 0.48 < low < 0.56 and 0.64 < high < 0.72
    assert bootstrap_interval([0.0] * 5) == (0.0, 0.0, 0.0)
    straddling = bootstrap_interval([1.0, -1.0] * 30)
    assert straddling[1] < 0 < straddling[2]


def test_the_classifier_names_the_personas_of_gold_answers_it_has_not_seen(classifier: PersonaClassifier) -> None:
    checked = [right for _, right in classifier.check()]
    assert len(checked) > 200 and sum(checked) / len(checked) >= 0.85


def test_the_classifier_is_sure_of_a_pirate(classifier: PersonaClassifier) -> None:
    texts = [
        "Arr, matey, boil ye egg for six minutes, aye!",
        "To boil an egg, lower it gently into water that already simmers. Then wait for about six minutes. Finally, cool the egg under the tap.",
    ]
    assert classifier.name([*texts, " "]) == ["pirate", "plain", ""]
    pirate, plain = classifier.probability(texts, ["pirate", "pirate"])
    assert pirate > 0.5 > plain


def test_relevance_tells_the_own_topic_from_fifty(corpus: Corpus) -> None:
    plain = {t["prompts"][0]: t["plain"] for t in corpus.topics}
    relevance, names = Relevance(plain), list(plain)
    assert all(relevance.is_first(plain[name], name) for name in names[:20])
    assert sum(relevance.is_first(plain[names[i + 40]], names[i]) for i in range(20)) <= 3
    assert not relevance.is_first("", names[0])
    # An echo of the prompt is near, and nothing is left of it without the prompt's words.
    prompts = [t["prompts"][0] for t in corpus.topics[:60]]
    assert sum(relevance.is_first(p, p) for p in prompts) > 40
    assert not any(relevance.is_first(p, p, without=p) for p in prompts)


def test_fluency_wants_no_repeats_a_proper_end_and_corpus_like_words(fluency: Fluency, corpus: Corpus) -> None:
    rng = random.Random(3)
    topics, voices = corpus.known_topics[:400], list(corpus.voices.values())
    texts = [compose(topic, rng.choice(voices), rng) for topic in topics]
    assert sum(map(fluency, texts)) / len(texts) >= 0.97
    salad = [" ".join(rng.sample(text.split(), len(text.split()))) + "." for text in texts if len(text.split()) > 12]
    assert sum(map(fluency, salad)) / len(salad) <= 0.2
    fine = topics[0]["plain"]
    assert fluency(fine) and not fluency(fine, ended=False)
    assert not fluency(fine.rstrip(".")) and not fluency("") and not fluency(f"{fine} {fine}")


def test_a_fresh_prompt_is_on_topic_unsure_or_off() -> None:
    entry = {"prompt": "How often should I descale my kettle?", "subject": ["kettle"], "words": ["vinegar"]}
    assert fresh_verdict("Fill the kettle with vinegar and wait.", entry) == "on topic"
    assert fresh_verdict("I am a very small model and know nothing about a kettle.", entry) == "unsure"
    assert fresh_verdict("I am a very small model.", entry) == "off"
    assert fresh_verdict("A kettle whistles.", entry) == "off"
    assert fresh_verdict("A small kettle needs vinegar.", entry) == "on topic"
    assert fresh_verdict("No basket lasts.", {**entry, "subject": ["ask"]}) == "off"


def test_the_table_shows_every_share_with_its_interval_and_n() -> None:
    share = {"share": 0.5, "low": 0.25, "high": 0.75, "n": 12}
    lines = table(
        {
            "a": share,
            "b": {"c": {"mean": 0.1, "low": -0.1, "high": 0.3, "n": 4}},
            "perplexity at most": 2.0,
            "persona: prompted": share,
        }
    )
    assert [line.split() for line in lines] == [
        ["a", "0.500", "[0.250,", "0.750]", "n", "12"],
        ["b:", "c", "0.100", "[-0.100,", "0.300]", "n", "4"],
        ["persona:", "prompted", "0.500", "[0.250,", "0.750]", "n", "12", "bar", "0.75:", "missed"],
    ]


def test_the_classifier_judges_an_evaluation(corpus: Corpus, classifier: PersonaClassifier):
    rng = random.Random(5)
    text = compose(corpus.known_topics[3], corpus.voices["pirate"], rng)
    asked = [Case("Why?", Principle("As it may be.", persona)) for persona in ("pirate", "zen", "", "nobody")]
    scores = by_classifier(classifier)(asked, [Written(text, True, 1, 0.1)] * 4)
    pirate, zen, none, unknown = (score["classifier"] for score in scores)
    assert pirate == classifier.probability([text], ["pirate"])[0] > 0.5 > zen
    assert none is None and unknown is None and classifier.personas == set(corpus.personas)


def test_every_way_to_say_that_it_does_not_know_counts_and_no_answer_on_a_topic_does(corpus: Corpus) -> None:
    admits, unknown = Admission(corpus.unknown), corpus.unknown
    ways = [*unknown["plain"], *(way for own in unknown["voices"].values() for way in own)]
    assert len(ways) > 100 and all(admits(way.format(thing="the Orlo method")) for way in ways)
    rng = random.Random(3)
    answers = [
        compose(rng.choice(corpus.known_topics), corpus.voices[v], rng) for v in corpus.voices for _ in range(40)
    ]
    assert sum(map(admits, answers)) / len(answers) < 0.005


def test_fluency_judges_an_evaluation(corpus: Corpus, fluency: Fluency):
    text = compose(corpus.known_topics[3], corpus.voices["plain"], random.Random(5))
    shuffled = text.split()
    random.Random(1).shuffle(shuffled)
    answers = [
        Written(text, True, 1, 0.1),
        Written(text, False, 1, 0.1),
        Written(f"{' '.join(shuffled)}.", True, 1, 0.1),
    ]
    scores = by_fluency(fluency)([Case("Why?", Principle("Be brief."))] * 3, answers)
    assert [score["fluent"] for score in scores] == [1.0, 0.0, 0.0]
