"""The schema, as append-only steps; sqlite-utils records which were applied. Nothing here knows what the rows are for."""

import sqlite3

from sqlite_utils import Database, Migrations

from storage import ban_triggers, tally_triggers

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
def m007_imports_and_search(db: Database) -> None:
    """Pairs that were collected elsewhere, and the words of rounds and votes in one table with a full-text index."""
    db["imported_pairs"].create(
        {
            "id": int,
            "created": str,
            "source": str,  # the name of the file
            "line": int,
            "persona": str,  # whom the pairs are for; empty for all
            "prompt": str,  # JSON list of {role, content}
            "chosen": str,
            "rejected": str,
            "extra": str,  # JSON object of the file's other plain columns
        },
        pk="id",
        not_null={"created", "source", "line", "persona", "prompt", "chosen", "rejected", "extra"},
    )
    db["imported_pairs"].create_index(["source", "line"], unique=True)
    db["imported_pairs"].create_index(["persona"])
    # The words stand here a second time, under a row number that VACUUM keeps: the index refers to it, and rounds, answers and
    # votes come and go.
    db["texts"].create(
        {
            "id": int,
            "round": str,
            "part": str,  # prompt, answer, reason, edited
            "key": str,  # of a prompt the number of the message, of an answer its arm, of the others the rater
            "text": str,
        },
        pk="id",
        not_null={"round", "part", "key", "text"},
        foreign_keys=[("round", "rounds", "id")],
    )
    db["texts"].create_index(["round"])
    # Statement by statement: a script would commit what stands before it, and the steps are one transaction.
    db.execute(
        "create virtual table texts_fts using fts5"
        '(text, tokenize=\'unicode61 remove_diacritics 2\', content="texts", content_rowid="id")'
    )
    if sqlite3.sqlite_version_info >= (3, 42):  # earlier ones keep a deleted word in the index until it is merged
        db.execute("insert into texts_fts(texts_fts, rank) values ('secure-delete', 1)")
    add = "insert into texts(round, part, key, text) select"
    messages = "json_each(iif(json_valid(new.messages), new.messages, '[]'))"
    content = "json_extract(value, '$.content')"
    add_prompt = f"{add} new.id, 'prompt', key, {content} from {messages} where {content} <> ''"
    add_answer = f"{add} new.round, 'answer', new.arm, new.text where new.text <> ''"
    add_reason = f"{add} new.round, 'reason', new.rater, new.reason where new.reason <> ''"
    add_edited = f"{add} new.round, 'edited', new.rater, new.edited where new.edited <> ''"
    drop_prompt = "delete from texts where round = old.id and part = 'prompt'"
    drop_answer = "delete from texts where round = old.round and part = 'answer' and key = old.arm"
    drop_vote = "delete from texts where round = old.round and part in ('reason', 'edited') and key = old.rater"
    index = "insert into texts_fts(rowid, text) values (new.id, new.text)"
    drop_index = "insert into texts_fts(texts_fts, rowid, text) values ('delete', old.id, old.text)"
    triggers = {
        "texts_added after insert on texts": [index],
        "texts_deleted after delete on texts": [drop_index],
        "texts_changed after update of text on texts": [drop_index, index],
        "rounds_texts_added after insert on rounds": [add_prompt],
        "rounds_texts_changed after update of messages on rounds": [drop_prompt, add_prompt],
        "rounds_texts_deleted after delete on rounds": ["delete from texts where round = old.id"],
        "answers_texts_added after insert on answers": [add_answer],
        "answers_texts_changed after update of text on answers": [drop_answer, add_answer],
        "answers_texts_deleted after delete on answers": [drop_answer],
        "votes_texts_added after insert on votes": [add_reason, add_edited],
        "votes_texts_changed after update of reason, edited on votes": [drop_vote, add_reason, add_edited],
        "votes_texts_deleted after delete on votes": [drop_vote],
    }
    for event, statements in triggers.items():
        db.execute(f"create trigger {event} begin {'; '.join(statements)}; end")
    # What is there already passes through the triggers once.
    for table, column in {"rounds": "messages", "answers": "text", "votes": "reason"}.items():
        db.execute(f"update {table} set {column} = {column}")


@migrations()
def m008_insights(db: Database) -> None:
    """Counts of votes that triggers keep: `tallies` and `rater_tallies`, and `votes.counts`, whether a vote is among them."""
    tally_triggers.make(db)


@migrations()
def m009_sync(db: Database) -> None:
    """What has still to be told to the dataset on the Hub, and how far that has come."""
    # Autoincrement: a number is never used again, also after the table was emptied.
    db.execute("create table outbox (id integer primary key autoincrement, at text, kind text, key text)")
    db["outbox"].create_index(["kind", "key"])
    db["sync"].create(
        {
            "id": int,  # 1: there is one row, and none while the sync is off
            "dataset": str,
            "last_synced": str,  # when the dataset last took something or was read; empty: never
            "fault": str,  # why the last attempt failed; empty: it did not
            "unreadable": int,  # lines of the dataset that were passed over
            "compact": int,  # whether lines of what was deleted may still stand in the dataset
        },
        pk="id",
        not_null={"dataset", "last_synced", "fault", "unreadable", "compact"},
        defaults={"last_synced": "", "fault": "", "unreadable": 0, "compact": 0},
    )


@migrations()
def m010_owner(db: Database) -> None:
    """Raters whose votes do not count, and versions that are one rater's own."""
    versions = db["versions"]
    versions.add_column("rater", str, not_null_default="")  # whose it is; empty: the page's
    versions.create_index(["rater"])
    db["bans"].create({"rater": str, "created": str, "reason": str}, pk="rater", not_null={"created", "reason"})
    ban_triggers.make(db)


@migrations()
def m012_own_personas(db: Database) -> None:
    """A saved persona is its rater's own until the owner of the page agrees to offer it to everybody; it may mix several principles."""
    personas = db["personas"]
    personas.add_column("weight", float, not_null_default=1.0)  # of its principle in the mix
    personas.add_column("mix", str, not_null_default="[]")  # JSON list of {text, framing, weight}: what is mixed in
    personas.add_column("link", str, not_null_default="")  # random: whoever knows it may read the persona
    personas.add_column("public_wanted", int, not_null_default=0)
    personas.add_column("public_approved", int, not_null_default=0)
    # The oldest ones were saved when every persona was everybody's.
    db.execute("update personas set public_wanted = 1, public_approved = 1, link = lower(hex(randomblob(12)))")
