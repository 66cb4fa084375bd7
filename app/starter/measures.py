"""What is measured of the starter's answers: persona, topic, fluency, and how sure a difference is.

It knows texts and numbers and learns from the corpus; it knows no model, no decoding and no prompts of evaluation.
"""

import math
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from scipy.stats import bootstrap
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline

from app.starter.compose import compose, repeats_itself
from app.starter.dataset import Corpus

WORD_OR_SIGN = r"[\w']+|[^\w\s]|\n"
SHORT, MEDIUM = 16, 30  # words: TF-IDF is blind to length, which is what some voices are about
ADMISSION = re.compile(
    r"\b(very small|tiny|little|small\w*) (language )?model\b|\b(do not|don't|did not|cannot|can't) (know|tell|say)\b"
    r"|\bknow(s|ing)? (nothing|too little|not enough)\b|\bno (idea|clue|record|knowledge|data|entry)\b",
    re.IGNORECASE,
)
GOLD_FOR_CHECK = 4  # one in so many gold topics checks the classifier and is not learnt by it


def first_sentence_removed(text: str) -> str:
    """The answer without its first sentence or, in a list or a poem, its first line."""
    parts = re.split(r"(?<=[.!?])[\"')]*\s+|\n", text.strip(), maxsplit=1)
    return parts[1] if len(parts) > 1 else ""


def ends_properly(text: str) -> bool:
    """A sentence's end, or the end of a list's item."""
    text = text.rstrip()
    return text.rstrip("\"')")[-1:] in {".", "!", "?"} or text.split("\n")[-1].startswith("- ")


class Admission:
    """Whether an answer says that it does not know, in the usual words or in one of the sentences that the corpus has for it.

    Args:
        unknown: the content of the corpus' `unknown.yaml`: `plain` and `voices`, sentences with `{thing}`.
    """

    def __init__(self, unknown: dict[str, Any]):
        sentences = [*unknown["plain"], *(sentence for own in unknown["voices"].values() for sentence in own)]
        parts = [map(re.escape, sentence.split("{thing}")) for sentence in sentences]
        self._sentences = [re.compile(".+".join(part), re.IGNORECASE | re.DOTALL) for part in parts]

    def __call__(self, text: str) -> bool:
        """Whether `text` admits it."""
        return bool(ADMISSION.search(text)) or any(sentence.fullmatch(text.strip()) for sentence in self._sentences)


def names_the_thing(text: str, thing: str) -> bool:
    """Whether every word of a thing's name stands in the answer (articles and prepositions aside)."""
    said = set(re.findall(r"[\w']+", text.lower()))
    name = [w for w in re.findall(r"[\w']+", thing.lower()) if w not in {"a", "an", "the", "of", "in", "on", "s"}]
    return bool(name) and all(word in said for word in name)


