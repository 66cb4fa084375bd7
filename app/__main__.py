"""The command line, `python -m app ...`, over the same use cases as the page. It parses and prints; it decides nothing."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.best_of_command import add_best_of_parser
from app.data_command import add_data_parsers
from app.decoding.arms import ARM_NAMES, OFFERED_ARMS, RATIO_UNDER_A_BUDGET, DecodeSettings, seed_by_lot
from app.deploy_command import add_deploy_parser
from app.errors import PlumblineError, checked
from app.evaluate_command import add_evaluate_parser
from app.insights_command import add_insights_parser
from app.objective_options import add_objective_options
from app.online_command import add_online_parser
from app.prompts import FRAMINGS
from app.settings import Settings
from app.study_command import add_study_parser
from app.sync_command import add_sync_parser
from app.versions_command import add_parser

# Settings of the arms beyond the three, each an option of its own name.
FURTHER_SETTINGS = {
    "amulet_alpha": "of the arm amulet: worth of the principle's difference; 0 is the prompted arm",
    "amulet_lambda": "of the arm amulet: pull back to the prompted arm",
    "amulet_eta": "of the arm amulet: learning rate",
    "amulet_steps": "of the arm amulet: rounds a token",
    "guide_weight": "of the arm adapter_guided: the adapter's say; 0 is the original model",
    "guide_top_k": "of the arm adapter_guided: how many of the original's likeliest tokens there are to choose from",
    "best_of_count": "of the arm best_of_n: how many answers the model, as its own judge, chooses from",
}


def main(arguments: list[str] | None = None) -> int:
    """Runs one command; returns the exit status: 0, or 2 with a sentence on standard error."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except PlumblineError as error:
        print(f"plumbline: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("plumbline: stopped; nothing was changed", file=sys.stderr)
        return 130


def compare(options: argparse.Namespace) -> int:
    """One prompt through every arm; prints texts as they end, or one JSON object."""
    from app.compare import Principle, Request
    from app.services import build
    from app.traces import described

    ratio = DecodeSettings().ratio if options.kl_budget is None else RATIO_UNDER_A_BUDGET
    settings = checked(
        DecodeSettings,
        ratio=ratio if options.ratio is None else options.ratio,
        kl_budget=options.kl_budget,
        top_p=options.top_p,
        temperature=options.temperature,
        seed=seed_by_lot() if options.seed is None else options.seed,
        max_new_tokens=options.max_new_tokens,
        **{name: getattr(options, name) for name in FURTHER_SETTINGS},
    )
    request = checked(
        Request,
        messages=(("user", options.prompt),),
        persona=options.persona or "",
        principles=(Principle(text=options.principle, framing=options.framing),)
        if options.principle is not None
        else (),
        arms=tuple(options.arms.split(",")),
        settings=settings,
        adapter=options.adapter,
        traces=options.traces,
    )
    services = build(Settings(), options.model)
    comparison = services.compare.start(request, rater="command-line")
    *_, last = services.compare.run(comparison)
    if not options.json:
        for arm, answer in last.answers.items():
            print(f"--- {arm} ({answer.finish_reason})\n{answer.text}\n")
        return 0
    model = services.model
    names = [
        "base",
        *(["principle"] if len(comparison.chats) == 2 else [f"principle_{i}" for i in range(1, len(comparison.chats))]),
    ]
    report = {
        "model": model.name,
        "adapter": comparison.adapter or None,
        "settings": settings.model_dump(),
        "contexts": {
            name: {"text": model.chat_text(messages), "token_ids": ids}
            for name, messages, ids in zip(names, comparison.chats, comparison.contexts, strict=True)
        },
        "arms": {arm: asdict(answer) for arm, answer in last.answers.items()},
    }
    for answer in report["arms"].values():
        del answer["arm"]
    if options.traces:
        report["traces"] = described(last.traces, {arm: a.token_ids for arm, a in last.answers.items()}, model.decode)
    _print_json(report)
    return 0


def refresh(options: argparse.Namespace) -> int:
    """Learns from a file or from the stored choices; prints a line a step, or one JSON object.

    Under `torchrun` the first process does all that one alone would do; the others only compute their share of every step.
    """
    from app.learn import IN_TRAINING
    from app.model import LanguageModel
    from app.refresh import processes
    from app.refresh.pair_files import read_rows
    from app.refresh.trainer import RefreshSettings, Step, follow
    from app.services import build

    environment = Settings()
    environment = environment.model_copy(update={"device": processes.join(environment.device)})
    if processes.index() > 0:
        model = LanguageModel.load(options.model or environment.model, environment.device, environment.dtype)
        follow(model, IN_TRAINING)
        return 0
    given = {name: value for name, value in vars(options).items() if name in RefreshSettings.model_fields}
    settings = checked(RefreshSettings, **{name: value for name, value in given.items() if value is not None})
    rows = read_rows(options.pairs) if options.pairs else None
    services = build(environment, options.model)
    if options.persona:
        services.catalogue.get(options.persona)
    scope = options.persona or ""
    pairs, rated = rows or (services.learn.pairs(options.persona), services.learn.rated(options.persona))
    if options.with_ai_votes:
        pairs += services.learn.ai_pairs(options.persona)
    if options.with_imported:
        pairs += services.learn.imported_pairs(options.persona)
    outcome, shares = None, []
    for item in services.learn.refresh(pairs, scope, settings, rated=rated):
        if isinstance(item, Step):
            shares.append(item.shares)
            print(f"step {item.step}/{item.steps}: loss {item.loss:.4f}, accuracy {item.accuracy:.2f}", file=sys.stderr)
        else:
            outcome = item
    report = {
        "version": outcome.version,
        "pairs_train": outcome.pairs_train,
        "pairs_heldout": outcome.pairs_heldout,
        "before": {"accuracy": outcome.before.value, "interval": outcome.before.interval},
        "after": {"accuracy": outcome.after.value, "interval": outcome.after.interval},
        "losses": outcome.losses,
        "processes": len(shares[0]),
        "pairs_per_process": [sum(of_one) for of_one in zip(*shares, strict=True)],
        "seconds": outcome.seconds,
        "published": outcome.published,
        "reason": outcome.reason,
        "rated": outcome.rated,
        "asked": outcome.asked,
    }
    if options.json:
        _print_json(report)
    else:
        beside = f" and {outcome.rated} answers rated by themselves" if outcome.rated else ""
        print(f"{outcome.version}: {outcome.pairs_train} pairs{beside} learnt in {outcome.seconds} s; {outcome.reason}")
        if outcome.asked:
            print(
                f"ask it with --principle {outcome.asked!r}, arm principle_prompted: the rewards stood in its prompts"
            )
    return 0


def serve(options: argparse.Namespace) -> int:
    """Starts the page."""
    from app.services import build
    from app.ui.page import build_page, launch

    services = build(Settings())
    services.log.start()
    services.sync.start()
    launch(build_page(services), port=options.port)
    return 0


def _print_json(report: dict[str, Any]) -> None:
    print(json.dumps(report, ensure_ascii=False))


def _parser() -> argparse.ArgumentParser:
    defaults = DecodeSettings()
    parser = argparse.ArgumentParser(prog="python -m app", description="Plumbline: compare, click, learn.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    one = commands.add_parser("compare", help="answer one prompt plainly, prompted and linearly aligned")
    one.set_defaults(run=compare)
    one.add_argument("--prompt", required=True)
    who = one.add_mutually_exclusive_group(required=True)
    who.add_argument("--persona", metavar="ID", help="a persona of the library or a saved one")
    who.add_argument("--principle", metavar="TEXT", help="what a good answer is, in your own words")
    one.add_argument(
        "--framing", choices=list(FRAMINGS), default="principle", help="how the principle enters the prompt"
    )
    one.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    one.add_argument(
        "--adapter",
        metavar="V",
        help="a version such as v3, a mixture such as v3*1.5 or v2*0.5+v4*0.5, or none; default: what is published",
    )
    one.add_argument("--arms", default=",".join(ARM_NAMES), metavar="a,b,c", help=f"of {', '.join(OFFERED_ARMS)}")
    one.add_argument(
        "--ratio",
        type=float,
        help=f"step size; 0 is the prompted arm; default {defaults.ratio:g}, with --kl-budget {RATIO_UNDER_A_BUDGET:g}",
    )
    one.add_argument("--kl-budget", type=float, default=None, help="at most so many nats a token")
    one.add_argument("--top-p", type=float, default=defaults.top_p)
    one.add_argument("--temperature", type=float, default=defaults.temperature, help="0 is greedy")
    one.add_argument("--seed", type=int, default=None, help="default: drawn by lot")
    one.add_argument("--max-new-tokens", type=int, default=defaults.max_new_tokens)
    for name, told in FURTHER_SETTINGS.items():
        default = getattr(defaults, name)
        one.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default, help=told)
    one.add_argument("--json", action="store_true", help="one JSON object on standard output")
    one.add_argument(
        "--traces",
        action="store_true",
        help="with --json: what each context would have said at every token, KL and shift",
    )

    two = commands.add_parser("refresh", help="learn an adapter from choices")
    two.set_defaults(run=refresh)
    source = two.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="TRL's formats, .jsonl or .parquet: prompt, chosen, rejected; beside such rows also prompt, completion, label",
    )
    source.add_argument("--persona", metavar="ID", help="the stored choices of one persona")
    source.add_argument("--all", action="store_true", help="all stored choices")
    two.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    add_objective_options(two)
    two.add_argument("--beta", type=float, help="how dear it is to leave the base model")
    two.add_argument(
        "--sft-weight", type=float, help="how much the likelihood of the chosen answer counts; 0 is the objective alone"
    )
    two.add_argument("--epochs", type=int, help="how often every pair is seen; default: few pairs more often")
    two.add_argument("--pairs-per-step", type=int, help="the batch, shared out among processes; default 4")
    two.add_argument("--learning-rate", type=float, help="the default suits the starter; larger models want less")
    two.add_argument("--seed", type=int)
    two.add_argument("--with-ai-votes", action="store_true", help="judges' choices, too, beside people's")
    two.add_argument("--with-imported", action="store_true", help="pairs that were imported, too")
    two.add_argument(
        "--precision",
        choices=["fp32", "bf16", "auto"],
        help="of the computing; default fp32, which is exact; auto is bf16 where this machine multiplies it natively",
    )
    two.add_argument("--json", action="store_true", help="one JSON object on standard output")

    add_data_parsers(commands)
    add_parser(commands)

    four = commands.add_parser("serve", help="start the page, as `python app.py` does")
    four.set_defaults(run=serve)
    four.add_argument("--port", type=int, default=None)

    add_online_parser(commands)
    add_sync_parser(commands)
    add_study_parser(commands)
    add_insights_parser(commands)
    add_best_of_parser(commands)
    add_evaluate_parser(commands)
    add_deploy_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
