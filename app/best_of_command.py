"""The command `python -m app best-of`: several prompted answers, of which an annotator keeps one. It parses and prints; it decides nothing."""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict

from app.decoding.arms import DecodeSettings, seed_by_lot
from app.errors import checked
from app.prompts import FRAMINGS, MAX_PROMPT_CHARACTERS, clean, frame
from app.settings import Settings


def add_best_of_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    defaults = DecodeSettings()
    parser = commands.add_parser("best-of", help="sample several prompted answers and let an annotator keep one")
    parser.set_defaults(run=run)
    parser.add_argument("--prompt", required=True)
    who = parser.add_mutually_exclusive_group(required=True)
    who.add_argument("--persona", metavar="ID", help="a persona of the library or a saved one")
    who.add_argument("--principle", metavar="TEXT", help="what a good answer is, in your own words")
    parser.add_argument(
        "--framing", choices=list(FRAMINGS), default="principle", help="how the principle enters the prompt"
    )
    parser.add_argument(
        "--annotator",
        required=True,
        choices=["implicit", "embedding", "endpoint"],
        help="the model itself, nearness in meaning, or the chat endpoint of PLUMBLINE_JUDGE_URL",
    )
    parser.add_argument("--count", type=int, default=8, metavar="N", help="how many answers to choose from; default 8")
    parser.add_argument("--model", metavar="M", help="starter, a folder or a hub id; default PLUMBLINE_MODEL")
    parser.add_argument("--adapter", metavar="V", help="as for compare")
    parser.add_argument("--top-p", type=float, default=defaults.top_p)
    parser.add_argument("--temperature", type=float, default=defaults.temperature, help="above 0")
    parser.add_argument("--seed", type=int, default=None, help="of the first answer; default: drawn by lot")
    parser.add_argument("--max-new-tokens", type=int, default=defaults.max_new_tokens)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")


def run(options: argparse.Namespace) -> int:
    """Prints the answer that was kept, or one JSON object with all of them and what they cost."""
    from app.best_of import BestOf, best_of
    from app.services import build

    prompt = clean(options.prompt, "the prompt", MAX_PROMPT_CHARACTERS)
    settings = checked(
        DecodeSettings,
        top_p=options.top_p,
        temperature=options.temperature,
        seed=seed_by_lot() if options.seed is None else options.seed,
        max_new_tokens=options.max_new_tokens,
    )
    services = build(Settings(), options.model)
    settings = settings.model_copy(update={"no_repeat_ngram": services.model.no_repeat_ngram})
    persona = services.catalogue.get(options.persona) if options.persona else None
    principle = frame(persona.principle, persona.framing) if persona else frame(options.principle, options.framing)
    annotator = services.judges.named(options.annotator).annotator
    adapter = services.compare.resolve_adapter(options.adapter, options.persona or "")

    def steps() -> Iterator[BestOf | None]:
        loaded = services.versions.load(adapter)
        messages = [{"role": "user", "content": prompt}]
        yield (yield from best_of(services.model, annotator, messages, principle, options.count, settings, loaded))

    started = time.monotonic()
    *_, found = services.worker.stream(steps())
    seconds = round(time.monotonic() - started, 2)
    if options.json:
        report = {"model": services.model.name, "adapter": adapter or None, "annotator": options.annotator}
        report |= {"settings": settings.model_dump(), **asdict(found), "seconds": seconds}
        print(json.dumps(report, ensure_ascii=False))
        return 0
    print(found.text)
    print(f"the best of {len(found.answers)} answers, {found.tokens} tokens in {seconds} s", file=sys.stderr)
    return 0
