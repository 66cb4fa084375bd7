"""The proof's part on what needs a version: soups of two styles, ExPO on both sides of a half-trained one, PAD; and best of n beside it.

The versions are learnt as a person would have them learnt, by 20 consistent choices of `learning`; answers are the plain arm's but for the
last two.
"""

import os
import random
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from app.insights import share
from app.refresh.trainer import RefreshSettings
from app.services import Services, build
from app.settings import Settings
from app.starter import CORPUS_FOLDER
from app.starter.compose import load_topics
from app.starter.held_out import is_held_out
from tests.benchmarks.learning import CHOICES, choose, preference
from tests.benchmarks.proof_run import cases_of, evaluated, gain, kept

ONE, OTHER = "pirate", "cheerleader"
FULL, HALF = RefreshSettings(), RefreshSettings(epochs=2)
SHARES = ("0.25", "0.5", "0.75")
FEW, PROMPTED = 25, "principle_prompted"
STEPS = ("0", "0.5", "1", "1.5", "2", "2.5", "3")


def measure(work: Path, limit: int) -> dict[str, Any]:
    """Learns three versions, then measures their mixtures.

    Args:
        work: for the data folder and the evaluations.
        limit: how many of the own prompts are answered.
    """
    versions = learnt(work)
    one, other, half = versions["one"], versions["other"], versions["half"]
    soups = [f"{one}*{1 - float(part):g}+{other}*{part}" for part in SHARES]
    mixtures = [one, other, *soups, f"{one}+{other}"]
    common = ("--limit", str(limit), "--personas", f"{ONE},{OTHER}", "--judges", "markers", "fluency", "implicit")
    arms = ["baseline", *(f"baseline @ {mixture}" for mixture in mixtures)]
    soup = evaluated(work / "soup", *common, "--arms", *arms)
    past = ["baseline", *(f"baseline @ {half}*{step}" for step in STEPS if step != "0")]
    expo = evaluated(work / "expo", *common, "--arms", *past)
    guided, best = f"adapter_guided @ {one}", "best_of_n count=4"
    few = ("--limit", str(min(limit, FEW)), "--personas", ONE, "--judges", "markers", "fluency", "implicit")
    told = evaluated(
        work / "further", *few, "--arms", "baseline", PROMPTED, guided, best, "--against", "baseline", PROMPTED
    )
    names = [figures["name"] for figures in told["figures"]]
    return {
        "versions": versions,
        "styles": [ONE, OTHER],
        "soup": soup | {"markers": markers(work / "soup")},
        "expo": expo | {"markers": markers(work / "expo")},
        "further": told
        | {
            "guided minus baseline": gain(told, "markers", names[2], "baseline"),
            "best minus prompted": gain(told, "implicit", names[3], PROMPTED),
        },
    }


def learnt(work: Path) -> dict[str, str]:
    """The versions by what they are: two styles, and the first of them half-trained."""
    return kept(work / "versions.json", _learnt)


def _learnt() -> dict[str, str]:
    data = Path(os.environ["PLUMBLINE_DATA"])
    shutil.rmtree(data, ignore_errors=True)  # choices that a killed run left there would be learnt from, too
    services = build(Settings(data=data))
    topics = [t for t in load_topics(CORPUS_FOLDER / "topics") if not is_held_out("topic", t["prompts"][0])]
    random.Random(0).shuffle(topics)
    for style in (ONE, OTHER):
        for round_id, _, _, side in islice(choose(services, style, topics, preference(style)), CHOICES):
            services.label.vote(round_id, side, "simulated")
    return {
        "one": refreshed(services, ONE, FULL),
        "other": refreshed(services, OTHER, FULL),
        "half": refreshed(services, ONE, HALF),
    }


def refreshed(services: Services, style: str, settings: RefreshSettings) -> str:
    """The version that a refresh on the choices for a style makes."""
    *_, outcome = services.learn.refresh(services.learn.pairs(style), style, settings)
    return outcome.version


def markers(folder: Path) -> dict[str, dict[str, Any]]:
    """By arm, the share of prompts answered in each style, in both, and well."""
    cases, found = cases_of(folder), {}
    for arm in cases[0]["answers"]:
        flags: dict[str, list[float]] = {ONE: [], OTHER: [], "fluent": []}
        for case in cases:
            scores = case["answers"][arm]["scores"]
            flags[case["persona"]].append(scores["markers"])
            if case["persona"] == ONE:
                flags["fluent"].append(scores["fluent"])
        flags["both"] = [min(pair) for pair in zip(flags[ONE], flags[OTHER], strict=True)]
        found[arm] = {name: share(sum(values), len(values)).__dict__ for name, values in flags.items()}
    return found
