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
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

FORMS = ("prose", "list", "lines")
EXTRAS = ("because", "risk", "cheap", "green", "bold", "like", "expert", "short")
COMMON_SLOTS = {"subject", "name", "is", "has", "does", "s", "it", "them"}
OPENER_KINDS = {"any": set(), "how": {"wish", "point"}, "fact": {"wish", "point"}}
PLACES = ("first", "next", "last")
KEYS = {
    "id",
    "form",
    "points",
    "words",
    "openers",
    "do",
    "say",
    "closers",
    "extras",
    "swaps",
    "whole",
    "markers",
    "check",
    "opener_rate",
    "closer_rate",
}
ATTEMPTS = 60
MOST_EXTRAS = 2

_SLOT = re.compile(r"\{(\w*)\}")
_SENTENCE_START = re.compile(r"""(^|[.!?]["')]? | / )["'(]?$|^- $""")
_VERB_FRAME = re.compile(r"\b(to|shall|should|must|will|may|can|could|might|just|be) \{point\}")
_NO_VERB = re.compile(r"(if|when|once|after|before|at|in|on|for|with|every|as|while|until|by|from|during)\b")
_ECHOES = ("first", "then", "finally")  # not in a frame and in its point, too
_TO_READER = {"I am": "you are", "I": "you", "my": "your", "me": "you", "mine": "yours", "myself": "yourself"}


@dataclass(frozen=True)
class Voice:
    """One way of speaking, as read from its YAML file."""

    id: str
    form: str
    points: tuple[int, int]
    words: tuple[int, int]
    openers: dict[str, list[str]]
    do: dict[str, list[str]]
    say: dict[str, list[str]]
    closers: list[str]
    extras: dict[str, tuple[float, list[str]]]
    swaps: dict[str, str]
    whole: dict[str, float]
    markers: list[str]
    check: str | None
    opener_rate: float
    closer_rate: float


def load_topics(folder: str | Path) -> list[dict[str, Any]]:
    """Read every topic of the `*.jsonl` files of `folder`, in the order of file name and line.

    Raises ValueError, naming file and line, for a line that is not a JSON object.
    """
    topics: list[dict[str, Any]] = []
    for path in sorted(Path(folder).glob("*.jsonl")):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if not line.strip():
                continue
            try:
                topic = json.loads(line)
            except json.JSONDecodeError as error:
                raise ValueError(f"{path.name}, line {number}: not JSON ({error.msg})") from error
            if not isinstance(topic, dict):
                raise ValueError(f"{path.name}, line {number}: not a JSON object")
            topics.append(topic)
    return topics


def load_voices(folder: str | Path) -> dict[str, Voice]:
    """Read every voice (`*.yaml`) of `folder`, by its id.

    Raises ValueError, naming file and key, for an unknown or missing key or a bad value.
    """
    return {path.stem: _load_voice(path) for path in sorted(Path(folder).glob("*.yaml"))}


def markers(voice: Voice) -> list[str]:
    """Return the regular expressions of which nearly every answer of `voice` matches one."""
    return list(voice.markers)


def compose(topic: dict[str, Any], voice: Voice, rng: random.Random) -> str:
    """Tell `topic` in `voice`, with every choice drawn from `rng`.

    Returns the text; its length in words lies within `voice.words` wherever one of
    ATTEMPTS drafts does, and is the nearest draft otherwise.
    Raises KeyError if the topic lacks a key of the topics' format.
    """
    draw = rng.random()
    for field, rate in voice.whole.items():
        if draw < rate and topic.get(field):
            return topic[field]
        draw -= rate
    low, high = voice.words
    best, best_miss = "", None
    for _ in range(ATTEMPTS):
        text = _draft(topic, voice, rng)
        count = len(text.split())
        miss = max(low - count, count - high, 0)
        if best_miss is None or miss < best_miss:
            best, best_miss = text, miss
        if miss == 0:
            break
    return best


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

    text = _SLOT.sub(fill, frame).replace(" / ", "\n")
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


