"""The proof's part on what needs a version: soups of two styles, ExPO on both sides of a half-trained one, PAD; and best of n beside it.

The versions are learnt as a person would have them learnt, by 20 consistent choices of `learning`; answers are the plain arm's but for the
last two. Beside the soup of two given styles stands the one that shows both in one answer most often, as `proof_soups` found it.
"""

import os
import shutil
from itertools import islice
from pathlib import Path
from typing import Any

from app.evaluation.scoring import starter_fluency
from app.insights import share
from app.refresh.trainer import RefreshSettings
from app.services import Services, build
from app.settings import Settings
from tests.benchmarks.learning import CHOICES, choose, known_topics, preference
from tests.benchmarks.proof_run import cases_of, evaluated, gain, kept
from tests.benchmarks.proof_several import shows
from tests.benchmarks.proof_soups import Soup, half, search

ONE, OTHER = "pirate", "cheerleader"
# Of which soups are searched; no rule of theirs fits an answer in another's manner.
STYLES = (ONE, OTHER, "curt", "lister")
JUDGES = ("--judges", "markers", "fluency", "implicit")
FULL, HALF = RefreshSettings(), RefreshSettings(epochs=2)
SHARES = ("0.25", "0.5", "0.75")
FEW, PROMPTED = 25, "principle_prompted"
STEPS = ("0", "0.5", "1", "1.5", "2", "2.5", "3")


def measure(work: Path, limit: int) -> dict[str, Any]:
    """Learns two versions of every style, one half-trained, then measures their mixtures.

    Args:
        work: for the evaluations.
        limit: how many of the own prompts are answered.
    """
    versions = learnt()
    one, other, half_trained = versions[ONE], versions[OTHER], versions[half(ONE)]
    soups = [f"{one}*{1 - float(part):g}+{other}*{part}" for part in SHARES]
    mixtures = [one, other, *soups, f"{one}+{other}"]
    common = ("--limit", str(limit), "--personas", f"{ONE},{OTHER}", *JUDGES)
    arms = ["baseline", *(f"baseline @ {mixture}" for mixture in mixtures)]
    soup = evaluated(work / "soup", *common, "--arms", *arms)
    past = ["baseline", *(f"baseline @ {half_trained}*{step}" for step in STEPS if step != "0")]
    expo = evaluated(work / "expo", *common, "--arms", *past)
    guided, best = f"adapter_guided @ {one}", "best_of_n count=4"
    few = ("--limit", str(min(limit, FEW)), "--personas", ONE, *JUDGES)
    told = evaluated(
        work / "further", *few, "--arms", "baseline", PROMPTED, guided, best, "--against", "baseline", PROMPTED
    )
    names = [figures["name"] for figures in told["figures"]]
    return {
        "versions": versions,
        "styles": [ONE, OTHER],
        "soup": soup | {"markers": markers(work / "soup", (ONE, OTHER))},
        "both": both(work, versions, min(limit, FEW)),
        "expo": expo | {"markers": markers(work / "expo", (ONE, OTHER))},
        "further": told
        | {
            "guided minus baseline": gain(told, "markers", names[2], "baseline"),
            "best minus prompted": gain(told, "implicit", names[3], PROMPTED),
        },
    }


def both(work: Path, versions: dict[str, str], limit: int) -> dict[str, Any]:
    """The soup that shows both of its styles in one answer most often, and its parts beside it.

    Args:
        work: as above.
        versions: as `learnt` tells them.
        limit: how many prompts, from the first on; the search asks others.
    """
    soups = kept(work / "soups.json", lambda: search(build(Settings()), STYLES, versions, starter_fluency()))
    best = Soup(tuple(soups[0]["styles"]), tuple(soups[0]["weights"]), soups[0]["half_trained"])
    mixtures = [*best.parts(versions), best.mixture(versions)]
    arms = ["baseline", *(f"baseline @ {mixture}" for mixture in mixtures)]
    told = ("--personas", ",".join(best.styles), *JUDGES)
    found = evaluated(work / "both", "--limit", str(limit), *told, "--arms", *arms)
    about = {"styles": list(best.styles), "mixture": best.mixture(versions), "searched": soups}
    return found | about | {"markers": markers(work / "both", best.styles)}


def learnt() -> dict[str, str]:
    """The versions by what they are: one of each style, and one half-trained. They lie in the data folder, which the parts share, and
    the list of them beside it."""
    return kept(Path(os.environ["PLUMBLINE_DATA"]).with_suffix(".json"), _learnt)


def _learnt() -> dict[str, str]:
    data = Path(os.environ["PLUMBLINE_DATA"])
    shutil.rmtree(data, ignore_errors=True)  # choices that a killed run left there would be learnt from, too
    services = build(Settings(data=data))
    topics = known_topics(0)
    for style in STYLES:
        for round_id, _, _, side in islice(choose(services, style, topics, preference(style)), CHOICES):
            services.label.vote(round_id, side, "simulated")
    fully = {style: refreshed(services, style, FULL) for style in STYLES}
    return fully | {half(style): refreshed(services, style, HALF) for style in STYLES}


def refreshed(services: Services, style: str, settings: RefreshSettings) -> str:
    """The version that a refresh on the choices for a style makes."""
    *_, outcome = services.learn.refresh(services.learn.pairs(style), style, settings)
    return outcome.version


def markers(folder: Path, styles: tuple[str, str]) -> dict[str, dict[str, Any]]:
    """By arm, the share of prompts answered in each style, in both, and well."""
    cases = [case for case in cases_of(folder) if case["persona"] == styles[0]]
    found = {}
    for arm in cases[0]["answers"]:
        answers = [case["answers"][arm] for case in cases]
        flags = {style: [float(shows(answer["text"], style)) for answer in answers] for style in styles}
        flags["both"] = [min(pair) for pair in zip(*flags.values(), strict=True)]
        flags["fluent"] = [answer["scores"]["fluent"] for answer in answers]
        found[arm] = {name: share(sum(values), len(values)).__dict__ for name, values in flags.items()}
    return found
