"""Looking through the collected rounds: pages of those that are wanted, and one of them with everything that made it.

It reads; who may look is not decided here, and nothing is made ready for a page here.
"""

import json
from dataclasses import dataclass
from typing import Any

from storage.database import DatabaseFile
from storage.records import Round, Vote
from storage.rows import vote_of
from storage.search import HITS, as_phrases
from storage.store import Store

PAGE = 20
NOT_VOTED = "none"
# A side of a comparison of two versions is called by its arm and version, as `baseline @ v3`, and then the round itself names none.
NAME, BETWEEN = "r.{side}_arm", " @ "
ARM = f"case instr({NAME}, '{BETWEEN}') when 0 then {NAME} else substr({NAME}, 1, instr({NAME}, '{BETWEEN}') - 1) end"
VERSION = f"case instr({NAME}, '{BETWEEN}') when 0 then coalesce(r.adapter, '') else substr({NAME}, instr({NAME}, '{BETWEEN}') + {len(BETWEEN)}) end"
FROM = """
    from rounds r left join study_items i on i.id = r.item left join studies s on s.id = i.study
"""
CONDITIONS = {
    "persona": "r.persona = :persona",
    "study": "s.name = :study",
    "arm": f":arm in ({ARM.format(side='first')}, {ARM.format(side='second')})",
    "version": f":version in ({VERSION.format(side='first')}, {VERSION.format(side='second')})",
    "rater": "exists (select 1 from votes v where v.round = r.id and substr(v.rater, 1, length(:rater)) = :rater)",
    "choice": "exists (select 1 from votes v where v.round = r.id and v.choice = :choice)",
    "words": f"r.id in (select round from texts where id in ({HITS}))",
    "ids": "r.id in (select value from json_each(:ids))",
}
WITHOUT_VOTE = "not exists (select 1 from votes v where v.round = r.id)"


@dataclass(frozen=True)
class Wanted:
    """Which rounds; all that is asked for has to hold. None asks for nothing.

    persona: "" is a principle in the asker's own words.
    version: one that answered either side; "" is the original model.
    study: by name.
    choice: a choice that one of its votes has, or `NOT_VOTED`.
    arm: one of the two that were shown.
    rater: how the pseudonym of one who voted begins.
    words: words that stand together in its prompt, an answer or a reason.
    ids: of these rounds, in this order.
    """

    persona: str | None = None
    study: str | None = None
    choice: str | None = None
    arm: str | None = None
    version: str | None = None
    rater: str | None = None
    words: str | None = None
    ids: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Entry:
    """A round in a list. `choices` are those of its votes, by side, in the order in which they came; `versions` see `versions_of`."""

    id: str
    created: str
    persona: str
    study: str
    prompt: str
    first_arm: str
    second_arm: str
    versions: tuple[str, ...]
    choices: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """Some of the rounds that were found. `number` counts from 0, `found` is how many there are in all."""

    entries: tuple[Entry, ...]
    number: int
    found: int

    @property
    def last(self) -> int:
        """The number of the last page."""
        return max(0, (self.found - 1) // PAGE)


@dataclass(frozen=True)
class Opened:
    """A round with its votes. `study` is its name or empty, `names` what raters call themselves, by their pseudonym."""

    round: Round
    votes: tuple[Vote, ...]
    study: str
    names: dict[str, str]


def page(database: DatabaseFile, wanted: Wanted, number: int = 0) -> Page:
    """A page of the rounds that are wanted: the newest first, or in the order of `ids`. Past the end it is the last page.

    Raises:
        InputError: the words hold nothing to search for, or are too long.
    """
    values: dict[str, Any] = {key: value for key, value in vars(wanted).items() if value is not None}
    conditions = [CONDITIONS[key] for key in values]
    if values.get("choice") == NOT_VOTED:
        conditions[list(values).index("choice")] = WITHOUT_VOTE
    if wanted.words is not None:
        values["words"] = as_phrases(wanted.words)
    order = "r.rowid desc"
    if wanted.ids is not None:
        values["ids"] = json.dumps(wanted.ids)
        order = "(select key from json_each(:ids) where value = r.id)"
    where = f"where {' and '.join(conditions)}" if conditions else ""
    with database.open() as db, db.atomic():
        found = db.execute(f"select count(*) {FROM} {where}", values).fetchone()[0]
        number = max(0, min(number, (found - 1) // PAGE))
        rows = db.query(
            f"""
            select r.id, r.created, r.persona, coalesce(s.name, '') as study, r.first_arm, r.second_arm, r.adapter,
                json_extract(r.messages, '$[#-1].content') as prompt,
                (select json_group_array(choice) from (select choice from votes where round = r.id order by id)) as choices
            {FROM} {where} order by {order} limit {PAGE} offset :offset
            """,
            {**values, "offset": number * PAGE},
        )
        entries = tuple(_entry(row) for row in rows)
    return Page(entries, number, found)


def versions_of(first_arm: str, second_arm: str, adapter: str) -> tuple[str, ...]:
    """The versions that answered a round, "" for the original model: one, or where two were compared one a side."""
    return tuple(dict.fromkeys(arm.partition(BETWEEN)[2] or adapter for arm in (first_arm, second_arm)))


def _entry(row: dict[str, Any]) -> Entry:
    versions = versions_of(row["first_arm"], row["second_arm"], row.pop("adapter") or "")
    return Entry(**{**row, "versions": versions, "choices": tuple(json.loads(row["choices"]))})


def opened(store: Store, round_id: str) -> Opened:
    """A round with its votes, oldest first.

    Raises:
        NotFoundError: no such round.
    """
    round_ = store.round(round_id)
    with store.database.open() as db:
        votes = tuple(map(vote_of, db["votes"].rows_where("round = ?", [round_id], order_by="id")))
        studies = db.execute(
            "select s.name from study_items i join studies s on s.id = i.study where i.id = ?", [round_.item]
        ).fetchall()
        names = dict(
            db.execute(
                "select id, name from raters where id in (select rater from votes where round = ?)", [round_id]
            ).fetchall()
        )
    return Opened(round_, votes, studies[0][0] if studies else "", names)


def choices_to_filter(database: DatabaseFile) -> dict[str, list[str]]:
    """The personas, studies and versions that there are rounds of, each sorted."""
    with database.open() as db:
        return {
            "persona": [row[0] for row in db.execute("select distinct persona from rounds order by 1")],
            "study": [row[0] for row in db.execute("select name from studies order by 1")],
            "version": [
                row[0]
                for row in db.execute(
                    f"select {VERSION.format(side='first')} from rounds r union select {VERSION.format(side='second')} from rounds r order by 1"
                )
            ],
        }
