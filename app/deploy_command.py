"""The command `python -m app deploy`: this checkout as a Space on the Hub. It parses and prints; it decides nothing."""

import argparse

from app.settings import Settings


def add_deploy_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Adds the command to the others."""
    parser = commands.add_parser("deploy", help="make or update a Space on the Hugging Face Hub")
    parser.set_defaults(run=run)
    parser.add_argument("--space", required=True, metavar="OWNER/NAME")
    parser.add_argument(
        "--hardware", default="cpu-basic", metavar="H", help="as the Hub calls it, such as cpu-basic, zero-a10g, l4x1"
    )
    parser.add_argument("--private", action="store_true", help="a new Space is only for its owner")
    parser.add_argument(
        "--dry-run", action="store_true", help="tell every file and call, and ask nothing of the network"
    )


def run(options: argparse.Namespace) -> int:
    """Tells the plan; without `--dry-run` it is carried out, and the address is printed last."""
    from app.deploy import deploy, plan

    decided = plan(options.space, Settings(), options.hardware, options.private)
    for warning in decided.warnings:
        print(f"take note: {warning}")
    if not options.dry_run:
        print(deploy(decided, tell=lambda step: print(step, flush=True)))
        return 0
    for step in decided.steps:
        print(step.told)
    sizes = decided.sizes()
    for path, size in sizes.items():
        print(f"{size:>12,}  {path}")
    print(f"{sum(sizes.values()):>12,}  bytes in {len(sizes)} files; nothing was sent")
    return 0
