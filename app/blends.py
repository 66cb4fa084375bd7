"""What a mixture of adapter versions is called: reads `v3*1.5` or `v2*0.5+v4*0.5` and writes it back. Knows words and numbers only.

One version times a number is ExPO (arXiv 2404.16792), `theta_0 + (1 + alpha)(theta_dpo - theta_0)`: times 0 is the original model
(alpha -1), times 1 the version itself (alpha 0), and beyond it the step that was learnt goes on. Several are Personalized Soups
(arXiv 2310.11564): the sum of what each adds to the weights of the model, each times its number; halves of two are their mean.
"""

import re

from app.errors import InputError

PARTS_AT_MOST = 4
WEIGHT_AT_MOST = 3
PART = re.compile(r"\s*(v[1-9][0-9]{0,8})\s*(?:\*\s*([0-9]+(?:\.[0-9]{1,3})?)\s*)?")


def is_blend(text: str) -> bool:
    """Whether it is meant as a mixture and not as one plain name."""
    return "*" in text or "+" in text


def parse(text: str) -> dict[str, float]:
    """Versions and their weights, in the order of their numbers, without those of weight 0.

    Raises:
        InputError: it does not read like `v2*0.5+v4*0.5`, a weight is above `WEIGHT_AT_MOST`, a version stands twice, or there are
            more than `PARTS_AT_MOST`.
    """
    found = [PART.fullmatch(part) for part in text.split("+")]
    if not all(found):
        raise InputError(
            f"the adapter is {text[:60]!r}; a mixture reads like v3*1.5 or v2*0.5+v4*0.5: versions, each with a weight of 0 to "
            f"{WEIGHT_AT_MOST} with at most three decimals"
        )
    weights = {match[1]: float(match[2] or 1) for match in found}
    if len(weights) < len(found):
        raise InputError(f"the adapter {text[:60]!r} names a version twice; give it one weight")
    if len(weights) > PARTS_AT_MOST:
        raise InputError(f"the adapter mixes {len(weights)} versions; {PARTS_AT_MOST} are the most at once")
    for version, weight in weights.items():
        if weight > WEIGHT_AT_MOST:
            raise InputError(f"the weight of {version} is {weight:g}; it must be 0 to {WEIGHT_AT_MOST}")
    return {version: weights[version] for version in sorted(weights, key=lambda v: int(v[1:])) if weights[version]}


def expo(version: str, alpha: float) -> str:
    """ExPO: the model at `theta_0 + (1 + alpha)(theta_version - theta_0)`; -1 is the original model, "none", and 0 the version itself.

    Raises:
        InputError: alpha is below -1 or so high that the weight is above `WEIGHT_AT_MOST`.
    """
    if not -1 <= alpha <= WEIGHT_AT_MOST - 1:
        raise InputError(f"the strength is {alpha:g}; it must lie from -1, the original model, to {WEIGHT_AT_MOST - 1}")
    return soup({version: 1 + alpha})


def soup(weights: dict[str, float]) -> str:
    """The mixture of versions with these weights, as `parse` reads it; "none", the original model, where nothing is left.

    Raises:
        InputError: as `parse` says.
    """
    return name(parse("+".join(f"{version}*{round(weight, 3):g}" for version, weight in weights.items()))) or "none"


def name(weights: dict[str, float]) -> str:
    """What `parse` reads back: the same for every way of writing the same mixture; "" is the original model.

    Args:
        weights: as `parse` returns them.
    """
    return "+".join(version if weight == 1 else f"{version}*{weight:g}" for version, weight in weights.items())
