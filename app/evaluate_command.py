"""The command `python -m app evaluate`: many prompts through many arms, judged. It parses, shows progress and writes files; it decides nothing."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.decoding.arms import DecodeSettings
from app.errors import InputError, checked
from app.settings import Settings

if TYPE_CHECKING:
    from app.evaluation.plan import Plan
    from app.evaluation.questions import Case
    from app.evaluation.summary import Summary
    from app.services import Services

ARMS = ["baseline", "principle_prompted", "linear_aligned ratio=2", "amulet"]
JUDGES = ["markers", "classifier", "fluency", "implicit"]


def add_evaluate_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    defaults = DecodeSettings()
    parser = commands.add_parser("evaluate", help="compare arms on many prompts, with judges, intervals and costs")
    parser.set_defaults(run=run)
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="FOLDER",
        help="where everything goes; what lies there is gone on with",
    )
    parser.add_argument(
        "--arms",
        nargs="+",
        default=ARMS,
        metavar="ARM",
        help="such as baseline, 'linear_aligned ratio=1,2,3', 'linear_aligned kl_budget=0.5', 'baseline @ v1', 'best_of_n count=4'",
    )
    parser.add_argument(
        "--against", nargs="+", metavar="ARM", help="who every other is compared with; default: the first arm"
    )
    parser.add_argument("--questions", type=Path, metavar="FILE", help="a JSON list of questions; default: the own 100")
    parser.add_argument("--personas", metavar="IDS", help="such as pirate,zen; default: the own 12 principles")
    parser.add_argument("--limit", type=int, metavar="N", help="only the first so many questions")
    parser.add_argument(
        "--judges",
        nargs="+",
        default=JUDGES,
        metavar="JUDGE",
        help="markers, classifier, fluency, implicit, embedding, endpoint; default: the first four",
    )
    parser.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    parser.add_argument("--top-p", type=float, default=defaults.top_p)
    parser.add_argument("--temperature", type=float, default=0.0, help="of every answer; default 0, greedy")
    parser.add_argument("--seed", type=int, default=0, help="every arm draws from the same for the same prompt")
    parser.add_argument("--max-new-tokens", type=int, default=120)
    parser.add_argument("--batch", type=int, default=16, metavar="N", help="how many prompts are answered together")
    parser.add_argument("--json", action="store_true", help="the figures as one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """Runs what is left to do, with a progress bar, and writes results.json, figures.csv, wins.csv and report.html."""
    from app.embedding import Embedder
    from app.evaluation.plan import Outcome, Progress
    from app.evaluation.run import Folder, evaluate
    from app.evaluation.scoring import scorers
    from app.evaluation.summary import summarise
    from app.services import build

    settings = checked(
        DecodeSettings,
        top_p=options.top_p,
        temperature=options.temperature,
        seed=options.seed,
        max_new_tokens=options.max_new_tokens,
    )
    if not 1 <= options.batch <= 1024:
        raise InputError(f"the batch is {options.batch}; it must be 1 to 1024 prompts")
    services = build(Settings(), options.model)
    plan = _plan(options, services, settings)
    folder = Folder(options.out, plan)
    judges = scorers(plan.judges, services.model, Embedder(services.settings.embedder))
    annotators = {name: services.judges.named(name).annotator for name in plan.behind}

    def steps() -> Iterator[Progress | Outcome | None]:
        yield from evaluate(services.model, plan, folder, services.versions.load, judges, annotators)

    outcome = _watched(item for item in services.worker.stream(steps()) if item is not None)
    summary = summarise(plan, outcome)
    told = _write(options.out, plan, outcome, summary)
    if options.json:
        print(json.dumps({key: told[key] for key in ("figures", "wins")}, ensure_ascii=False))
    else:
        _print(summary, options.out)
    return 0


def _plan(options: argparse.Namespace, services: "Services", settings: DecodeSettings) -> "Plan":
    from dataclasses import replace

    from app.evaluation.contestants import BEST_OF_N, Contestant, distinct, parse_all
    from app.evaluation.plan import Plan

    def resolved(texts: list[str]) -> list[Contestant]:
        # A version is checked and written in one way; "v1*1" is v1, and "v1*0" the original model.
        answering = services.versions.answering
        return distinct([replace(one, adapter=one.adapter and answering(one.adapter)) for one in parse_all(texts)])

    contestants = resolved(options.arms)
    for one in contestants:
        one.settings(settings)
        if one.arm == "adapter_guided" and not one.adapter:
            raise InputError("the arm adapter_guided needs a version to guide it; write 'adapter_guided @ v1'")
    names = [one.name for one in contestants]
    against = [one.name for one in resolved(options.against)] if options.against else names[:1]
    if unknown := [name for name in against if name not in names]:
        raise InputError(f"{unknown[0]!r} is to be compared with and takes no part; the arms are {', '.join(names)}")
    choosing = {"endpoint"} & set(options.judges) | {one.annotator for one in contestants if one.arm == BEST_OF_N}
    return Plan(
        model=services.model.name,
        revision=services.model.revision,
        contestants=contestants,
        against=against,
        cases=_cases(options, services),
        judges=list(dict.fromkeys(options.judges)),
        behind={name: services.judges.named(name).model for name in sorted(choosing)},
        settings=settings,
        batch=options.batch,
    )


def _cases(options: argparse.Namespace, services: "Services") -> "list[Case]":
    from app.evaluation import questions

    known = services.catalogue.all()
    asked = questions.read_questions(options.questions, known) if options.questions else questions.own_prompts()
    if options.limit is not None and options.limit < 1:
        raise InputError(f"the limit is {options.limit}; it must be at least 1 question")
    if options.personas:
        ids = options.personas.split(",")
        principles = [questions.of_persona(name, services.catalogue.get(name)) for name in ids]
    else:
        principles = questions.own_principles()
    return questions.cases(asked[: options.limit], principles)


def _watched(items: Iterator[Any]) -> Any:
    # The last item is the outcome; the others move the bar.
    from tqdm import tqdm

    from app.evaluation.plan import Progress

    with tqdm(unit="batch", file=sys.stderr, mininterval=2) as bar:
        for item in items:
            if isinstance(item, Progress):
                bar.total = item.of
                bar.set_description(item.what[:40], refresh=False)
                bar.update(item.done - bar.n)
    return item


def _write(out: Path, plan: "Plan", outcome: Any, summary: "Summary") -> dict[str, Any]:
    import torch

    from app.evaluation.report import report
    from app.evaluation.tables import as_json, figures_csv, wins_csv

    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    machine |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads(), "cuda": torch.cuda.is_available()}
    told = as_json(plan, outcome, summary, machine)
    files = {
        "results.json": json.dumps(told, ensure_ascii=False, indent=1),
        "figures.csv": figures_csv(summary.figures),
        "wins.csv": wins_csv(summary.wins),
        "report.html": report(plan, outcome, summary),
    }
    for name, text in files.items():
        (out / name).write_text(text, encoding="utf-8")
    return told


def _print(summary: "Summary", out: Path) -> None:
    for one in summary.figures:
        scores = ", ".join(f"{column} {found.value:.3f}" for column, found in one.scores.items() if found.n)
        print(
            f"{one.name}: {scores}; {one.words:.1f} words, {one.forwards:.0f} forwards, {one.seconds:.2f} s an answer"
        )
    for win in summary.wins:
        if win.rate.n:
            low, high = win.rate.interval
            print(
                f"{win.judge}: {win.one} against {win.other} {win.rate.value:.3f} [{low:.3f}, {high:.3f}] (n = {win.rate.n}), "
                f"{win.longer:.2f} times the words, {win.forwards:.2f} times the forwards"
            )
    print(f"report: {out / 'report.html'}")
