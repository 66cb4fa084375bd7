"""The command `python -m app study`: make, list and close studies. It parses and prints; it decides nothing.

Who has a shell on the machine is the owner, so no token is asked for here.
"""

import argparse
import json
import sys
from dataclasses import asdict
from pathlib import Path

from app.decoding.arms import DecodeSettings, seed_by_lot
from app.errors import checked
from app.settings import Settings


def add_study_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    usual = DecodeSettings()
    parser = commands.add_parser("study", help="make, list and close studies: prompts that people label")
    actions = parser.add_subparsers(required=True, metavar="ACTION")

    one = actions.add_parser("create", help="every prompt under every persona, answered by two arms")
    one.set_defaults(run=create)
    one.add_argument("--name", required=True, help="for people; no two studies share one")
    one.add_argument(
        "--prompts", required=True, type=Path, metavar="FILE", help='a prompt a line, or JSONL with "prompt"'
    )
    one.add_argument("--personas", required=True, metavar="a,b", help="ids of the library or of saved ones")
    one.add_argument("--arms", required=True, metavar="x,y", help="the two that are compared")
    one.add_argument("--overlap", type=int, default=1, metavar="K", help="how many raters every item gets; default 1")
    one.add_argument(
        "--repeat", type=float, default=0.1, help="share that comes back with the sides exchanged; default 0.1"
    )
    one.add_argument("--far-first", action="store_true", help="each prompt far in meaning from those before it")
    one.add_argument("--adapter", metavar="V", help="a version such as v3, or none; default: what is published")
    one.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    one.add_argument("--ratio", type=float, default=usual.ratio, help="step size; 0 is the prompted arm")
    one.add_argument("--top-p", type=float, default=usual.top_p)
    one.add_argument("--temperature", type=float, default=usual.temperature, help="0 is greedy")
    one.add_argument("--seed", type=int, help="the first item's; every later one's is one more; default: drawn by lot")
    one.add_argument("--max-new-tokens", type=int, default=usual.max_new_tokens)
    one.add_argument(
        "--wait", action="store_true", help="make the answers now; otherwise the page makes them while it runs"
    )
    one.add_argument("--json", action="store_true", help="one JSON object on standard output")

    two = actions.add_parser("list", help="how far every study is")
    two.set_defaults(run=show)
    two.add_argument("--json", action="store_true", help="one JSON list on standard output")

    three = actions.add_parser("close", help="hand nothing out any more; labels stay")
    three.set_defaults(run=close)
    three.add_argument("name", metavar="NAME")


def create(options: argparse.Namespace) -> int:
    """Makes a study; with --wait its answers, too, with a line an item on standard error."""
    from app.services import build
    from app.study_prompts import read_study_prompts

    settings = checked(
        DecodeSettings,
        ratio=options.ratio,
        top_p=options.top_p,
        temperature=options.temperature,
        seed=seed_by_lot() if options.seed is None else options.seed,
        max_new_tokens=options.max_new_tokens,
    )
    prompts = read_study_prompts(options.prompts)
    environment = Settings()
    services = build(environment, options.model)
    study = services.studies.create(
        options.name,
        prompts,
        [persona.strip() for persona in options.personas.split(",")],
        tuple(arm.strip() for arm in options.arms.split(",")),
        options.overlap,
        options.repeat,
        settings,
        options.adapter,
        environment.admin_token.get_secret_value() if environment.admin_token else "",
        options.far_first,
    )
    if options.wait:
        for overview in services.studies.answer(study.id):
            print(f"{overview.answered} of {overview.items} answered, {overview.faults} faults", file=sys.stderr)
    overview = next(overview for overview in services.studies.all() if overview.id == study.id)
    told = (
        f"study {study.name}: {overview.items} items, {overview.answered} answered, {overview.faults} faults; "
        f"{overview.wanted} labels wanted"
    )
    print(json.dumps(asdict(overview), ensure_ascii=False) if options.json else told)
    return 0


def show(options: argparse.Namespace) -> int:
    """Prints a line a study."""
    from storage.store import Store
    from storage.studies import StudyTable

    overviews = StudyTable(Store(Settings().data).database).overviews()
    if options.json:
        print(json.dumps([asdict(overview) for overview in overviews], ensure_ascii=False))
        return 0
    for o in overviews:
        print(
            f"{o.name}: {o.state}, {o.answered} of {o.items} items answered, {o.faults} faults, {o.votes} of {o.wanted} labels by {o.raters} raters"
        )
    return 0


def close(options: argparse.Namespace) -> int:
    """Closes a study by its name."""
    from storage.store import Store
    from storage.studies import StudyTable

    table = StudyTable(Store(Settings().data).database)
    table.close(table.named(options.name).id)
    print(f"study {options.name}: closed")
    return 0
