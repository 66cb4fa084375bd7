"""The columns of every export: name, type, and a sentence on what each holds. Knows neither rows nor files.

Every row of a file has all of them, with one type each, so that a column whose first values are empty reads as what it is.
"""

from dataclasses import dataclass

import pyarrow as pa

TEXT = pa.string()
MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
PRINCIPLES = pa.list_(pa.struct([("text", pa.string()), ("weight", pa.float64())]))


@dataclass(frozen=True)
class Column:
    """A column of an export."""

    name: str
    type: pa.DataType
    what: str


PROMPT = Column("prompt", MESSAGES, "The conversation up to the answer, as messages.")
SIDE = Column("side", TEXT, "The side on which that answer was shown: first or second.")
PROVENANCE = (
    Column("persona", TEXT, "The persona that was chosen; empty: a principle in the asker's own words."),
    Column("study", TEXT, "The study that the prompt was labelled in; empty: none."),
    Column("principles", PRINCIPLES, "What a good answer was said to be, as it entered the prompt, with its weight."),
    Column("with_principle", pa.bool_(), "Whether this file's prompt holds the principles, as a system message."),
    Column("reason", TEXT, "The rater's own words on why; empty: none were given."),
    Column("chips", pa.list_(TEXT), "The offered reasons that the rater picked."),
    Column("blind", pa.bool_(), "Whether the sides were drawn by lot and the arms hidden until the vote."),
    Column("settings", TEXT, "JSON of the decode settings, the seed among them."),
    Column("seed", pa.int64(), "The seed that the answers were sampled with; -1: not recorded."),
    Column("model", TEXT, "The language model."),
    Column("model_revision", TEXT, "Its revision."),
    Column("adapter", TEXT, "The adapter version that it answered with; empty: the original model."),
    Column("rater", TEXT, "Who voted, under a pseudonym: a digest of a secret that only the rater's browser knows."),
    Column("round", TEXT, "The comparison; rows of one comparison share it."),
    Column("created", TEXT, "When the vote was cast, in UTC."),
    Column("consent_version", TEXT, "The version of the consent text that the rater agreed to; empty: none was asked for."),
    Column("app_version", TEXT, "The version of Plumbline."),
)  # fmt: skip
BY_AN_ANNOTATOR = (
    Column("annotator", TEXT, "The judge that chose in place of a person; empty: a person chose."),
    Column("annotator_model", TEXT, "The judge's model; empty: a person chose."),
    Column("margin", pa.float64(), "By how much the judge preferred it, in its own unit; missing where it gives none."),
    Column("run", TEXT, "The run of the online loop; empty: a person chose."),
    Column("step", pa.int64(), "The step of that run."),
)
COLUMNS = {
    "preference": (
        PROMPT,
        Column("chosen", MESSAGES, "The answer that was preferred, as one message."),
        Column("rejected", MESSAGES, "The other answer."),
        Column("chosen_arm", TEXT, "How the preferred answer was made: baseline, principle_prompted or linear_aligned."),
        Column("rejected_arm", TEXT, "How the other was made."),
        Column("chosen_side", TEXT, "The side on which the preferred answer was shown: first or second."),
        *PROVENANCE,
    ),
    "unpaired": (
        PROMPT,
        Column("completion", MESSAGES, "One answer, as one message."),
        Column("label", pa.bool_(), "Whether it is a good answer."),
        Column("arm", TEXT, "How it was made; of a rewritten answer, how the original was."),
        SIDE,
        Column("edited", pa.bool_(), "Whether it is an answer as the rater rewrote it."),
        *PROVENANCE,
    ),
    "demonstrations": (
        PROMPT,
        Column("completion", MESSAGES, "The answer as the rater rewrote it, as one message."),
        Column("original", TEXT, "The answer that was rewritten."),
        Column("arm", TEXT, "How the original was made."),
        SIDE,
        *PROVENANCE,
    ),
    "votes": (
        PROMPT,
        Column("first", TEXT, "The answer on the first side."),
        Column("second", TEXT, "The answer on the second side."),
        Column("first_arm", TEXT, "How the first answer was made: baseline, principle_prompted or linear_aligned."),
        Column("second_arm", TEXT, "How the second answer was made."),
        Column("first_finish", TEXT, "How the first answer ended: end, length, cancelled or deadline."),
        Column("second_finish", TEXT, "How the second answer ended."),
        Column("choice", TEXT, "What the rater chose, by side: first, second, tie or both_bad."),
        Column("chosen_arm", TEXT, "How the preferred answer was made; empty: none was preferred."),
        Column("edited_side", TEXT, "The side whose answer the rater rewrote; empty: none."),
        Column("edited", TEXT, "That answer as the rater rewrote it."),
        Column("dwell_seconds", pa.float64(), "Seconds from the end of the answers to the choice; missing where not known."),
        Column("session", TEXT, "One visit of the rater's, by lot."),
        *PROVENANCE,
    ),
}  # fmt: skip


def columns_of(format_: str, with_ai_votes: bool = False) -> tuple[Column, ...]:
    """The columns of a format, with those of annotators where their votes are in the file."""
    return COLUMNS[format_] + (BY_AN_ANNOTATOR if with_ai_votes else ())


def schema_of(columns: tuple[Column, ...]) -> pa.Schema:
    """The columns as Arrow knows them."""
    return pa.schema([(column.name, column.type) for column in columns])
