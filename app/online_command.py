"""The command `python -m app online`: a judge in place of a person, step by step. It parses and prints; it decides nothing."""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from app.errors import checked
from app.prompts import FRAMINGS, frame
from app.refresh.methods import ONLINE, PAIRWISE
from app.settings import Settings

if TYPE_CHECKING:
    from app.refresh.feedback import OnlineStep


def add_online_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    parser = commands.add_parser("online", help="let a judge choose between the model's own answers (OAIF and its kin)")
    parser.set_defaults(run=run)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--persona", metavar="ID", help="the judge goes by its principle, and the version is its own")
    who.add_argument("--principle", metavar="TEXT", help="what the judge goes by; the version is for all")
    parser.add_argument(
        "--framing", choices=list(FRAMINGS), default="principle", help="how the principle enters the judge's prompt"
    )
    parser.add_argument(
        "--annotator",
        required=True,
        choices=["implicit", "embedding", "endpoint"],
        help="the model itself, nearness in meaning, or the chat endpoint of PLUMBLINE_JUDGE_URL",
    )
    parser.add_argument(
        "--prompts",
        type=Path,
        metavar="FILE",
        help="a prompt a line; default: the stored ones and the personas' examples",
    )
    parser.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    parser.add_argument("--steps", type=int, help="gradient steps at most")
    parser.add_argument("--prompts-per-step", type=int, help="how many are answered twice for one step")
    parser.add_argument("--evaluate-every", type=int, help="steps between two evaluations on prompts kept aside")
    parser.add_argument("--patience", type=int, help="evaluations without a new best after which it stops")
    parser.add_argument("--max-seconds", type=float, help="no step begins after so many")
    parser.add_argument("--max-judge-tokens", type=int, help="of an endpoint, both ways")
    parser.add_argument("--max-new-tokens", type=int, help="the longest answer")
    parser.add_argument("--temperature", type=float, help="of the sampled answers")
    parser.add_argument("--method", choices=list(ONLINE), help="how the loop goes on; default oaif")
    parser.add_argument(
        "--pairs",
        type=Path,
        metavar="FILE",
        help="for sail, sapo and mpo: choices that there are already; default: the stored ones",
    )
    parser.add_argument("--strength-scale", type=float, help="of osp: the judge's margin at which it is 73 %% sure")
    parser.add_argument("--regenerate", type=float, help="of optune: the share of prompts that is answered anew")
    parser.add_argument("--gap-power", type=float, help="of optune: a pair counts as its reward gap to that power")
    parser.add_argument("--renewals", type=int, help="of bpo: how often the reference becomes the policy")
    parser.add_argument("--ema-decay", type=float, help="of sapo: how much of the moving average stays at every step")
    parser.add_argument("--buffer", type=int, help="of sapo: how many pairs may be drawn again")
    parser.add_argument("--hard-below", type=float, help="of mpo: the judge's margin below which a pair is hard")
    parser.add_argument("--objective", choices=PAIRWISE, help="what is minimised over pairs; default dpo")
    parser.add_argument("--beta", type=float, help="how dear it is to leave the base model")
    parser.add_argument(
        "--sft-weight", type=float, help="how much the likelihood of the chosen answer counts beside it"
    )
    parser.add_argument("--learning-rate", type=float, help="a first choice for the starter; larger models want less")
    parser.add_argument("--seed", type=int)
    parser.add_argument("--publish", action="store_true", help="use the version if the prompts kept aside speak for it")
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """Prints a line a step on standard error, then what came of it."""
    from app.online import OnlineOutcome, read_prompts
    from app.refresh.feedback import OnlineSettings, OnlineStep
    from app.refresh.pair_files import read_rows
    from app.services import build

    given = {name: value for name, value in vars(options).items() if name in OnlineSettings.model_fields}
    settings = checked(OnlineSettings, **{name: value for name, value in given.items() if value is not None})
    prompts = read_prompts(options.prompts) if options.prompts else None
    rows = read_rows(options.pairs) if options.pairs else None
    services = build(Settings(), options.model)
    persona = services.catalogue.get(options.persona) if options.persona else None
    principle = frame(persona.principle, persona.framing) if persona else frame(options.principle, options.framing)
    judge = services.judges.named(options.annotator)
    scope = options.persona or ""
    pairs = rows[0] if rows else services.learn.pairs(options.persona)
    outcome = None
    for item in services.online.run(judge, principle, scope, prompts, settings, options.publish, pairs=pairs):
        if isinstance(item, OnlineStep):
            print(_line(item), file=sys.stderr)
        elif isinstance(item, OnlineOutcome):
            outcome = item
    if options.json:
        print(json.dumps(asdict(outcome), ensure_ascii=False))
    else:
        steps = len(outcome.curve)
        print(
            f"{outcome.version}: {outcome.pairs} choices in {steps} steps and {outcome.seconds:.0f} s, stopped by {outcome.stopped}; "
            f"{outcome.reason}"
        )
    return 0


def _line(step: "OnlineStep") -> str:
    learnt = "no pair to learn from" if step.loss is None else f"loss {step.loss:.4f}, {step.kept} pairs"
    won = f", win rate {step.win_rate.value:.2f} (n = {step.win_rate.n})" if step.win_rate else ""
    written = "" if step.kl is None else f", {step.tokens:.1f} tokens, KL {step.kl:.4f} a token"
    return f"step {step.step}/{step.steps}: {learnt}{written}{won}"
