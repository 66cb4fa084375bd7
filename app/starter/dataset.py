"""Draws training samples (system text, user prompt, answer) from the corpus; keeps the held-out part apart for good.

It knows files, wordings and chance; it knows nothing of tokens, tensors or models.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from app.prompts import SYSTEM_TEXT
from app.starter import CORPUS_FOLDER
from app.starter.compose import compose, load_topics, load_voices

ROLE_TEMPLATES = (
    "Answer as {}", "Answer as {}.", "You are {}.", "Talk like {}.", "Speak like {}.", "Pretend to be {}.", "Be {}.",
    "Reply as {} would.", "Answer like {}.", "Imagine you are {}.", "Act like {}.", "Answer in the voice of {}.",
    "Write as {}.", "Sound like {}.", "you're {}", "talk like {}", "I want you to be {}.", "Play the part of {}.",
)  # fmt: skip
READER_TEMPLATES = (
    "The reader is {}",
    "The reader is {}.",
    "The person asking is {}.",
    "You are talking to {}.",
    "I am {}.",
)
HELD_OUT_PERCENT = {"topic": 4, "prompt": 10, "wording": 12}


def is_held_out(kind: str, text: str) -> bool:
    """Whether a topic, a prompt or a persona wording is never trained on: a rule on a hash, so that it holds for good.

    Args:
        kind: "topic", "prompt" or "wording".
        text: the topic's first prompt, the prompt, or the persona wording as it enters the system text.
    """
    digest = hashlib.sha256(f"{kind}:{text.strip().lower()}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < HELD_OUT_PERCENT[kind]


@dataclass(frozen=True)
class Sample:
    """One chat of one turn. `persona` and `topic` say where it came from; the model sees system, user and answer only."""

    system: str
    user: str
    answer: str
    persona: str = "plain"
    topic: str = ""


@dataclass(frozen=True)
class Wordings:
    """The ways in which one persona can be asked for: `groups` of wordings and how often each group is drawn."""

    groups: tuple[tuple[str, ...], ...]
    weights: tuple[float, ...] = (0.3, 0.25, 0.15, 0.12, 0.18)

    def draw(self, rng: random.Random, held_out: bool) -> str:
        """A wording from the trained or from the held-out side of the line."""
        group = rng.choices(self.groups, self.weights)[0]
        side = [wording for wording in group if is_held_out("wording", wording) == held_out]
        return rng.choice(side) if side else self.draw(rng, held_out)


class Corpus:
    """Everything that the starter is trained on, read once.

    Args:
        folder: the folder with `topics/`, `voices/`, `wordings/`, `gold.jsonl`, `unknown.yaml` and `smalltalk.yaml`.
        shares: the mixture (`gold_share`, `unknown_share`, `smalltalk_share`, `plain_share`), each in 0..1.

    Raises:
        ValueError: a file of the corpus is malformed; the message names file and key.
    """

    def __init__(self, shares: dict[str, float], folder: Path = CORPUS_FOLDER):
        self.shares = shares
        self.topics = load_topics(folder / "topics")
        self.voices = load_voices(folder / "voices")
        with (folder / "gold.jsonl").open(encoding="utf-8") as lines:
            self.gold = [json.loads(line) for line in lines]
        self.wordings = {path.stem: _read_wordings(path) for path in sorted((folder / "wordings").glob("*.yaml"))}
        self.unknown = yaml.safe_load((folder / "unknown.yaml").read_text(encoding="utf-8"))
        smalltalk = yaml.safe_load((folder / "smalltalk.yaml").read_text(encoding="utf-8"))
        # Some small talk asks what a topic asks too, and a held-out topic stays out in every form.
        self.smalltalk = [entry for entry in smalltalk if not is_held_out("topic", entry["prompts"][0])]
        self.personas = sorted(set(self.voices) & set(self.wordings))

    def samples(self, seed: int, held_out: bool = False) -> Iterator[Sample]:
        """Endless samples. With `held_out`, prompt wordings and persona wordings are ones that training never draws."""
        rng = random.Random(seed)
        known = [t for t in self.topics if not is_held_out("topic", t["prompts"][0])]
        gold = [g for g in self.gold if not is_held_out("topic", g["prompt"])]
        while True:
            lot = rng.random()
            if lot < self.shares["gold_share"]:
                yield self._gold(rng, rng.choice(gold), held_out)
            elif (lot := lot - self.shares["gold_share"]) < self.shares["unknown_share"]:
                yield self._unknown(rng, held_out)
            elif lot - self.shares["unknown_share"] < self.shares["smalltalk_share"]:
                yield self._smalltalk(rng, held_out)
            else:
                yield self.composed(rng, rng.choice(known), held_out)

    def composed(self, rng: random.Random, topic: dict, held_out: bool, persona: str | None = None) -> Sample:
        """One topic in one voice; the persona is drawn unless given."""
        persona = persona or self._draw_persona(rng, self.personas)
        user = _draw_prompt(rng, topic["prompts"], held_out)
        answer = compose(topic, self.voices[persona], rng)
        return Sample(self._system(rng, persona, held_out), user, answer, persona, topic["prompts"][0])

    def _gold(self, rng: random.Random, entry: dict, held_out: bool) -> Sample:
        persona = self._draw_persona(rng, [p for p in entry["personas"] if p in self.wordings])
        answer = entry["plain"] if persona == "plain" else entry["personas"][persona]
        user = _draw_prompt(rng, [entry["prompt"], *entry["wordings"]], held_out)
        return Sample(self._system(rng, persona, held_out), user, answer, persona, entry["prompt"])

    def _unknown(self, rng: random.Random, held_out: bool) -> Sample:
        persona = self._draw_persona(rng, [p for p in self.unknown["voices"] if p in self.wordings])
        thing = rng.choice([t for t in self.unknown["things"] if is_held_out("topic", t) == held_out])
        answers = self.unknown["plain"] if persona == "plain" else self.unknown["voices"][persona]
        fill = {"thing": thing}
        user, answer = rng.choice(self.unknown["prompts"]).format(**fill), rng.choice(answers).format(**fill)
        return Sample(self._system(rng, persona, held_out), user, answer[0].upper() + answer[1:], persona, thing)

    def _smalltalk(self, rng: random.Random, held_out: bool) -> Sample:
        entry = rng.choice(self.smalltalk)
        persona = self._draw_persona(rng, [p for p in entry["voices"] if p in self.wordings])
        answer = rng.choice(entry["plain"]) if persona == "plain" else entry["voices"][persona]
        return Sample(
            self._system(rng, persona, held_out),
            _draw_prompt(rng, entry["prompts"], held_out),
            answer,
            persona,
            entry["prompts"][0],
        )

    def _draw_persona(self, rng: random.Random, choices: list[str]) -> str:
        styled = [persona for persona in choices if persona != "plain"]
        return "plain" if not styled or rng.random() < self.shares["plain_share"] else rng.choice(styled)

    def _system(self, rng: random.Random, persona: str, held_out: bool) -> str:
        if persona == "plain":
            return SYSTEM_TEXT
        return f"{SYSTEM_TEXT} {self.wordings[persona].draw(rng, held_out)}"


def _draw_prompt(rng: random.Random, prompts: list[str], held_out: bool) -> str:
    side = [prompt for prompt in prompts if is_held_out("prompt", prompt) == held_out]
    return rng.choice(side or prompts)


def _read_wordings(path: Path) -> Wordings:
    data = yaml.safe_load(path.read_text(encoding="utf-8"))
    missing = {"roles", "readers", "manners", "principles", "indirect"} - set(data)
    if missing:
        raise ValueError(f"{path}: keys missing: {', '.join(sorted(missing))}")
    roles = [template.format(role) for role in data["roles"] for template in ROLE_TEMPLATES]
    readers = [template.format(reader) for reader in data["readers"] for template in READER_TEMPLATES]
    groups = (roles, data["manners"], readers, data["principles"], data["indirect"])
    return Wordings(tuple(tuple(group) for group in groups))
