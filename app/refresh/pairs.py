"""Preference pairs and rated answers: what they are, and the held-out split. Knows no tensors, no database and no files; see `pair_files`."""

import hashlib
import json
from dataclasses import dataclass

from app.errors import InputError
from app.prompts import Message

HELD_OUT_SHARE = 0.2
FEWEST_PAIRS = 6
FEWEST_PROMPTS = 3


@dataclass(frozen=True)
class Asked:
    """What was answered: a conversation without a principle, as (role, text)."""

    prompt: tuple[tuple[str, str], ...]

    @property
    def messages(self) -> list[Message]:
        """The prompt as chat messages."""
        return [{"role": role, "content": content} for role, content in self.prompt]

    @property
    def question(self) -> str:
        """The prompt's last message."""
        return self.prompt[-1][1]


@dataclass(frozen=True)
class Pair(Asked):
    """One decisive choice. `prompt` is a conversation without a principle; `chosen` and `rejected` are answers; `round` is the id of
    the round that they are from, empty for a file's."""

    chosen: str
    rejected: str
    round: str = ""


@dataclass(frozen=True)
class Rated(Asked):
    """One answer that was judged by itself. `demonstration`: a person wrote it; `prompt` and `round` as in `Pair`."""

    answer: str
    liked: bool
    demonstration: bool = False
    round: str = ""


def make_rated(
    messages: list[Message], answer: str, liked: bool, demonstration: bool = False, round_id: str = ""
) -> Rated:
    """A rated answer from chat messages."""
    return Rated(_prompt(messages), answer, liked, demonstration, round_id)


def make_pair(messages: list[Message], chosen: str, rejected: str, round_id: str = "") -> Pair:
    """A pair from chat messages and two answers."""
    return Pair(_prompt(messages), chosen, rejected, round_id)


def _prompt(messages: list[Message]) -> tuple[tuple[str, str], ...]:
    return tuple((m["role"], m["content"]) for m in messages)


def split(pairs: list[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs; all pairs of one prompt stay on one side, since answers to one prompt resemble each other.

    Raises:
        InputError: too few pairs or too few different prompts; the message says how many are missing.
    """
    prompts = sorted({pair.prompt for pair in pairs})
    if len(pairs) < FEWEST_PAIRS or len(prompts) < FEWEST_PROMPTS:
        missing = max(FEWEST_PAIRS - len(pairs), FEWEST_PROMPTS - len(prompts))
        raise InputError(
            f"there are {len(pairs)} clear choices on {len(prompts)} different prompts; learning needs at least {FEWEST_PAIRS} "
            f"on {FEWEST_PROMPTS}: {missing} more to go"
        )
    # By a hash, not by lot over what there is now: a prompt that a version was trained on must not be held out for the next one.
    ranks = {prompt: _rank(prompt, seed) for prompt in prompts}
    held_out = {prompt for prompt in prompts if ranks[prompt] < HELD_OUT_SHARE}
    if len(held_out) in (0, len(prompts)):
        held_out = {min(prompts, key=ranks.__getitem__)}
    return [p for p in pairs if p.prompt not in held_out], [p for p in pairs if p.prompt in held_out]


def _rank(prompt: tuple[tuple[str, str], ...], seed: int) -> float:
    digest = hashlib.sha256(json.dumps([seed, prompt]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64
