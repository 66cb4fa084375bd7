"""Draws training samples (system text, earlier turns, user prompt, answer) from the corpus; keeps the held-out part apart for good.

It knows files, wordings and chance; it knows nothing of tokens, tensors or models.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from app.prompts import SYSTEM_TEXT, frame
from app.starter import CORPUS_FOLDER
from app.starter.compose import compose, fill, load_topics, read_lines
from app.starter.held_out import is_held_out
from app.starter.names import invented_like, invented_name, is_nameable
from app.starter.voices import Voice, blend, load_voices
from app.starter.wordings import adjective_and_noun, read_wordings

TWO_WORDINGS = 0.1  # of the persona descriptions are two wordings, one after the other
SEVERAL_VOICES = "+"
WORN, WORD_LOST = 0.3, 0.15  # of the persona descriptions lose words; the chance of each word of theirs to be lost
PROMPT_WORN, PROMPT_WORD_LOST = 0.4, 0.15  # the same of the prompts on a topic
NAMED_ONLY = 0.12  # of the prompts on a topic give its subject and no question of its own
INVENTED, NAMED = 0.5, 0.05  # of the unknown things: new with every draw; from the written names; the rest is real
IN_A_QUESTION = 0.5  # of the invented things stand in a question that was written for a real one
BEGUN_WORDS = (4, 20)  # of an answer of which only the beginning is trained on


@dataclass(frozen=True)
class Sample:
    """One chat. `persona` and `topic` say where it came from; the model sees the system text, the turns and the answer only.

    wordings: how a persona is asked for; none for the plain voice.
    earlier: turns before the last prompt, as (user, answer) pairs.
    ended: whether the answer is whole; False where it breaks off.
    """

    wordings: tuple[str, ...]
    user: str
    answer: str
    persona: str = "plain"
    topic: str = ""
    earlier: tuple[tuple[str, str], ...] = ()
    ended: bool = True

    @property
    def system(self) -> str:
        """The system text, with the wordings framed as the product frames a principle."""
        return " ".join([SYSTEM_TEXT, *(frame(wording, "principle") for wording in self.wordings)])

    def messages(self) -> list[dict[str, str]]:
        """The chat up to the answer, as a chat template takes it."""
        turns = [
            {"role": role, "content": text}
            for turn in self.earlier
            for role, text in zip(("user", "assistant"), turn, strict=True)
        ]
        return [{"role": "system", "content": self.system}, *turns, {"role": "user", "content": self.user}]


class Corpus:
    """Everything that the starter is trained on, read once.

    Args:
        shares: the mixture, each in 0..1: of all samples `gold_share`, `unknown_share`, `smalltalk_share`,
            `followup_share`, `echo_share` and `begun_share` (the rest is composed); of the composed and begun ones `pair_share`; and,
            wherever a persona is drawn, `plain_share` for none.
        folder: the folder with `topics/`, `voices/`, `wordings/` and the single files beside them.

    Raises:
        ValueError: a file of the corpus is malformed; the message names file and key.
    """

    def __init__(self, shares: dict[str, float], folder: Path = CORPUS_FOLDER):
        self.shares = shares
        self.topics = load_topics(folder / "topics")
        self.voices = load_voices(folder / "voices")
        self.wordings = {path.stem: read_wordings(path) for path in sorted((folder / "wordings").glob("*.yaml"))}
        self.gold = read_lines(folder / "gold.jsonl")
        self.beyond = read_lines(folder / "beyond.jsonl")
        self.asked_too = {
            entry["topic"]: [prompt for prompt in entry["prompts"] if not is_held_out("prompt", prompt)]
            for path in sorted((folder / "asked").glob("*.jsonl"))
            for entry in read_lines(path)
        }
        self.unknown, smalltalk, self.followups, self.pairs, twins, self.echo = (
            yaml.safe_load((folder / f"{name}.yaml").read_text(encoding="utf-8"))
            for name in ("unknown", "smalltalk", "followups", "pairs", "twins", "echo")
        )
        # Some small talk asks what a topic asks too, and a held-out topic stays out in every form.
        self.smalltalk = [entry for entry in smalltalk if not is_held_out("topic", entry["prompts"][0])]
        self.personas = sorted(self.wordings)
        if odd := set(self.voices) ^ {*self.wordings, "plain"}:
            raise ValueError(
                f"{folder}: a voice without wordings, or wordings without a voice: {', '.join(sorted(odd))}"
            )
        self.known_topics = [t for t in self.topics if _is_trained(t["prompts"][0], twins)]
        self.known_gold = [g for g in self.gold if _is_trained(g["prompt"], twins)]
        self._questions = [
            (entry["thing"], prompt)
            for entry in self.beyond
            if not is_held_out("topic", entry["thing"])
            for prompt in entry["prompts"]
            if is_nameable(entry["thing"], prompt)
        ]

    def samples(self, seed: int, held_out: bool = False) -> Iterator[Sample]:
        """Endless samples. With `held_out`, persona wordings are ones that training never draws, and prompts too, where the topic
        has such."""
        rng = random.Random(seed)
        kinds = {
            "gold": self._gold,
            "unknown": self._unknown,
            "smalltalk": self._smalltalk,
            "followup": self._followup,
            "echo": self._echo,
            "begun": self._begun,
        }
        weights = [self.shares[f"{kind}_share"] for kind in kinds]
        makers = [*kinds.values(), self._composed]
        while True:
            yield rng.choices(makers, [*weights, 1 - sum(weights)])[0](rng, held_out)

    def composed(self, rng: random.Random, topic: dict, held_out: bool, persona: str) -> Sample:
        """One topic in the voice of one persona, which is asked for in one of its wordings."""
        user = self._asked_for(rng, topic, held_out)
        answer = compose(topic, self.voices[persona], rng)
        return Sample(self.asked(rng, persona, held_out), user, answer, persona, topic["prompts"][0])

    def asked(self, rng: random.Random, persona: str, held_out: bool) -> tuple[str, ...]:
        """One wording that asks for a persona, now and then two; none for "plain"."""
        if persona == "plain":
            return ()
        count = 2 if rng.random() < TWO_WORDINGS else 1
        drawn = (self.wordings[persona].draw(rng, _wording_side(held_out)) for _ in range(count))
        return tuple(drawn if held_out else (_worn(rng, wording, "wording", WORN, WORD_LOST) for wording in drawn))

    def _composed(self, rng: random.Random, held_out: bool) -> Sample:
        topic = rng.choice(self.known_topics)
        if rng.random() < self.shares["pair_share"]:
            return self._pair(rng, topic, held_out)
        return self.composed(rng, topic, held_out, self._draw_persona(rng, self.personas))

    def _begun(self, rng: random.Random, held_out: bool) -> Sample:
        """The first words of an answer alone: they decide for its topic, and are few among the words of whole answers."""
        sample = self._composed(rng, held_out)
        words = sample.answer.split(" ")
        count = rng.randint(*BEGUN_WORDS)
        return replace(sample, answer=" ".join(words[:count]), ended=count >= len(words))

    def _pair(self, rng: random.Random, topic: dict, held_out: bool) -> Sample:
        """A curt pirate: two personas in one answer, asked for by adjective and noun or by a wording of each."""
        first = rng.choice(sorted(self.pairs["nouns"]))
        second = rng.choice(sorted(set(self.pairs["adjectives"]) - {first}))
        described = adjective_and_noun(rng, self.pairs, second, first, _wording_side(held_out))
        if described and rng.random() < 0.5:
            wordings = [described]
        else:
            wordings = [*self.asked(rng, first, held_out), *self.asked(rng, second, held_out)]
            rng.shuffle(wordings)
        answer = compose(topic, blend(self.voices[first], self.voices[second]), rng)
        user = self._asked_for(rng, topic, held_out)
        return Sample(tuple(wordings), user, answer, f"{first}{SEVERAL_VOICES}{second}", topic["prompts"][0])

    def _asked_for(self, rng: random.Random, topic: dict[str, Any], held_out: bool) -> str:
        """A prompt of the topic; in training, now and then its bare subject in the forms in which unknown things are asked for: the
        form must not tell what is known, only the thing."""
        if held_out:
            return draw_prompt(rng, topic["prompts"], held_out)
        if rng.random() < NAMED_ONLY:
            asked = rng.choice(self.unknown["prompts"]).format(thing=topic["subject"])
            if not is_held_out("prompt", asked):
                return asked
        asked = draw_prompt(rng, topic["prompts"] + self.asked_too.get(topic["prompts"][0], []), held_out)
        return _worn(rng, asked, "prompt", PROMPT_WORN, PROMPT_WORD_LOST)

    def _gold(self, rng: random.Random, held_out: bool) -> Sample:
        entry = rng.choice(self.known_gold)
        persona = self._draw_persona(rng, list(entry["personas"]))
        answer = entry["plain"] if persona == "plain" else entry["personas"][persona]
        user = draw_prompt(rng, [entry["prompt"], *entry["wordings"]], held_out)
        return Sample(self.asked(rng, persona, held_out), user, answer, persona, entry["prompt"])

    def _unknown(self, rng: random.Random, held_out: bool) -> Sample:
        """A thing that nobody told the model about: names in general prompts, real things in prompts of their own."""
        persona = self._draw_persona(rng, list(self.unknown["voices"]))
        lot = rng.random()
        if lot < INVENTED:
            thing, user = self.invented(rng, held_out)
        elif lot < INVENTED + NAMED:
            thing = rng.choice([t for t in self.unknown["things"] if is_held_out("topic", t) == held_out])
            user = rng.choice(self.unknown["prompts"]).format(thing=thing)
        else:
            entry = rng.choice([e for e in self.beyond if is_held_out("topic", e["thing"]) == held_out])
            thing = entry["thing"]
            general = rng.random() < 0.2
            user = rng.choice(self.unknown["prompts"]).format(thing=thing) if general else rng.choice(entry["prompts"])
        answers = self.unknown["plain"] if persona == "plain" else self.unknown["voices"][persona]
        answer = rng.choice(answers).format(thing=thing)
        return Sample(self.asked(rng, persona, held_out), user, answer[0].upper() + answer[1:], persona, thing)

    def invented(self, rng: random.Random, held_out: bool) -> tuple[str, str]:
        """A thing that does not exist, and a prompt on it: a general one, or the question on a real thing with its name exchanged."""
        if rng.random() < IN_A_QUESTION:
            thing, asked = invented_like(rng, *rng.choice(self._questions))
        else:
            thing = invented_name(rng)
            asked = rng.choice(self.unknown["prompts"]).format(thing=thing)
        return (thing, asked) if is_held_out("topic", thing) == held_out else self.invented(rng, held_out)

    def _smalltalk(self, rng: random.Random, held_out: bool) -> Sample:
        entry = rng.choice(self.smalltalk)
        persona = self._draw_persona(rng, list(entry["voices"]))
        answer = rng.choice(entry["plain"]) if persona == "plain" else entry["voices"][persona]
        user = draw_prompt(rng, entry["prompts"], held_out)
        return Sample(self.asked(rng, persona, held_out), user, answer, persona, entry["prompts"][0])

    def _followup(self, rng: random.Random, held_out: bool) -> Sample:
        """A second turn on a topic: the same again in another form, a remark of the topic, more of it, thanks."""
        topic = rng.choice(self.known_topics)
        sample = self.composed(rng, topic, held_out, self._draw_persona(rng, self.personas))
        voice = self.voices[sample.persona]
        # A persona that has no words of its own for what is asked would fall out of its role.
        entry = rng.choice([f for f in self.followups if _can_answer(f, topic, voice)])
        if "voice" in entry:
            answer = compose(topic, self._retold(voice, entry["voice"]), rng)
        elif "more" in entry:
            untold = [point for point in topic["points"] if point.lower() not in sample.answer.lower()]
            answer = compose({**topic, "points": untold} if len(untold) > 1 else topic, voice, rng)
        else:
            own = voice.extras[entry["extra"]][1] if entry.get("extra") in voice.extras else None
            answer = fill(rng.choice(own or entry.get("frames") or entry["answers"]), topic, voice)
        return replace(
            sample,
            user=draw_prompt(rng, entry["prompts"], held_out),
            answer=answer,
            earlier=((sample.user, sample.answer),),
        )

    def _echo(self, rng: random.Random, held_out: bool) -> Sample:
        """Something said word for word: the answer before, in whatever voice it was; or words of the prompt."""
        topic = rng.choice(self.known_topics)
        if rng.random() < 0.5:
            said = self.composed(rng, topic, held_out, self._draw_persona(rng, self.personas))
            user = draw_prompt(rng, self.echo["again"], held_out)
            return replace(said, user=user, earlier=((said.user, said.answer),))
        words = rng.choice([topic["subject"], topic["wish"], rng.choice(topic["points"]), "", ""])
        text = " and ".join([words] if words else [invented_name(rng) for _ in range(rng.randint(1, 3))])
        answer = f"{text[0].upper()}{text[1:]}."
        return Sample((), draw_prompt(rng, self.echo["say"], held_out).format(text=text), answer, topic=text)

    def _retold(self, voice: Voice, asked: str) -> Voice:
        other = self.voices[asked]
        joins = voice.id not in ("plain", asked) and voice.form == "prose" and voice.check is None
        return blend(voice, other) if joins and asked in ("curt", "lister") else other

    def _draw_persona(self, rng: random.Random, choices: list[str]) -> str:
        styled = [persona for persona in choices if persona != "plain"]
        return "plain" if not styled or rng.random() < self.shares["plain_share"] else rng.choice(styled)


def _can_answer(followup: dict[str, Any], topic: dict[str, Any], voice: Voice) -> bool:
    if "extra" in followup:
        return bool(topic.get(followup["extra"])) and (voice.id == "plain" or followup["extra"] in voice.extras)
    return "answers" not in followup or voice.id == "plain"


def _is_trained(prompt: str, twins: list[str]) -> bool:
    """Neither held out itself nor the same as a held-out topic in other words."""
    return prompt not in twins and not is_held_out("topic", prompt)


def _wording_side(held_out: bool) -> Callable[[str], bool]:
    return lambda text: is_held_out("wording", text) == held_out


def _worn(rng: random.Random, text: str, kind: str, share: float, word_lost: float) -> str:
    """Now and then a text with words missing: it keeps the model from knowing a text by one turn of phrase alone.

    `kind` as in `is_held_out`; `share` of the texts lose words, each word with the chance `word_lost`.
    """
    if rng.random() >= share:
        return text
    left = " ".join(word for word in text.split() if rng.random() >= word_lost)
    return text if not left or is_held_out(kind, left) else left


def draw_prompt(rng: random.Random, prompts: list[str], held_out: bool) -> str:
    """A prompt from the trained or from the held-out side; any where that side is empty."""
    side = [prompt for prompt in prompts if is_held_out("prompt", prompt) == held_out]
    return rng.choice(side or prompts)
