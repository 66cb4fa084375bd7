"""Agreement and the pull of length, as sentences for the card beside an export. Knows the figures' names; writes no file."""

from app.insights.agreement import Coefficient
from app.insights.rates import Share
from app.insights_slow import agreed, length_bias
from storage.database import DatabaseFile
from storage.tallies import Selection


def card_measures(database: DatabaseFile, persona: str | None, study: str | None) -> dict[str, str]:
    """Measure -> value with interval and n, of people's votes on a persona and in a study (an id); None is all.

    Raises:
        StorageError: the database cannot be read.
    """
    selection = Selection(persona, study)
    between, itself = agreed(database, selection)
    longer, _, _ = length_bias(database, selection)
    several = f"of {between.items} things judged by several of {between.raters} raters"
    return {
        f"Krippendorff's alpha, nominal, {several} (1: full agreement, 0: chance)": _coefficient(between.alpha),
        "Cohen's kappa, of two raters": _coefficient(between.cohen),
        "Fleiss' kappa, of more raters": _coefficient(between.fleiss),
        "Raters choose the same again when an item comes back with its sides exchanged": _share(itself),
        "The longer answer wins, of clear votes (0.5: no length bias)": _share(longer),
    }


def _coefficient(value: Coefficient | None) -> str:
    if value is None:
        return "not measured"
    low, high = value.interval
    return f"{value.value:.3f} ({low:.3f} to {high:.3f}), n = {value.n}"


def _share(value: Share | None) -> str:
    if value is None or not value.n:
        return "not measured (n = 0)"
    low, high = value.interval
    return f"{value.value:.3f} ({low:.3f} to {high:.3f}, over raters), n = {value.n}"