def _load_voice(path: Path) -> Voice:
    """Read and check one voice file."""

    def fail(key: str, what: str) -> ValueError:
        return ValueError(f"{path.name}: {key}: {what}")

    def lines(key: str, value: Any, slots: set[str]) -> list[str]:
        if not isinstance(value, str):
            raise fail(key, "must be a block of text, one frame a line")
        found = [line.strip() for line in value.splitlines() if line.strip()]
        for line in found:
            if unknown := set(_SLOT.findall(line)) - slots:
                raise fail(key, f"unknown slot {{{unknown.pop()}}} in {line!r}")
        if len(set(found)) < len(found):
            raise fail(key, f"frame given twice: {max(found, key=found.count)!r}")
        return found

    def table(key: str, value: Any, allowed: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise fail(key, "must be a mapping")
        for name in value:
            if allowed is not None and name not in allowed:
                raise fail(f"{key}.{name}", "unknown key")
        return value

    def pair(key: str) -> tuple[int, int]:
        value = data[key]
        if not (
            isinstance(value, list)
            and len(value) == 2
            and all(type(v) is int for v in value)
            and 0 < value[0] <= value[1]
        ):
            raise fail(key, "must be two whole numbers, the lower one first")
        return value[0], value[1]

    def rate(key: str, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
            raise fail(key, "must be a number from 0 to 1")
        return float(value)

    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path.name}: not YAML ({error})") from error
    if not isinstance(data, dict):
        raise ValueError(f"{path.name}: must be a mapping")
    for key in data:
        if key not in KEYS:
            raise fail(key, "unknown key")
    for key in ("id", "form", "points", "words", "do", "say"):
        if key not in data:
            raise fail(key, "missing")
    if data["id"] != path.stem:
        raise fail("id", f"must be {path.stem!r}, as the file is named")
    if data["form"] not in FORMS:
        raise fail("form", f"must be one of {', '.join(FORMS)}")
    told = COMMON_SLOTS | {"wish", "point", "n"}
    openers = {
        kind: lines(f"openers.{kind}", block, COMMON_SLOTS | OPENER_KINDS[kind] | {"n"})
        for kind, block in table("openers", data.get("openers", {}), OPENER_KINDS).items()
    }
    frames = {
        key: {place: lines(f"{key}.{place}", block, told) for place, block in table(key, data[key], PLACES).items()}
        for key in ("do", "say")
    }
    for key, places in frames.items():
        if not places.get("next"):
            raise fail(f"{key}.next", "missing")
    extras: dict[str, tuple[float, list[str]]] = {}
    for name, entry in table("extras", data.get("extras", {}), EXTRAS).items():
        entry = table(f"extras.{name}", entry, ("rate", "frames"))
        extras[name] = (
            rate(f"extras.{name}.rate", entry.get("rate")),
            lines(f"extras.{name}.frames", entry.get("frames"), COMMON_SLOTS | {name}),
        )
    check = data.get("check")
    if check is not None and not re.fullmatch(r"dashes|lines|max_words: \d+", str(check)):
        raise fail("check", "must be dashes, lines or max_words: N")
    swaps = table("swaps", data.get("swaps", {}), None)
    whole = table("whole", data.get("whole", {}), ("plain", "short"))
    found = data.get("markers", [])
    if not isinstance(found, list) or not all(isinstance(m, str) for m in found):
        raise fail("markers", "must be a list of regular expressions")
    for marker in found:
        try:
            re.compile(marker)
        except re.error as error:
            raise fail("markers", f"{marker!r} is no regular expression ({error})") from error
    return Voice(
        id=data["id"],
        form=data["form"],
        points=pair("points"),
        words=pair("words"),
        openers=openers,
        do=frames["do"],
        say=frames["say"],
        closers=lines("closers", data.get("closers", ""), COMMON_SLOTS),
        extras=extras,
        swaps={str(k): str(v) for k, v in swaps.items()},
        whole={k: rate(f"whole.{k}", v) for k, v in whole.items()},
        markers=found,
        check=check,
        opener_rate=rate("opener_rate", data.get("opener_rate", 1.0)),
        closer_rate=rate("closer_rate", data.get("closer_rate", 0.6)),
    )
