"""The command `python -m app insights`: the statistics of the votes. It parses and prints; it needs no model.

Who has a shell on the machine is the owner, so no token is asked for here.
"""

import argparse
import json

from app.insights import Share
from app.settings import Settings


def add_insights_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    parser = commands.add_parser("insights", help="which arm people prefer, how sure that is, and what biases it")
    parser.set_defaults(run=run)
    parser.add_argument("--persona", metavar="ID", help="votes on this persona only")
    parser.add_argument("--study", default="", metavar="NAME", help="votes in this study only")
    parser.add_argument("--blind-only", action="store_true", help="leave out votes that saw which arm was which")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """Counts and computes everything, then prints it."""
    from app.errors import StorageError
    from app.insights_report import Insights, Report
    from storage.store import Store

    insights = Insights(Store(Settings().data), authorise=lambda token: None)
    selection = insights.selection(options.persona, options.study, options.blind_only)
    report: Report = insights.report(selection, raters=True, wait=True)
    if report.slow is None:
        raise StorageError(report.fault)
    print(json.dumps(report.described(), ensure_ascii=False) if options.json else "\n".join(_lines(report)))
    return 0


def _lines(report: "Report") -> list[str]:  # noqa: F821
    quick, slow = report.quick, report.slow
    lines = [f"{quick.votes} votes on two whole, different answers"]
    for pair in quick.pairs:
        lines.append(f"{pair.one} preferred to {pair.other}: {told(pair.decisive)} of the decisive votes; ties as half {told(pair.half)}; {pair.ties} ties, {pair.both_bad} both bad")  # fmt: skip
        if pair.too_early:
            missing = ", ".join(f"{n} for {float(rate):.0%}" for rate, n in pair.missing.items())
            lines.append(f"  too early to say; still needed (power 80 %, alpha 5 %): {missing}")
    for pair in slow.clustered:
        lines.append(f"{pair.one} preferred to {pair.other}, over {pair.raters} raters (cluster bootstrap): {told(pair.decisive)}")  # fmt: skip
    for item in slow.adjusted:
        effect = item.adjusted.effect
        found = item.adjusted.fault or "{:.1%} ({:.1%} to {:.1%})".format(*effect.rate) + f" of {item.adjusted.n}"
        lines.append(f"{item.one} preferred to {item.other} at equal length, markdown and side: {found}")
    for group in slow.groups:
        names = ", ".join(f"{s.name} {s.value:+.2f} ({s.interval[0]:+.2f} to {s.interval[1]:+.2f}, n {s.n:g})" for s in group.strengths)  # fmt: skip
        lines.append(f"Bradley-Terry strengths{' (held back)' if group.held_back else ''}: {names}")
    lines.append(f"the first side preferred: {told(slow.first)}; the longer answer preferred: {told(slow.longer)}")
    alpha = slow.agreement.alpha
    if alpha:
        lines.append(f"Krippendorff's alpha: {alpha.value:.2f} ({alpha.interval[0]:.2f} to {alpha.interval[1]:.2f}) on {alpha.n} items")  # fmt: skip
    if slow.itself:
        lines.append(f"the same choice when an item came back: {told(slow.itself)}")
    return lines


def told(share: Share) -> str:
    """A share with its interval and n, in a few words."""
    if not share.n:
        return "no votes"
    low, high = share.interval
    return f"{share.value:.1%} ({low:.1%} to {high:.1%}) of {share.n}"