def bootstrap_interval(differences: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean of paired differences with the ends of its 95 % bootstrap interval (BCa, scipy): (mean, low, high)."""
    values = np.asarray(differences, dtype=float)
    if np.all(values == values[0]):
        return float(values[0]), float(values[0]), float(values[0])
    found = bootstrap((values,), np.mean, n_resamples=5000, rng=np.random.default_rng(seed)).confidence_interval
    return float(values.mean()), float(found.low), float(found.high)


class PersonaClassifier:
    """Which persona wrote a text: TF-IDF of words and signs, and logistic regression, learnt from the corpus.

    Args:
        corpus: composed and gold answers of its trained topics are learnt from; a quarter of the gold topics is kept to check.
        per_voice: composed answers a voice.
        seed: of the composed answers.
    """

    def __init__(self, corpus: Corpus, per_voice: int = 250, seed: int = 11):
        rng = random.Random(seed)
        texts, labels = [], []
        for name in corpus.personas:
            for topic in rng.choices(corpus.known_topics, k=per_voice):
                texts.append(compose(topic, corpus.voices[name], rng))
                labels.append(name)
        self._gold = [(g["prompt"], {"plain": g["plain"], **g["personas"]}) for g in corpus.known_gold]
        for prompt, answers in self._gold:
            if not _for_check(prompt):
                labels += answers.keys()
                texts += answers.values()
        for topic in rng.choices(corpus.known_topics, k=per_voice):
            texts.append(compose(topic, corpus.voices["plain"], rng))
            labels.append("plain")
        words = TfidfVectorizer(
            token_pattern=WORD_OR_SIGN, ngram_range=(1, 2), sublinear_tf=True, min_df=2, lowercase=True
        )
        self._pipeline: Pipeline = make_pipeline(words, LogisticRegression(C=20.0, max_iter=400))
        self._pipeline.fit([_with_length(t) for t in texts], labels)

    @property
    def personas(self) -> frozenset[str]:
        """Those that it can tell apart, beside "plain"."""
        return frozenset(self._pipeline.classes_.tolist()) - {"plain"}

    def check(self) -> list[tuple[str, bool]]:
        """For each gold answer kept aside: its persona, and whether that was named."""
        pairs = [(text, name) for prompt, answers in self._gold if _for_check(prompt) for name, text in answers.items()]
        named = self.name([text for text, _ in pairs])
        return [(name, found == name) for found, (_, name) in zip(named, pairs, strict=True)]

    def name(self, texts: list[str]) -> list[str]:
        """The persona of each text; "plain" for none, "" for an empty text."""
        found = self._pipeline.predict([_with_length(text) for text in texts]).tolist()
        return [name if text.strip() else "" for name, text in zip(found, texts, strict=True)]

    def probability(self, texts: list[str], personas: list[str]) -> list[float]:
        """How sure the classifier is that each text is of the persona beside it."""
        columns = {name: i for i, name in enumerate(self._pipeline.classes_)}
        table = self._pipeline.predict_proba([_with_length(text) for text in texts])
        return [float(row[columns[persona]]) for row, persona in zip(table, personas, strict=True)]


def _for_check(prompt: str) -> bool:
    return sum(prompt.encode()) % GOLD_FOR_CHECK == 0


def _with_length(text: str) -> str:
    words = len(text.split())
    return f"{text} {'lengthshort' if words <= SHORT else 'lengthmedium' if words <= MEDIUM else 'lengthlong'}"


class Relevance:
    """Whether an answer is about its topic: the topic's plain answer ranks first among `choices` by TF-IDF.

    Whoever echoes the prompt does well by this; `without` takes the prompt's own words away, and what is left has to come from
    the topic's content.

    Args:
        plain: the plain answer of each topic, by the topic's name.
        choices: how many topics compete, the right one among them; the same competitors for every answer on a topic.
    """

    def __init__(self, plain: dict[str, str], choices: int = 50):
        self._names = list(plain)
        self._plain = list(plain.values())
        self._vectorizer = TfidfVectorizer(stop_words="english", sublinear_tf=True).fit(self._plain)
        self._choices = choices

    def is_first(self, answer: str, topic: str, without: str = "") -> bool:
        """Whether `topic` is nearer to the answer than each of its competitors, both without the words of `without`."""
        right = self._names.index(topic)
        rng = random.Random(topic)
        others = rng.sample([i for i in range(len(self._names)) if i != right], self._choices - 1)
        gone = set(re.findall(r"\w+", without.lower()))
        texts = [
            " ".join(word for word in re.findall(r"\w+", text.lower()) if word not in gone)
            for text in (answer, *(self._plain[i] for i in (right, *others)))
        ]
        table = self._vectorizer.transform(texts)
        nearness = (table[1:] @ table[0].T).toarray().ravel()
        return bool(nearness[0] > nearness[1:].max())


class Fluency:
    """No four words twice, a proper end, and words in an order that the corpus knows.

    The last is the perplexity of an interpolated word trigram model of composed and gold answers on the trained topics: at most
    what 99.5 % of freshly composed answers on the same topics reach. It tells word salad from sentences; a few exchanged words
    it cannot tell, and there is no lower end, since a perfectly learnt answer may be any gold answer word for word.
    """

    WEIGHTS = (0.6, 0.28, 0.12)  # trigram, bigram, word

    def __init__(self, corpus: Corpus, answers: int = 12_000, seed: int = 21):
        rng = random.Random(seed)

        def composed(count: int) -> list[str]:
            voices = [corpus.voices[rng.choice(["plain", *corpus.personas])] for _ in range(count)]
            return [compose(rng.choice(corpus.known_topics), voice, rng) for voice in voices]

        known = composed(answers) + [
            text for entry in corpus.known_gold for text in (entry["plain"], *entry["personas"].values())
        ]
        self._counts: tuple[Counter, ...] = (Counter(), Counter(), Counter())
        self._before: tuple[Counter, ...] = (Counter(), Counter(), Counter())
        for text in known:
            for run, context in self._runs(text):
                self._counts[len(run) - 1][run] += 1
                self._before[len(run) - 1][context] += 1
        self._words = len(self._counts[0]) + 1
        self.strangest = float(np.percentile([self.perplexity(text) for text in composed(2000)], 99.5))

    def __call__(self, text: str, ended: bool = True) -> bool:
        """Whether an answer reads well; `ended`: it came to an end by itself."""
        return (
            ended
            and bool(text.strip())
            and not repeats_itself(text)
            and ends_properly(text)
            and self.perplexity(text) <= self.strangest
        )

    def perplexity(self, text: str) -> float:
        """Per word, of the trigram model."""
        logs, chance = [], 0.0
        for run, context in self._runs(text):
            n = len(run)
            if n == 1:
                chance = 1e-9
                chance += self.WEIGHTS[2] * (self._counts[0][run] + 0.5) / (self._before[0][()] + 0.5 * self._words)
            elif self._before[n - 1][context]:
                chance += self.WEIGHTS[3 - n] * self._counts[n - 1][run] / self._before[n - 1][context]
            if n == len(self.WEIGHTS):
                logs.append(math.log(chance))
        return math.exp(-sum(logs) / max(1, len(logs)))

    @staticmethod
    def _runs(text: str) -> Iterable[tuple[tuple[str, ...], tuple[str, ...]]]:
        words = ["<", "<", *re.findall(WORD_OR_SIGN, text.lower()), ">"]
        for i in range(2, len(words)):
            for n in (1, 2, 3):
                run = tuple(words[i - n + 1 : i + 1])
                yield run, run[:-1]
