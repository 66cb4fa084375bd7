"""`python -m tests.benchmarks.proof`: what the methods are worth on the starter, each part by one command, kept as JSON.

strength: baseline < prompted < linearly aligned, over the ratio and under a KL budget; Amulet beside it, at equal cost and at equal
fidelity. several: two principles at once, and one with a negative weight. cost: the seconds of each arm. online: OAIF steered by what its judge is told, beside DPO on as many labels of the start's own answers; steered: the same with
a judge of matters of degree. methods: every
objective and every online loop on the same choices. blends: soups of two adapters, ExPO past a half-trained one, PAD and best of n. A part that was killed goes on
where it was, in the folder that it was given. `--report` measures nothing and prints what was measured as the tables of the README.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

from app.model import LanguageModel
from tests.benchmarks import proof_blends, proof_cost, proof_methods, proof_online, proof_several, proof_steered
from tests.benchmarks.machine import machine
from tests.benchmarks.proof_report import report
from tests.benchmarks.proof_run import cases_of, evaluated, gain, paired

RESULTS = Path(__file__).parent / "results"
PROMPTED = "principle_prompted"
RATIOS = ("0.5", "1", "2", "3", "5", "10", "20")
BUDGET = "0.5"
WHOLE = " top_p=1"  # every token is allowed
ALPHAS = ("0.25", "0.5", "1", "2")
ARMS = (
    "baseline",
    PROMPTED,
    f"linear_aligned ratio={','.join(RATIOS)}",
    f"linear_aligned kl_budget={BUDGET} ratio=5,20",
    "linear_aligned kl_budget=0.1,1 ratio=20",
    # Without the asked arm's nucleus, which keeps an answer fluent at every ratio.
    f"linear_aligned top_p=1 ratio={','.join(RATIOS)}",
    f"linear_aligned kl_budget={BUDGET} top_p=1 ratio=2,3,5,20",
    f"amulet amulet_alpha={','.join(ALPHAS)}",
)


def strength(work: Path, limit: int, arms: tuple[str, ...] = ARMS) -> dict[str, Any]:
    """The order of the arms, where fluency breaks with and without a budget, and Amulet against linear alignment.

    Args:
        work: a folder for the evaluation.
        limit: how many prompts, each under 12 principles.
        arms: as `python -m app evaluate` takes them; fewer of them for a test.
    """
    results = evaluated(work, "--limit", str(limit), "--arms", *arms, "--against", PROMPTED, "baseline")
    names, cases = [figures["name"] for figures in results["figures"]], cases_of(work)
    ratios = [name for name in names if name.startswith("linear_aligned ratio=") and not name.endswith(WHOLE)]
    budgets = [name for name in names if name.startswith(f"linear_aligned kl_budget={BUDGET} ")]
    whole = [name for name in names if name.startswith("linear_aligned ratio=") and name.endswith(WHOLE)]
    columns = ("markers", "classifier", "implicit")
    return results | {
        "order": {
            column: {
                "prompted minus baseline": gain(results, column, PROMPTED, "baseline"),
                **{f"{name} minus prompted": gain(results, column, name, PROMPTED) for name in [*ratios, *budgets]},
            }
            for column in columns
        },
        "fluency breaks": {
            "ratio alone": broken(results, ratios),
            f"ratio under a budget of {BUDGET}": broken(results, [one for one in budgets if not one.endswith(WHOLE)]),
            "ratio alone over the whole vocabulary": broken(results, whole),
            f"the same under a budget of {BUDGET}": broken(results, [one for one in budgets if one.endswith(WHOLE)]),
        },
        "amulet": [
            against_linear(results, cases, name, ratios, column, equal)
            for name in names
            if name.startswith("amulet")
            for column in columns
            for equal in ("fidelity", "cost")
        ],
    }


def broken(results: dict[str, Any], names: list[str]) -> dict[str, Any]:
    """The first of the arms whose share of fluent answers lies below the prompted arm's, its interval below 0; and every difference."""
    gains = {name: gain(results, "fluent", name, PROMPTED) for name in names}
    return {"first": next((name for name in names if gains[name]["high"] < 0), None), "fluent minus prompted": gains}


