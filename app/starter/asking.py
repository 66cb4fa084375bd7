"""Ways to ask for a topic in training: its written prompts, worn, two in a row or with words exchanged; a few words; one of its points.

A small model that only ever sees a dozen written prompts of a topic learns those by heart. What it has to learn is which words go
with which topic: a bag of words finds the topic of a held-out prompt more often than such a model does. It knows topics and chance;
no personas, no answers and no models.
"""

import math
import random
import re
from collections import Counter
from typing import Any

from app.starter.held_out import is_held_out

# Shares of the prompts; the rest is written, now and then worn.
A_FEW_WORDS, EXCHANGED, TWO_IN_A_ROW, ON_A_POINT = 0.13, 0.13, 0.06, 0.06
WORD_EXCHANGED = 0.3
WORN, WORD_LOST = 0.25, 0.15  # of the written prompts lose words; the chance of each word to be lost
FROM_THE_ANSWER = 0.25  # of a few words each comes from what the answer may say with this chance, else from a prompt
TOLD = ("points", "plain", "short", "because", "risk", "cheap", "green", "bold", "expert", "wish", "subject")
ON_STEPS = (
    "Should I {point}?", "is it right to {point}?", "Why do I have to {point}?", "somebody told me to {point}",
    "Do I need to {point} or not?", "I have to {point}. And then?", "what if I do not {point}", "Is it enough to {point}?",
)  # fmt: skip
ON_STATEMENTS = (
    "Is it true that {point}?", "i read that {point}", "Why is it that {point}?", "They say {point}.", "{point}, is that so",
    "I did not know that {point}. Tell me more.", "somebody told me that {point}", "so {point}?",
)  # fmt: skip
WORDS = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")


class Asking:
    """Draws prompts for topics.

    Args:
        topics: those that are trained on.
        further: by a topic's first prompt, ways to ask for it beyond those that stand in the topic.
    """

    def __init__(self, topics: list[dict[str, Any]], further: dict[str, list[str]]):
        self._written = {
            _name(topic): [p for p in topic["prompts"] if not is_held_out("prompt", p)]
            + further.get(topic["prompts"][0], [])
            for topic in topics
        }
        self._asked = {name: _words(prompts) for name, prompts in self._written.items()}
        self._told = {_name(topic): _words(_texts(topic)) for topic in topics}
        spread = Counter(word for name in self._asked for word in {*self._asked[name], *self._told[name]})
        # The rarer a word, the more it says: the weights of TF-IDF, without its counts.
        self._weight = {word: math.log(len(topics) / topics_with) for word, topics_with in spread.items()}

    def draw(self, rng: random.Random, topic: dict[str, Any]) -> str:
        """A prompt for a topic; never one that is held out."""
        written = self._written[_name(topic)]
        ways = (self._few_words, self._exchanged, self._two_in_a_row, self._on_a_point, self._worn)
        shares = (A_FEW_WORDS, EXCHANGED, TWO_IN_A_ROW, ON_A_POINT)
        asked = rng.choices(ways, (*shares, 1 - sum(shares)))[0](rng, topic, written)
        return rng.choice(written) if is_held_out("prompt", asked) else asked

    def _few_words(self, rng: random.Random, topic: dict[str, Any], written: list[str]) -> str:
        return " ".join(dict.fromkeys(self._word(rng, topic) for _ in range(rng.randint(3, 7))))

    def _exchanged(self, rng: random.Random, topic: dict[str, Any], written: list[str]) -> str:
        words = rng.choice(written).split()
        return " ".join(self._word(rng, topic) if rng.random() < WORD_EXCHANGED else word for word in words)

    def _two_in_a_row(self, rng: random.Random, topic: dict[str, Any], written: list[str]) -> str:
        return " ".join(rng.sample(written, min(2, len(written))))

    def _on_a_point(self, rng: random.Random, topic: dict[str, Any], written: list[str]) -> str:
        asked = rng.choice(ON_STEPS if topic["kind"] == "how" else ON_STATEMENTS).format(
            point=rng.choice(topic["points"])
        )
        return asked[0].upper() + asked[1:] if rng.random() < 0.5 else asked

    def _worn(self, rng: random.Random, topic: dict[str, Any], written: list[str]) -> str:
        return worn(rng, rng.choice(written), "prompt", WORN, WORD_LOST)

    def _word(self, rng: random.Random, topic: dict[str, Any]) -> str:
        words = (self._told if rng.random() < FROM_THE_ANSWER else self._asked)[_name(topic)]
        return rng.choices(words, [self._weight[word] for word in words])[0]


def worn(rng: random.Random, text: str, kind: str, share: float, word_lost: float) -> str:
    """Now and then a text with words missing: it keeps the model from knowing a text by one turn of phrase alone.

    Args:
        rng: decides.
        text: what may lose words.
        kind: as `is_held_out` has it; what is held out never comes of it.
        share: of the texts that lose words, each word with the chance `word_lost`.
    """
    if rng.random() >= share:
        return text
    left = " ".join(word for word in text.split() if rng.random() >= word_lost)
    return text if not left or is_held_out(kind, left) else left


def _name(topic: dict[str, Any]) -> tuple[str, str]:
    """Two topics may share their first prompt."""
    return topic["prompts"][0], topic["subject"]


def _words(texts: list[str]) -> list[str]:
    """The different words, in order."""
    return list(dict.fromkeys(word for text in texts for word in WORDS.findall(text.lower())))


def _texts(topic: dict[str, Any]) -> list[str]:
    values = [topic[key] for key in TOLD if topic.get(key)]
    return [text for value in values for text in (value if isinstance(value, list) else [value])]
