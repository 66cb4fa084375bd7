"""The schema, as append-only steps; sqlite-utils records which were applied. Nothing here knows what the rows are for."""

from sqlite_utils import Database, Migrations

from storage import tally_triggers

migrations = Migrations("plumbline")


@migrations()
def m001_rounds_and_votes(db: Database) -> None:
    """Rounds, their answers, and votes on them."""
    db["rounds"].create(
        {
            "id": str,  # random, cannot be guessed
            "created": str,
            "rater": str,  # who asked, a digest of their secret
            "persona": str,  # a library or saved persona; empty for a principle written on the spot
            "principles": str,  # JSON list of {text, weight}, as they entered the prompt
            "messages": str,  # JSON list of {role, content}: a conversation from the start, though the page sends one turn
            "settings": str,  # JSON of the decode settings, the seed among them
            "model": str,
            "model_revision": str,
            "adapter": str,  # the version the answers were sampled from; empty for the original model
            "blind": int,
            "first_arm": str,  # the hidden side order: what the voter saw first
            "second_arm": str,
            "app_version": str,
        },
        pk="id",
        not_null={"created", "rater", "principles", "messages", "settings", "model", "first_arm", "second_arm"},
    )
    db["answers"].create(
        {"round": str, "arm": str, "text": str, "token_ids": str, "finish_reason": str, "seconds": float},
        pk=("round", "arm"),
        foreign_keys=[("round", "rounds", "id")],
    )
    db["votes"].create(
        {
            "id": int,
            "created": str,
            "round": str,
            "rater": str,
            "choice": str,  # first, second, tie, both_bad: sides, not arms; the round knows which arm stood where
            "reason": str,
            "dwell_seconds": float,
            "consent_version": str,
        },
        pk="id",
        not_null={"round", "rater", "choice"},
        foreign_keys=[("round", "rounds", "id")],
    )
    # The rule behind "the first vote stands": one vote of one rater on one round, kept by the database itself.
    db["votes"].create_index(["round", "rater"], unique=True)
    db["rounds"].create_index(["persona"])


@migrations()
def m002_personas(db: Database) -> None:
    """Personas that people saved; the library's own are files."""
    db["personas"].create(
        {"id": str, "created": str, "rater": str, "name": str, "principle": str, "framing": str, "ratio": float},
        pk="id",
        not_null={"name", "principle", "framing"},
    )


@migrations()
def m003_versions(db: Database) -> None:
    """Adapter versions and what was published when; the last publication of a scope is the one in use."""
    db["versions"].create(
        {
            "id": str,  # v1, v2, ...: also the adapter's folder
            "created": str,
            "scope": str,  # a persona id, or empty for all
            "model": str,
            "model_revision": str,
            "settings": str,  # JSON of the refresh settings
            "pairs_train": int,
            "pairs_heldout": int,
            "metrics": str,  # JSON: before, after, losses, samples
            "seconds": float,
            "published": int,  # whether it passed the gate when it was made
            "reason": str,
        },
        pk="id",
    )
    db["publications"].create({"id": int, "created": str, "scope": str, "version": str}, pk="id")
    db["publications"].create_index(["scope"])


@migrations()
def m004_lineage(db: Database) -> None:
    """Where a version comes from, and whether it was deleted; objective and seed stand in its settings."""
    versions = db["versions"]
    versions.add_column("parent", str)  # the version in use before it; empty: the original model; NULL: not recorded
    versions.add_column("reference", str, not_null_default="base")  # what the objective measured against
    versions.add_column("origin", str, not_null_default="refresh")
    versions.add_column("deleted", str, not_null_default="")  # when; the row stays, so that no number is used twice
    # The oldest versions are from before there was a choice.
    db.execute(
        "update versions set settings = json_set(settings, '$.objective', 'dpo') where json_extract(settings, '$.objective') is null"
    )
    db["version_pairs"].create(
        # No foreign key to rounds: a person may take theirs away, and what a version learnt from is then only a number.
        {"version": str, "round": str, "held_out": int},
        pk=("version", "round"),
        foreign_keys=[("version", "versions", "id")],
    )


