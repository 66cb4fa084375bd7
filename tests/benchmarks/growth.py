"""`python -m tests.benchmarks.growth`: how cost grows with rows, context, answer, pairs, votes and personas, and what bounds it.

Parts: `engine` (rows, context, answer), `refresh` (pairs), `storage` (votes, personas). Each writes one small plot beside the JSON, and
under every panel stands what bounds the cost at its smallest and at its largest size, as shares of limits measured in the same run.
"""

import argparse
import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from textwrap import wrap
from typing import Any

import torch

from tests.benchmarks import growth_model, growth_storage, shapes
from tests.benchmarks.limits import measure_limits
from tests.benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results"
LIMITS = ("bandwidth", "compute", "python")
LETTERS = 75  # of a line under a panel

Points = list[dict[str, Any]]


def exponent(points: Points, size: str, cost: str) -> float:
    """By which power the cost grows between the smallest and the largest size: 0 is not at all, 1 in proportion."""
    first, last = points[0], points[-1]
    return math.log(last[cost] / first[cost]) / math.log(last[size] / first[size])


def bounds(size: str, point: dict[str, Any]) -> list[str]:
    """What bounds the costs of one point, a line each: the shares of the machine's limits, the nearest first; of the store's calls,
    how much of the time the processor worked. No lines where nothing of the kind was measured."""
    lines = []
    for prefix in (key.removesuffix("bound") for key in point if key.endswith("bound")):
        found = {name: point[prefix + name] for name in LIMITS if prefix + name in point}
        nearest = sorted(found, key=found.get, reverse=True)
        what = f", {prefix.removesuffix('_')}" if prefix else ""
        lines.append(f"{size} {point[size]:,}{what}: " + ", ".join(f"{name} {found[name]:.0%}" for name in nearest))
    calls = {key.removesuffix("_cpu").replace("_", " "): value for key, value in point.items() if key.endswith("_cpu")}
    if calls:
        told = ", ".join(f"{name} {value:.0%}" for name, value in calls.items())
        lines.append(f"{size} {point[size]:,}, processor busy: {told}")
    return lines


def plot(axes: dict[str, Points], title: str, path: Path) -> None:
    """One small picture: a panel an axis, seconds over size, both in logarithms, with the `bounds` of its ends below."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(axes), figsize=(5 * len(axes), 4), layout="constrained", squeeze=False)
    for (size, points), panel in zip(axes.items(), panels[0], strict=True):
        for cost in (key for key in points[0] if key.endswith("_seconds") and not key.startswith("python")):
            name = cost.removesuffix("_seconds").replace("_", " ")
            panel.loglog([p[size] for p in points], [p[cost] for p in points], "o-", label=name)
        low, high = panel.get_ylim()
        panel.set_ylim(low / 3, high * 3)  # what hardly grows is to look like it
        panel.set_xticks([p[size] for p in points], [f"{p[size]:,}" for p in points])
        panel.minorticks_off()
        lines = [line for point in _ends(points) for line in bounds(size, point)]
        panel.set_xlabel("\n".join([size, *(wrapped for line in lines for wrapped in wrap(line, LETTERS))]), fontsize=7)
        panel.set_ylabel("seconds")
        panel.legend(fontsize=7)
        panel.grid(visible=True, alpha=0.3)
    figure.suptitle(title, fontsize=9)
    figure.savefig(path, dpi=80)
    pyplot.close(figure)


def main() -> None:
    """Measures the chosen parts, prints a table an axis, writes `growth-*.json` and `growth-*.png`."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.growth", description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=shapes.NAMES, default="starter")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--parts", default="engine,refresh,storage", help="comma-separated")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sizes", type=int, help="only so many of the smallest sizes of every axis, for a quick look")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder of the JSON and the plots")
    options = parser.parse_args()
    dtype, sizes = getattr(torch, options.dtype), options.sizes
    for part in options.parts.split(","):
        about: dict[str, Any] = {"machine": machine(), "repeats": options.repeats}
        if part == "storage":
            with tempfile.TemporaryDirectory() as folder:
                axes = growth_storage.measure(Path(folder), options.repeats, sizes)
            name = part
        else:
            model, limits = shapes.load(options.model, dtype, options.device), measure_limits(dtype, options.device)
            axes = {"engine": growth_model.engine, "refresh": growth_model.refresh}[part](
                model, limits, options.repeats, sizes
            )
            name = f"{part}-{options.model}-{options.dtype}"
            about |= {"model": options.model, "dtype": options.dtype, "limits": asdict(limits)}
        grows = {
            size: {cost: exponent(points, size, cost) for cost in points[0] if cost.endswith("seconds")}
            for size, points in axes.items()
            if len(points) > 1
        }
        bounded = {size: [bounds(size, point) for point in _ends(points)] for size, points in axes.items()}
        (options.out / f"growth-{name}.json").write_text(
            json.dumps({**about, "axes": axes, "exponents": grows, "bounds": bounded}, indent=1) + "\n"
        )
        plot(axes, f"{name}, {about['machine']['processor']}, {about['machine']['cores']} cores", options.out / f"growth-{name}.png")  # fmt: skip
        _print(name, about, axes, grows)


def _ends(points: Points) -> Points:
    return points if len(points) == 1 else [points[0], points[-1]]


def _print(name: str, about: dict[str, Any], axes: dict[str, Points], grows: dict[str, dict[str, float]]) -> None:
    print(name, *(f"{key} {value}" for key, value in about.items()), sep="\n  ")
    for size, points in axes.items():
        print(*(f"{key:>22}" for key in points[0]))
        for point in points:
            print(
                *(f"{value:>22,.5g}" if isinstance(value, int | float) else f"{value:>22}" for value in point.values())
            )
        for point in _ends(points):
            print(*bounds(size, point), sep="\n")
        print(f"{size}: cost grows by the power of", {k: round(v, 2) for k, v in grows.get(size, {}).items()})


if __name__ == "__main__":
    main()
