"""What migration m010 makes: a banned rater's votes stay, and `votes.counts` and the tallies leave them out until the ban is lifted.

It is frozen with its migration; what the triggers count stands in `tally_triggers`.
"""

from sqlite_utils import Database

from storage.tally_triggers import COUNTS, make_adding

COUNTS_UNLESS_BANNED = f"{COUNTS} and not exists (select 1 from bans where bans.rater = {{vote}}.rater)"


def make(db: Database) -> None:
    """Makes the tallies' triggers anew, and adds those that count a rater's votes again when a ban comes or goes."""
    for name in ("votes_tallied", "votes_tallied_anew"):
        db.execute(f"drop trigger {name}")
    make_adding(db, COUNTS_UNLESS_BANNED)
    for event, row in (("insert", "new"), ("delete", "old")):
        # A vote that is written again as it is passes through `votes_tallied_anew`.
        db.execute(
            f"create trigger bans_counted_{event} after {event} on bans begin "
            f"update votes set created = created where rater = {row}.rater; end"
        )
