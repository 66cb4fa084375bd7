"""Invents names that nobody has heard of, without end: a model that has to repeat them learns to copy from its prompt.

A list of names, however long, is learnt by heart instead. It knows syllables and kinds of things, nothing of prompts or models.
"""

import random
import re

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
    "the {} beetle", "the dish called {}", "the language {}", "the company {} Systems", "the {} festival",
    "the old {} lighthouse", "the {} procedure", "the app {}", "the {} model {}00", "the {}-{} formula", "Proto-{}-{}",
    "the {} school", "the podcast Muddy {}", "the fabric called {}", "the sport of {}ball", "the {} disease", "the {} scale",
)  # fmt: skip
COMMON = (
    "a {}", "{}", "{}ing", "{}osis", "{}ology", "the {} {}", "a {} {}er", "{}ium", "{}itis", "a {}'s tail", "{}ical {}ics",
    "the {}al {}", "a {}er", "{} oil", "a {} belt", "{}ism",
)  # fmt: skip
COMMON_SHARE = 0.35
ARTICLE = re.compile(r"^(?:an?|the) ", re.IGNORECASE)


def invented_name(rng: random.Random) -> str:
    """A thing that does not exist, as it stands in the middle of a sentence: "the town of Brelmsa", "a twoond"."""
    common = rng.random() < COMMON_SHARE
    kind = rng.choice(COMMON if common else KINDS)
    words = [_word(rng) if common or "{}ball" in kind else _word(rng).capitalize() for _ in range(kind.count("{}"))]
    return kind.format(*words)


def is_nameable(thing: str, prompt: str) -> bool:
    """Whether a prompt says a thing's name word for word, its article aside, so that another name can stand there."""
    return _pattern(thing).search(prompt) is not None


def invented_like(rng: random.Random, thing: str, prompt: str) -> tuple[str, str]:
    """An invented thing in place of a real one: its name, and the prompt that asks for it.

    Args:
        rng: decides.
        thing: the real thing, as "a timing belt" or "Nairobi".
        prompt: a prompt on it that `is_nameable`.
    """
    bare = ARTICLE.sub("", thing)
    words = bare.split() if rng.random() < 0.7 else bare.split()[-1:]  # as many words as the real name has, or one
    name = " ".join(_word(rng).capitalize() if word[0].isupper() else _word(rng) for word in words)
    name += "s" if bare.endswith("s") else ""
    # Invented words begin with a consonant.
    return (
        re.sub(r"^([Aa])n ", r"\1 ", thing[: len(thing) - len(bare)]) + name,
        re.sub(rf"\b([Aa])n (?={re.escape(name)})", r"\1 ", _pattern(thing).sub(lambda _: name, prompt)),
    )


def _pattern(thing: str) -> re.Pattern[str]:
    return re.compile(rf"\b{re.escape(ARTICLE.sub('', thing))}\b", re.IGNORECASE)


def _word(rng: random.Random) -> str:
    syllables = rng.choices((1, 2, 3), (0.2, 0.55, 0.25))[0]
    word = "".join(rng.choice(STARTS) + rng.choice(MIDDLES) for _ in range(syllables))
    return word + rng.choice(("", rng.choice(ENDS)))
