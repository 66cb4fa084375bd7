"""What the command line asks about an objective: which one, against which reference, with which rewards. It parses; it decides nothing."""

import argparse

from app.refresh.methods import OBJECTIVES, REFERENCES, REWARDS


def add_objective_options(parser: argparse.ArgumentParser) -> None:
    """Adds them to a command that learns."""
    parser.add_argument(
        "--objective",
        choices=list(OBJECTIVES),
        help="what is minimised; default dpo; ipo is of per-token means, ipo_sum of whole answers, each wants a beta of its own",
    )
    parser.add_argument("--label-smoothing", type=float, help="the share of choices assumed mistaken")
    parser.add_argument(
        "--reference",
        choices=REFERENCES,
        help="what is measured against: the base, the previous version, or a moving average; default base",
    )
    parser.add_argument("--rank", type=int, help="of the adapter; a previous version must fit into it")
    parser.add_argument(
        "--ema-decay", type=float, help="with the reference ema: how much of the average stays at a step"
    )
    parser.add_argument(
        "--demonstration-weight", type=float, help="of aihf: how much rewritten answers count; 0 is dpo"
    )
    parser.add_argument("--reward", choices=REWARDS, help="of hpo, fa, rwr and ca: where an answer's reward comes from")
    parser.add_argument("--reward-weight", type=float, help="of hpo: how much the reward counts; 0 is dpo")
    parser.add_argument("--reward-temperature", type=float, help="of hpo and rwr: lower counts the best answers more")
    parser.add_argument("--reward-threshold", type=float, help="of fa: only answers above it are learnt from")
