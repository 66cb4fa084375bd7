"""Invents names that nobody has heard of, without end: a model that has to repeat them learns to copy from its prompt.

A list of names, however long, is learnt by heart instead. It knows syllables and kinds of things, nothing of prompts or models.
"""

import random

STARTS = (
    "b", "br", "c", "ch", "cl", "cr", "d", "dr", "f", "fl", "fr", "g", "gl", "gr", "h", "j", "k", "kl",
    "l", "m", "n", "p", "pl", "pr", "qu", "r", "s", "sh", "sk", "sl", "sn", "sp", "st", "t", "th", "tr",
    "tw", "v", "w", "y", "z",
)  # fmt: skip
MIDDLES = ["a", "e", "i", "o", "u", "ai", "ea", "ee", "oa", "oo", "ou", "y", "ia", "eo"]
ENDS = (
    "b", "ck", "d", "ft", "g", "l", "ld", "lm", "m", "mp", "n", "nd", "ng", "nk", "nt", "p", "r", "rd",
    "rk", "rn", "rt", "s", "sh", "sk", "ss", "st", "t", "th", "v", "x", "z",
)  # fmt: skip
KINDS = (
    "the town of {}", "the village of {}", "the river {}", "the island of {}", "the {} valley", "Mount {}", "Lake {}",
    "the planet {}", "the {} comet", "Captain {}", "Doctor {}", "Professor {}", "Queen {}", "Uncle {}", "the painter {} {}",
    "the singer {} {}", "the poet {} {}", "the football club {} Rovers", "the film {} Nights", "the novel The {} Letters",
    "the board game {}", "the band {} and the {}s", "the {} engine", "the {} method", "the {} theorem", "the {} treaty",
    "the {} beetle", "a {}", "the dish called {}", "the language {}", "the company {} Systems", "the {} festival",
    "the old {} lighthouse", "the {} procedure", "the app {}", "the {} model {}00",
)  # fmt: skip


def invented_name(rng: random.Random) -> str:
    """A thing that does not exist, as it stands in the middle of a sentence: "the town of Brelmsa", "a twoond"."""
    kind = rng.choice(KINDS)
    common = kind == "a {}"
    words = [_word(rng) if common else _word(rng).capitalize() for _ in range(kind.count("{}"))]
    return kind.format(*words)


def _word(rng: random.Random) -> str:
    syllables = rng.choices((1, 2, 3), (0.15, 0.6, 0.25))[0]
    word = "".join(rng.choice(STARTS) + rng.choice(MIDDLES) for _ in range(syllables))
    return word + rng.choice(("", rng.choice(ENDS)))
