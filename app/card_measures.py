"""Agreement and the pull of length, as sentences for the card beside an export. Knows the figures' names; writes no file."""

from app.data_card import shown
from app.insights import share
from app.insights_slow import agreed, length_bias
from storage.database import DatabaseFile
from storage.tallies import Selection

OVER = "over raters"


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
        f"Krippendorff's alpha, nominal, {several} (1: full agreement, 0: chance)": shown(between.alpha),
        "Cohen's kappa, of two raters": shown(between.cohen),
        "Fleiss' kappa, of more raters": shown(between.fleiss),
        # None where no item came back to anybody: a share of nothing.
        "Raters choose the same again when an item comes back with its sides exchanged": shown(
            itself or share(0, 0), OVER
        ),
        "The longer answer wins, of clear votes (0.5: no length bias)": shown(longer, OVER),
    }
