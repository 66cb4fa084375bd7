"""Who takes part: an arm with its settings and the version that answers, read from words such as `linear_aligned ratio=3 @ v2`.

Knows names and bounds; no model and no text.
"""

import itertools
from dataclasses import dataclass, field

from app.decoding.arms import ALL_ARMS, RATIO_UNDER_A_BUDGET, DecodeSettings
from app.errors import InputError, checked

SAID_BY_COUNT = "best_of_count"  # would be a second word for the same
BEST_OF_N = "best_of_n"
ARMS = (*ALL_ARMS, BEST_OF_N)
UNTOLD = ("baseline", "adapter_guided")  # arms that never read the principle
ONE_FOR_ALL = ("seed", "max_new_tokens", "no_repeat_ngram")  # settings in which nobody may differ
BEST_OF_TEMPERATURE = 0.7  # greedy answers would all be the same
STRENGTHS = ("ratio", "amulet_alpha", "guide_weight")


@dataclass(frozen=True)
class Contestant:
    """One way of answering.

    name: as people write it; the same for every way of writing the same one.
    changes: settings that differ from those of the evaluation.
    adapter: a version or a mixture of versions, "" for the original model.
    count, annotator: of `best_of_n`, how many answers there are to choose from, and who chooses.
    """

    arm: str
    changes: dict[str, float] = field(default_factory=dict)
    adapter: str = ""
    count: int = 1
    annotator: str = "implicit"

    @property
    def name(self) -> str:
        """What it is called in every table."""
        options = [f"{key}={value:g}" for key, value in sorted(self.changes.items())]
        if self.arm == BEST_OF_N:
            options = [f"count={self.count}", f"annotator={self.annotator}", *options]
        return " ".join([self.arm, *options, *(["@", self.adapter] if self.adapter else [])])

    @property
    def family(self) -> str:
        """What it is called without its strength: contestants of one family lie on one line of a plot."""
        kept = [f"{key}={value:g}" for key, value in sorted(self.changes.items()) if key not in STRENGTHS]
        return " ".join([self.arm, *kept, *(["@", self.adapter] if self.adapter else [])])

    @property
    def strength(self) -> str:
        """The number that tells it from the others of its family; "" where there is none."""
        found = [f"{self.changes[key]:g}" for key in STRENGTHS if key in self.changes]
        return str(self.count) if self.arm == BEST_OF_N else " ".join(found)

    @property
    def told(self) -> bool:
        """Whether its answers hang on the principle; those of others are the same under every principle."""
        return self.arm not in UNTOLD

    def settings(self, common: DecodeSettings) -> DecodeSettings:
        """Those of the evaluation with its own changes.

        Raises:
            InputError: a value is out of bounds.
        """
        sampled = {"temperature": BEST_OF_TEMPERATURE} if self.arm == BEST_OF_N and common.temperature == 0 else {}
        return checked(DecodeSettings, **{**common.model_dump(), **sampled, **self.changes})


def parse(text: str) -> list[Contestant]:
    """The contestants that words such as `linear_aligned ratio=1,2,3 @ v1` stand for: one for every combination of values.

    Raises:
        InputError: an unknown arm or option, or a value that is no number or out of bounds.
    """
    words, _, adapter = text.partition("@")
    arm, *options = words.split() or [""]
    if arm not in ARMS:
        raise InputError(f"the arm is {arm[:40]!r} in {text[:60]!r}; it must be one of {', '.join(ARMS)}")
    values = {key: given.split(",") for key, given in (_option(option, arm, text) for option in options)}
    adapter = "" if adapter.strip() == "none" else adapter.strip()
    return [
        _made(arm, dict(zip(values, combination, strict=True)), adapter, text)
        for combination in itertools.product(*values.values())
    ]


def _option(option: str, arm: str, text: str) -> tuple[str, str]:
    key, equals, given = option.partition("=")
    own = ("count", "annotator") if arm == BEST_OF_N else ()
    allowed = [*own, *(name for name in DecodeSettings.model_fields if name not in (*ONE_FOR_ALL, SAID_BY_COUNT))]
    if not equals or key not in allowed:
        raise InputError(f"{option[:40]!r} in {text[:60]!r} is no setting of {arm}; there are {', '.join(allowed)}")
    return key, given


def _made(arm: str, values: dict[str, str], adapter: str, text: str) -> Contestant:
    annotator = values.pop("annotator", "implicit")
    try:
        changes = {key: float(value) for key, value in values.items()}
    except ValueError as error:
        raise InputError(f"{text[:60]!r} gives a value that is no number ({error})") from error
    if "kl_budget" in changes:
        changes.setdefault("ratio", RATIO_UNDER_A_BUDGET)
    count = int(changes.pop("count", 8 if arm == BEST_OF_N else 1))
    found = Contestant(arm, changes, adapter, count, annotator)
    found.settings(DecodeSettings())
    return found


def distinct(contestants: list[Contestant]) -> list[Contestant]:
    """The contestants as they are.

    Raises:
        InputError: one stands twice.
    """
    names = [contestant.name for contestant in contestants]
    if twice := {name for name in names if names.count(name) > 1}:
        raise InputError(f"the arm {min(twice)!r} was given twice; leave one of them out")
    return contestants


def parse_all(texts: list[str]) -> list[Contestant]:
    """All contestants in their order.

    Raises:
        InputError: as `parse` and `distinct` say.
    """
    return distinct([contestant for text in texts for contestant in parse(text)])
