"""Tell any topic of the starter's corpus in any voice.

A topic says WHAT is said: a subject, a wish, five or six points and a few extra
remarks, all in fixed grammatical forms. A voice says HOW: openers, frames round a
point, closers, word swaps and a form, kept in one YAML file a voice. `compose` draws
from both and returns one answer.

What this program does not know: whether an answer is true, whether two points suit
each other, or what a frame means. It fills slots, keeps the order of the points and
puts capitals and full stops in place; good sense comes from the written topics and
frames. It never lower-cases content, so "I", "Mars" and "USB" stay as written.

Slots of a frame: {subject} {name} (the subject without its article) {wish} {point} {n}
(the number of the point), and, by the subject's number, {is} {has} {does} {s} {it} {them}. A frame of an extra has that
extra's name as its slot. Each {point} of a frame takes the next point in order. " / "
in a frame breaks the line.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from app.starter.voices import EXTRAS, SLOT, Voice

ATTEMPTS = 60
A_REPEAT = 1000  # worse than any miss of the length
MOST_EXTRAS = 2

_SENTENCE_START = re.compile(r"""(^|[.!?]["')]? | / )["'(]?$|^- $""")
_VERB_FRAME = re.compile(r"\b(to|shall|should|must|will|may|can|could|might|just|be) \{point\}")
_NO_VERB = re.compile(r"(if|when|once|after|before|at|in|on|for|with|every|as|while|until|by|from|during)\b")
_ECHOES = ("first", "then", "finally")  # not in a frame and in its point, too
_TO_READER = {"I am": "you are", "I": "you", "my": "your", "me": "you", "mine": "yours", "myself": "yourself"}


def load_topics(folder: str | Path) -> list[dict[str, Any]]:
    """Read every topic of the `*.jsonl` files of `folder`, in the order of file name and line; see `read_lines`."""
    return [topic for path in sorted(Path(folder).glob("*.jsonl")) for topic in read_lines(path)]


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Read the JSON objects of one file, one a line.

    Raises ValueError, naming file and line, for a line that is not a JSON object.
    """
    found: list[dict[str, Any]] = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"{path.name}, line {number}: not JSON ({error.msg})") from error
        if not isinstance(value, dict):
            raise ValueError(f"{path.name}, line {number}: not a JSON object")
        found.append(value)
    return found


def compose(topic: dict[str, Any], voice: Voice, rng: random.Random) -> str:
    """Tell `topic` in `voice`, with every choice drawn from `rng`.

    Returns the text. Wherever one of ATTEMPTS drafts allows it, its length in words lies within `voice.words` and no four
    words stand in it twice; otherwise the draft nearest to that length.
    Raises KeyError if the topic lacks a key of the topics' format.
    """
    draw = rng.random()
    for field, rate in voice.whole.items():
        if draw < rate and topic.get(field) and not repeats_itself(topic[field]):
            return topic[field]
        draw -= rate
    low, high = voice.words
    best, best_miss = "", None
    for _ in range(ATTEMPTS):
        text = _draft(topic, voice, rng)
        count = len(text.split())
        miss = max(low - count, count - high, 0) + (A_REPEAT if repeats_itself(text) else 0)
        if best_miss is None or miss < best_miss:
            best, best_miss = text, miss
        if miss == 0:
            break
    return best


def repeats_itself(text: str, length: int = 4) -> bool:
    """Whether any `length` words in a row stand in the text twice, whatever their case and punctuation."""
    words = re.findall(r"[\w']+", text.lower())
    runs = [tuple(words[i : i + length]) for i in range(len(words) - length + 1)]
    return len(set(runs)) < len(runs)


def _draft(topic: dict[str, Any], voice: Voice, rng: random.Random) -> str:
    """Write one answer, whatever its length."""
    kind = topic["kind"]
    frames = voice.do if kind == "how" else voice.say
    wanted = min(rng.randint(*voice.points), len(topic["points"]))
    points = [_swap(topic["points"][i], voice.swaps) for i in _choose(len(topic["points"]), wanted, kind, rng)]
    slots = _slots(topic, voice.swaps)
    parts: list[str] = []
    used: set[str] = set()
    told = 0

    def add(choices: list[str], **more: str) -> None:
        nonlocal told
        left = wanted - told
        fresh = [c for c in choices if (c not in used or len(choices) == 1) and c.count("{point}") <= left]
        for word in _ECHOES:
            if left and word in points[told].split():
                fresh = [c for c in fresh if word not in c.lower()] or fresh
        if kind == "how" and left and _NO_VERB.match(points[told]):
            fresh = [c for c in fresh if not _VERB_FRAME.search(c)]
        if not fresh:
            told += left  # no frame fits the points that are left: they stay untold
            return
        frame = rng.choice(fresh)
        used.add(frame)
        parts.append(_render(frame, {**slots, **more, "n": str(told + 1)}, iter(points[told:])))
        told += frame.count("{point}")

    openers = voice.openers.get("any", []) + voice.openers.get(kind, [])
    if openers and rng.random() < voice.opener_rate:
        add(openers)
    while told < wanted:
        place = "first" if told == 0 else "last" if told == wanted - 1 else "next"
        own = frames.get(place, [])
        add(own if place == "first" and own else own + frames["next"] if place == "last" else frames["next"])
    extras = [name for name, (rate, _) in voice.extras.items() if rng.random() < rate and topic.get(name)]
    rng.shuffle(extras)
    for name in extras[:MOST_EXTRAS]:
        add(voice.extras[name][1], **{name: _swap(topic[name].rstrip("."), voice.swaps)})
    if voice.closers and rng.random() < voice.closer_rate:
        add(voice.closers)
    return ("\n" if voice.form in ("list", "lines") else " ").join(parts)


def fill(frame: str, topic: dict[str, Any], voice: Voice) -> str:
    """Fill one frame without points (a remark, an opener) with the words of `topic`, as `voice` says them."""
    extras = {name: _swap(topic[name].rstrip("."), voice.swaps) for name in EXTRAS if topic.get(name)}
    return _render(frame, {**_slots(topic, voice.swaps), **extras}, iter(()))


def _choose(count: int, wanted: int, kind: str, rng: random.Random) -> list[int]:
    """Draw which points to tell, in their order; a "how" begins with its first or second point."""
    if kind != "how":
        return sorted(rng.sample(range(count), wanted))
    start = rng.randrange(2) if count > wanted else 0
    return [start, *sorted(rng.sample(range(start + 1, count), wanted - 1))]


def _slots(topic: dict[str, Any], swaps: dict[str, str]) -> dict[str, str]:
    """Return what the common slots stand for in this topic."""
    many = bool(topic["plural"])
    words = {
        "is": ("is", "are"),
        "has": ("has", "have"),
        "does": ("does", "do"),
        "s": ("s", ""),
        "it": ("it", "they"),
        "them": ("it", "them"),
    }
    slots = {name: pair[many] for name, pair in words.items()}
    slots["subject"] = _swap(_swap(topic["subject"], _TO_READER), swaps)
    slots["name"] = re.sub(r"^(a|an|the|your) ", "", slots["subject"])
    slots["wish"] = _swap(_swap(topic["wish"], _TO_READER), swaps)
    return slots


def _render(frame: str, slots: dict[str, str], points: Iterator[str]) -> str:
    """Fill the slots of `frame`, with a capital where the slot begins a sentence or a line."""

    def fill(match: re.Match[str]) -> str:
        text = next(points) if match[1] == "point" else slots[match[1]]
        return _capital(text) if _SENTENCE_START.search(frame[: match.start()]) else text

    text = SLOT.sub(fill, frame).replace(" / ", "\n")
    text = re.sub(r"\b(to|shall|should|must|will|may|can|could|might) do not\b", r"\1 not", text)
    return re.sub(r"\.(?=[.!?,;:])", "", text)  # "9 a.m." before the frame's own punctuation


def _capital(text: str) -> str:
    """Capitalise the first letter, unless it begins a name such as "iPhone"."""
    return text if text[1:2].isupper() else text[:1].upper() + text[1:]


def _swap(text: str, swaps: dict[str, str]) -> str:
    """Exchange whole words of the content by the voice's own, and mend "a" and "an" before them."""
    for old, new in swaps.items():

        def exchange(match: re.Match[str], old: str = old, new: str = new) -> str:
            article = match[1] or ""
            if article:
                article = article[0] + ("n " if new[0] in "aeiou" else " ")
            return article + (_capital(new) if match[2][0].isupper() and old[0].islower() else new)

        text = re.sub(rf"(?<![\w'-])([Aa]n? )?((?i:{re.escape(old)}))(?![\w'-])", exchange, text)
    return text
