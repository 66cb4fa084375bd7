"""The ways in which a persona can be asked for: roles, manners, readers, principles, and descriptions in free words.

It knows YAML files and sentence templates; which wording is kept for measuring is decided elsewhere (`held_out`).
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROLE_TEMPLATES = (
    "Answer as {}", "You are {}", "Talk like {}", "Speak like {}", "Pretend to be {}", "Be {}", "Reply as {} would",
    "Answer like {}", "Imagine you are {}", "Act like {}", "Answer in the voice of {}", "Write as {}", "Sound like {}",
    "you're {}", "talk like {}", "I want you to be {}", "Play the part of {}", "Take the role of {}", "{}",
)  # fmt: skip
READER_TEMPLATES = ("The reader is {}", "The person asking is {}", "You are talking to {}", "I am {}", "Write for {}")
GROUPS = ("roles", "manners", "readers", "principles", "indirect")
GROUP_WEIGHTS = (0.27, 0.22, 0.12, 0.12, 0.27)


@dataclass(frozen=True)
class Wordings:
    """The wordings of one persona, in `GROUPS`; each is a sentence as a person would write it."""

    groups: tuple[tuple[str, ...], ...]

    def draw(self, rng: random.Random, allowed: Callable[[str], bool]) -> str:
        """A wording for which `allowed` holds; the group is drawn first, by `GROUP_WEIGHTS`."""
        group = rng.choices(self.groups, GROUP_WEIGHTS)[0]
        side = [wording for wording in group if allowed(wording)]
        return rng.choice(side) if side else self.draw(rng, allowed)


def read_wordings(path: Path) -> Wordings:
    """Reads one persona's file.

    Raises:
        ValueError: a group is missing; the message names file and group.
    """
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    if missing := set(GROUPS) - set(data):
        raise ValueError(f"{path}: groups missing: {', '.join(sorted(missing))}")
    roles = tuple(template.format(role) for role in data["roles"] for template in ROLE_TEMPLATES)
    readers = tuple(template.format(reader) for reader in data["readers"] for template in READER_TEMPLATES)
    return Wordings((roles, tuple(data["manners"]), readers, tuple(data["principles"]), tuple(data["indirect"])))


def adjective_and_noun(
    rng: random.Random, pairs: dict[str, Any], adjective_of: str, noun_of: str, allowed: Callable[[str], bool]
) -> str | None:
    """Two personas in one role ("You are a curt pirate"), or None where no wording is allowed.

    Args:
        rng: decides.
        pairs: `adjectives` and `nouns`, lists by persona.
        adjective_of: the persona that gives the adjective.
        noun_of: the persona that gives the noun.
        allowed: which wordings may be drawn.
    """
    adjective, noun = rng.choice(pairs["adjectives"][adjective_of]), rng.choice(pairs["nouns"][noun_of])
    article = "an" if adjective[0].lower() in "aeiou" else "a"
    texts = [template.format(f"{article} {adjective} {noun}") for template in ROLE_TEMPLATES]
    side = [text for text in texts if allowed(text)]
    return rng.choice(side) if side else None
