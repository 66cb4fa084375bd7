"""Reads the voices of the starter's corpus (one YAML file a voice), checks them, and blends two of them into one.

It knows the format of a voice; it knows no topics and composes nothing (see `compose`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml

FORMS = ("prose", "list", "lines")
EXTRAS = ("because", "risk", "cheap", "green", "bold", "like", "expert", "short")
COMMON_SLOTS = {"subject", "name", "is", "has", "does", "s", "it", "them"}
OPENER_KINDS = {"any": set(), "how": {"wish", "point"}, "fact": {"wish", "point"}}
PLACES = ("first", "next", "last")
REQUIRED = ("id", "form", "points", "words", "do", "say")
KEYS = {
    *REQUIRED, "openers", "closers", "extras", "swaps", "whole", "markers", "check", "opener_rate", "closer_rate",
}  # fmt: skip
SLOT = re.compile(r"\{(\w*)\}")


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


def load_voices(folder: str | Path) -> dict[str, Voice]:
    """Read every voice (`*.yaml`) of `folder`, by its id.

    Raises ValueError, naming file and key, for an unknown or missing key or a bad value.
    """
    return {path.stem: _load_voice(path) for path in sorted(Path(folder).glob("*.yaml"))}


def blend(voice: Voice, other: Voice) -> Voice:
    """One voice made of two: a curt pirate, a list-making detective, a nervous grandmother.

    Args:
        voice: a prose voice, which gives the words.
        other: "curt" makes it short, "lister" makes it a list; any other prose voice shares the frames half and half.

    Returns:
        A voice named "first+second", without markers of its own: those of both apply.
    """
    both = {"id": f"{voice.id}+{other.id}", "markers": [], "check": None, "whole": {}}
    if other.check and other.check.startswith("max_words"):
        return replace(voice, **both, points=(1, 1), words=(5, 20), extras={}, opener_rate=0.4, closer_rate=0.9)
    if other.form == "list":
        items = {"next": ["- {point}"]}
        return replace(voice, **both, form="list", points=other.points, words=(18, 60), extras={}, do=items, say=items)
    frames = {
        key: {place: _union(getattr(voice, key), getattr(other, key), place) for place in PLACES}
        for key in ("do", "say")
    }
    return replace(
        voice,
        **both,
        **frames,
        closers=other.closers,
        closer_rate=1.0,
        extras={**voice.extras, **other.extras},
        swaps={**other.swaps, **voice.swaps},
    )


def _union(first: dict[str, list[str]], second: dict[str, list[str]], place: str) -> list[str]:
    return [*first.get(place, []), *(frame for frame in second.get(place, []) if frame not in first.get(place, []))]


def _load_voice(path: Path) -> Voice:
    """Read and check one voice file."""

    def fail(key: str, what: str) -> ValueError:
        return ValueError(f"{path.name}: {key}: {what}")

    def lines(key: str, value: Any, slots: set[str]) -> list[str]:
        if not isinstance(value, str):
            raise fail(key, "must be a block of text, one frame a line")
        found = [line.strip() for line in value.splitlines() if line.strip()]
        for line in found:
            if unknown := set(SLOT.findall(line)) - slots:
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
    for key in REQUIRED:
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
