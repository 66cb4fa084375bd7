"""`python -m tests.benchmarks.growth`: how cost grows with rows, context, answer, pairs, votes and personas, and what bounds it.

Parts: `engine` (rows, context, answer), `refresh` (pairs), `storage` (votes, personas). Each writes one plot beside the JSON.
"""

import argparse
import json
import math
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from tests.benchmarks import growth_model, growth_storage, shapes
from tests.benchmarks.limits import measure_limits
from tests.benchmarks.machine import machine

RESULTS = Path(__file__).parent / "results"

Points = list[dict[str, Any]]


def exponent(points: Points, size: str, cost: str) -> float:
    """By which power the cost grows between the smallest and the largest size: 0 is not at all, 1 in proportion."""
    first, last = points[0], points[-1]
    return math.log(last[cost] / first[cost]) / math.log(last[size] / first[size])


def plot(axes: dict[str, Points], title: str, path: Path) -> None:
    """One small picture: a panel an axis, seconds over size, both in logarithms."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, len(axes), figsize=(4 * len(axes), 3), layout="constrained", squeeze=False)
    for (size, points), panel in zip(axes.items(), panels[0], strict=True):
        for cost in (key for key in points[0] if key.endswith("_seconds") and not key.startswith("python")):
            name = cost.removesuffix("_seconds").replace("_", " ")
            panel.loglog([p[size] for p in points], [p[cost] for p in points], "o-", label=name)
        low, high = panel.get_ylim()
        panel.set_ylim(low / 3, high * 3)  # what hardly grows is to look like it
        panel.set_xticks([p[size] for p in points], [f"{p[size]:,}" for p in points])
        panel.minorticks_off()
        panel.set_xlabel(size)
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
        (options.out / f"growth-{name}.json").write_text(
            json.dumps({**about, "axes": axes, "exponents": grows}, indent=1) + "\n"
        )
        plot(axes, f"{name}, {about['machine']['processor']}, {about['machine']['cores']} cores", options.out / f"growth-{name}.png")  # fmt: skip
        _print(name, about, axes, grows)


def _print(name: str, about: dict[str, Any], axes: dict[str, Points], grows: dict[str, dict[str, float]]) -> None:
    print(name, *(f"{key} {value}" for key, value in about.items()), sep="\n  ")
    for size, points in axes.items():
        print(*(f"{key:>22}" for key in points[0]))
        for point in points:
            print(
                *(f"{value:>22,.5g}" if isinstance(value, int | float) else f"{value:>22}" for value in point.values())
            )
        print(f"{size}: cost grows by the power of", {k: round(v, 2) for k, v in grows.get(size, {}).items()})


if __name__ == "__main__":
    main()
