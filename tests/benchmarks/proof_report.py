"""The proof's JSON as Markdown tables for the README, so that no figure is typed by hand. It reads files and measures nothing."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.proof_methods import ONLY_ASKED
from tests.benchmarks.proof_online import WAYS
from tests.benchmarks.proof_soups import SOUND
from tests.benchmarks.proof_table import methods_table

Found = dict[str, Any]
SCORES = ("classifier", "markers", "implicit", "fluent")


def report(folder: Path) -> str:
    """Every part that was measured as text and tables; of the others, how to measure them.

    Args:
        folder: where `proof-PART.json` lie.
    """
    measured = {
        part: json.loads(file.read_text(encoding="utf-8"))
        for part in SECTIONS
        if (file := folder / f"proof-{part}.json").exists()
    }
    said = []
    for part, section in SECTIONS.items():
        if part in measured:
            said += [f"**{part}** ({where(measured[part])})", *section(measured[part])]
        else:
            said.append(f"**{part}**: not measured (`python -m tests.benchmarks.proof --work FOLDER --parts {part}`).")
    return "\n\n".join([*said, "**every method**", *methods_table(measured)])


def where(found: Found) -> str:
    """On what a part was measured."""
    machine = found["machine"]
    revision = found.get("revision") or found["plan"]["revision"]
    return f"starter {revision}, limit {found['limit']}, {machine['cores']} cores of which torch uses {machine['torch_threads']}"


def strength(found: Found) -> Iterable[str]:
    """All arms, the steps between them, where fluency breaks, and Amulet beside linear alignment."""
    (asked,) = (one for one in found["figures"] if one["name"] == "principle_prompted")
    yield table(
        ["arm", *SCORES, "n", "words", "forwards, times the asked arm's"],
        [
            [
                *(one["name"], *(shown(one["scores"][score]) for score in SCORES), one["scores"]["fluent"]["n"]),
                *(f"{one['words']:.1f}", f"{one['forwards'] / asked['forwards']:.2f}"),
            ]
            for one in found["figures"]
        ],
    )
    steps = found["order"]
    yield table(
        ["step", *steps, "n"],
        [
            [step, *(difference(column[step]) for column in steps.values()), next(iter(steps.values()))[step]["n"]]
            for step in next(iter(steps.values()))
        ],
    )
    for name, broken in found["fluency breaks"].items():
        if broken["fluent minus prompted"]:
            yield f"Fluency breaks, {name}: {broken['first'] or 'nowhere on ' + ', '.join(broken['fluent minus prompted'])}."
    yield table(
        ["Amulet", "at equal", "linear alignment", "fidelity by", "difference", "fluent, difference", "forwards"],
        [
            [
                *(one["arm"]["name"], one["equal"], one["linear"]["name"], one["by"]),
                *(difference(one[f"{one['by']} gain"]), difference(one["fluent gain"])),
                f"{one['arm']['forwards of prompted']:.2f} against {one['linear']['forwards of prompted']:.2f}",
            ]
            for one in found["amulet"]
        ],
    )


def several(found: Found) -> Iterable[str]:
    """Every way of asking over all pairs, the answers that show both by pair, and the steps between ways."""
    columns = ("first", "second", "both", "both, fluent", "fluent", "well_formed", "implicit second", "words")
    ways = found["ways"]
    yield table(
        ["way", *columns, "n"],
        [[name, *(shown(of[column]) for column in columns), of["both"]["n"]] for name, of in ways.items()],
    )
    pairs = ["+".join(pair) for pair in found["pairs"]]
    yield "Both in one answer, by pair:"
    yield table(
        ["way", *pairs, "n of each"],
        [
            [name, *(shown(of["by pair"][pair]["both"]) for pair in pairs), of["by pair"][pairs[0]]["both"]["n"]]
            for name, of in ways.items()
        ],
    )
    yield table(
        ["step", "of", "difference", "n"],
        [
            [step, column, difference(of), of["n"]]
            for step, columns in found["steps"].items()
            for column, of in columns.items()
        ],
    )


def cost(found: Found) -> Iterable[str]:
    """Seconds and forwards of answers of one length, and what is paid once."""
    yield table(
        ["arm", "seconds, times the asked arm's: median (range)", "forwards an answer"],
        [[name, spread(one["seconds of prompted"]), one["forwards an answer"]] for name, one in found["arms"].items()],
    )
    for mixture, seconds in found["seconds to mix"].items():
        yield f"Making {mixture} takes {median(seconds):.3f} s, once."


def online(found: Found) -> Iterable[str]:
    """For everything that the judge was told, the curve of the loop beside that of as many labels without it."""
    for told, persona in found["told"].items():
        curves = [found["curves"][f"{told}, {way}"] for way in ("online", "offline")]
        yield f"The judge is told to prefer *{told}* ({persona}):"
        yield table(
            ["labels", *(f"{what}, {way}" for what in ("follow", "words", "well formed", "seconds") for way in WAYS)],
            [
                [
                    points[0]["labels"],
                    *(shown(point[key]) for key in (told, "words", "well_formed") for point in points),
                    *(f"{point['seconds']:.0f}" for point in points),
                ]
                for points in zip(*curves, strict=True)
            ],
        )
        ahead = found["online minus offline"][told]
        yield f"At the end, online minus offline on the same prompts: {difference(ahead)} (n = {ahead['n']})."


def steered(found: Found) -> Iterable[str]:
    """For everything that the rule prefers, the curve of the loop beside that of as many labels without it."""
    for told, ahead in found["online minus offline"].items():
        curves = [found["curves"][f"{told}, {way}"] for way in WAYS]
        yield f"The rule prefers *{told}*:"
        yield table(
            ["labels", *(f"{what}, {way}" for what in ("degree", "words", "well formed", "seconds") for way in WAYS)],
            [
                [
                    points[0]["labels"],
                    *(shown(point[key]) for key in ("degree", "words", "well_formed") for point in points),
                    *(f"{point['seconds']:.0f}" for point in points),
                ]
                for points in zip(*curves, strict=True)
            ],
        )
        low, high = ahead["interval"]
        yield f"At the end, online minus offline on the same prompts: {ahead['value']:+.1f} [{low:+.1f}, {high:+.1f}] (n = {ahead['n']})."


def blends(found: Found) -> Iterable[str]:
    """Soups, ExPO, and the arms that need a version or many answers."""
    one, other = found["styles"]
    yield mixtures("soup", found["soup"]["markers"], (one, other, "both", "fluent"))
    both = found["both"]
    yield "The best soup of every two styles by the share of fluent answers in both, on other prompts:"
    yield table(
        ["styles", "weights", "trained", "in the first", "in the second", "both", SOUND, "n"],
        [
            [
                *(" + ".join(soup["styles"]), " + ".join(f"{weight:g}" for weight in soup["weights"])),
                "half" if soup["half_trained"] else "fully",
                *(shown(soup[column]) for column in (*(f"in {style}" for style in soup["styles"]), "both", SOUND)),
                soup["both"]["n"],
            ]
            for soup in best_of_each(both["searched"])
        ],
    )
    yield mixtures("the best of them", both["markers"], (*both["styles"], "both", "fluent"))
    yield mixtures("expo", found["expo"]["markers"], (one, other, "both", "fluent"))
    yield table(
        ["arm", "markers", "fluent", "implicit", "n", "forwards"],
        [
            [
                *(figures["name"], *(shown(figures["scores"][score]) for score in ("markers", "fluent", "implicit"))),
                *(figures["scores"]["fluent"]["n"], f"{figures['forwards']:.0f}"),
            ]
            for figures in found["further"]["figures"]
        ],
    )


def mixtures(head: str, markers: Found, columns: tuple[str, ...]) -> str:
    """What `proof_blends.markers` found, as a table."""
    return table(
        [head, *columns, "n"],
        [[arm, *(shown(of[column]) for column in columns), of["both"]["n"]] for arm, of in markers.items()],
    )


def best_of_each(soups: list[Found]) -> list[Found]:
    """Of soups in the order of their worth, the first of every two styles fully trained, and half-trained."""
    first: dict[tuple[Any, ...], Found] = {}
    for soup in soups:
        first.setdefault((*soup["styles"], soup["half_trained"]), soup)
    return list(first.values())


def methods(found: Found) -> Iterable[str]:
    """What the rows of the table of methods were measured on."""
    settings, before, asked = found["settings"], found["rows"]["before"], found["rows"][ONLY_ASKED]
    yield (
        f"Choices of the answer in the manner *{found['style']}*; online, {settings['steps']} steps of {settings['prompts_per_step']} prompts with "
        f"the implicit judge. Before learning {shown(before['style'])} of answers are in that manner and {shown(before['well_formed'])} "
        f"well formed (n = {before['style']['n']}); asked with the sentence of *ca*, and taught nothing, {shown(asked['style'])} are in it."
    )


SECTIONS: dict[str, Callable[[Found], Iterable[str]]] = {
    "strength": strength,
    "several": several,
    "cost": cost,
    "online": online,
    "steered": steered,
    "blends": blends,
    "methods": methods,
}


def table(heads: list[str], rows: list[list[Any]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def shown(found: Found) -> str:
    """A mean or a share with its interval."""
    low, high = found["interval"]
    return f"{number(found['value'])} [{number(low)}, {number(high)}]"


def difference(found: Found) -> str:
    """A paired difference with its interval, signed."""
    return f"{number(found['mean'], '+')} [{number(found['low'], '+')}, {number(found['high'], '+')}]"


def spread(values: list[float]) -> str:
    """A median with the range of its repeats."""
    return f"{median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def number(value: float | None, sign: str = "") -> str:
    """Two decimals, one from ten on; – where there is none."""
    return "–" if value is None else f"{value:{sign}.{2 if abs(value) < 10 else 1}f}"