@migrations()
def m005_ai_votes(db: Database) -> None:
    """What annotators chose in the online loop. A table of its own: nothing that reads people's votes meets them."""
    db["ai_votes"].create(
        {
            "id": int,
            "created": str,
            "run": str,  # one run of the loop; its version, if it made one, names it in its metrics
            "step": int,
            "persona": str,  # what the run was for; empty for all
            "principle": str,  # as the annotator was asked
            "annotator": str,
            "annotator_model": str,
            "messages": str,  # JSON list of {role, content}
            "first": str,  # both answers of the policy at that step
            "second": str,
            "choice": str,  # first, second, or empty: the annotator could not tell
            "margin": float,  # in the annotator's own unit; null where it gives none
            "forwards": int,
            "prompt_tokens": int,
            "completion_tokens": int,
            "model": str,
            "model_revision": str,
        },
        pk="id",
        not_null={"run", "principle", "annotator", "messages", "first", "second", "choice"},
    )
    db["ai_votes"].create_index(["persona"])


@migrations()
def m006_studies(db: Database) -> None:
    """The labelling room: studies, their items, who was handed what, the raters; and what a vote says besides its choice."""
    db["studies"].create(
        {
            "id": str,  # random, cannot be guessed
            "created": str,
            "name": str,
            "arms": str,  # JSON list of the two arms
            "overlap": int,
            "repeat": float,
            "settings": str,  # JSON of the decode settings; every item draws from a seed of its own
            "adapter": str,
            "model": str,
            "model_revision": str,
            "state": str,
        },
        pk="id",
        not_null={"name", "arms", "overlap", "repeat", "settings", "state"},
    )
    db["studies"].create_index(["name"], unique=True)
    db["study_items"].create(
        {
            "id": int,
            "study": str,
            "position": int,
            "persona": str,
            "messages": str,  # JSON list of {role, content}
            "fault": str,  # why it could not be answered; empty as long as it may still be
        },
        pk="id",
        not_null={"study", "position", "persona", "messages"},
        foreign_keys=[("study", "studies", "id")],
        defaults={"fault": ""},
    )
    db["study_items"].create_index(["study", "position"], unique=True)
    # An item that was answered has two rounds: the same answers, the sides exchanged. A rater is shown one of them, and for a
    # repeat the other; so a vote is on a round as everywhere else.
    db["rounds"].add_column("item", int, fk="study_items", fk_col="id")
    db["rounds"].create_index(["item"])
    db["assignments"].create(
        {
            "id": int,
            "created": str,
            "item": int,
            "rater": str,
            "round": str,  # which side order was shown
            "repeat": int,  # 0, or 1 where the item came back
            "state": str,  # open, done, skipped
        },
        pk="id",
        not_null={"item", "rater", "round", "repeat", "state"},
        foreign_keys=[("item", "study_items", "id"), ("round", "rounds", "id")],
    )
    db["assignments"].create_index(["item", "rater", "repeat"], unique=True)
    db["assignments"].create_index(["rater", "state"])
    db["raters"].create(
        {"id": str, "created": str, "name": str, "kind": str, "consent_version": str, "consented": str},
        pk="id",
        not_null={"name", "kind", "consent_version", "consented"},
    )
    votes = db["votes"]
    votes.add_column("chips", str, not_null_default="[]")  # JSON list of the offered reasons that were picked
    votes.add_column("edited_side", str, not_null_default="")
    votes.add_column("edited", str, not_null_default="")
    votes.add_column("session", str, not_null_default="")
    votes.create_index(["rater"])
    # What was really deleted: only that it was, so that a copy elsewhere (the Hub sync) deletes it, too.
    db["tombstones"].create({"id": int, "created": str, "kind": str, "key": str}, pk="id", not_null={"kind", "key"})


@migrations()
def m008_insights(db: Database) -> None:
    """Counts of votes that triggers keep: `tallies` and `rater_tallies`, and `votes.counts`, whether a vote is among them."""
    tally_triggers.make(db)