def against_linear(
    results: dict[str, Any], cases: list[dict[str, Any]], name: str, ratios: list[str], column: str, equal: str
) -> dict[str, Any]:
    """An arm beside the ratio whose fidelity, or whose cost in forwards an answer, is nearest to its own: fidelity, fluency, cost.

    Args:
        results, cases: of the evaluation.
        name, ratios: the arm, and those that it is held against.
        column: what counts as fidelity.
        equal: "fidelity" or "cost".
    """
    figures = {one["name"]: one for one in results["figures"]}

    def height(who: str) -> float:
        return figures[who]["scores"][column]["value"] if equal == "fidelity" else figures[who]["forwards"]

    near = min(ratios, key=lambda other: abs(height(other) - height(name)))
    sides = {}
    for side, who in (("arm", name), ("linear", near)):
        one = figures[who]
        sides[side] = {
            "name": who,
            column: one["scores"][column],
            "fluent": one["scores"]["fluent"],
            **{cost: one[cost] for cost in ("words", "forwards", "seconds")},
            **{f"{cost} of prompted": one[cost] / figures[PROMPTED][cost] for cost in ("forwards", "seconds")},
        }
    gains = {f"{what} gain": paired(cases, what, name, near) for what in (column, "fluent")}
    return {"by": column, "equal": equal, **sides, **gains}


PARTS = {
    "strength": strength,
    "several": proof_several.measure,
    "cost": proof_cost.measure,
    "online": proof_online.measure,
    "steered": proof_steered.measure,
    "methods": proof_methods.measure,
    "blends": proof_blends.measure,
}
WITH_ARMS = ("strength", "cost")  # parts that other arms can be given to


def measure(part: str, work: Path, limit: int, **arms: tuple[str, ...]) -> dict[str, Any]:
    """One part, with what it was measured on.

    Args:
        part: a key of `PARTS`.
        work: a folder, in which it goes on where it was killed; another starter begins anew.
        limit: see the parts.
        arms: `arms` of the part, where others than its own are wanted.
    """
    revision = LanguageModel.load("starter").revision
    folder = work / f"{part}-{limit}-{revision}"
    os.environ["PLUMBLINE_MODEL"], os.environ["PLUMBLINE_DATA"] = "starter", str(work / f"learnt-{revision}")
    about = {"part": part, "limit": limit, "revision": revision, "machine": machine()}
    return about | PARTS[part](folder, limit, **arms)


def main() -> None:
    """Runs the parts and keeps each beside the other results."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.proof", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS))
    parser.add_argument("--limit", type=int, default=100, help="prompts of the own set; default: all 100")
    parser.add_argument("--work", type=Path, metavar="FOLDER", help="for answers and adapters")
    parser.add_argument(
        "--report", action="store_true", help="print what was measured as Markdown, and measure nothing"
    )
    parser.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER")
    parser.add_argument("--arms", nargs="+", help=f"of the parts {' and '.join(WITH_ARMS)}, in place of their own")
    options = parser.parse_args()
    if options.report:
        print(report(options.results))
        return
    if options.work is None:
        parser.error("--work FOLDER is missing: where answers and adapters are kept, so that a killed run can go on")
    if options.limit < 2:
        parser.error(
            f"the limit is {options.limit}; it must be at least 2 prompts, since intervals are drawn over prompts"
        )
    if options.arms and not set(options.parts) <= set(WITH_ARMS):
        parser.error(f"--arms goes with --parts {' '.join(WITH_ARMS)}")
    arms = {"arms": tuple(options.arms)} if options.arms else {}
    for part in options.parts:
        found = measure(part, options.work, options.limit, **arms)
        file = options.results / f"proof-{part}.json"
        file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        print(f"{part}: {file}")


if __name__ == "__main__":
    main()
