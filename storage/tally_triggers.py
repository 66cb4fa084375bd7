"""What migration m008 makes: counts of people's votes that the database itself keeps up to date, so that a million need no counting.

Two tables, kept by triggers on `votes`: `tallies` by day, `rater_tallies` by rater. Annotators' votes stand in a table of their own and
come into neither. It is frozen with its migration: a later change of the schema is a later migration.
"""

from sqlite_utils import Database

ENTITY = "r.{side}_arm || case coalesce(r.adapter, '') when '' then '' else ' @ ' || r.adapter end"
STUDY = "coalesce((select study from study_items where id = r.item), '')"
SHARED = {
    "study": STUDY,
    "persona": "coalesce(r.persona, '')",
    "blind": "coalesce(r.blind, 0)",
    "first": ENTITY.format(side="first"),
    "second": ENTITY.format(side="second"),
    "choice": "{vote}.choice",
}
TABLES = {
    "tallies": {**SHARED, "day": "substr({vote}.created, 1, 10)"},
    "rater_tallies": {"rater": "{vote}.rater", **SHARED},
}
# The same votes as `export.decisive` takes, ties and both bad among them: on two answers that are whole and different.
COUNTS = """
    exists (select 1 from rounds r
    join answers f on f.round = r.id and f.arm = r.first_arm
    join answers s on s.round = r.id and s.arm = r.second_arm
    where r.id = {vote}.round and f.text <> s.text
    and trim(f.text, char(32, 10, 9, 13)) <> '' and trim(s.text, char(32, 10, 9, 13)) <> ''
    and f.finish_reason not in ('cancelled', 'deadline') and s.finish_reason not in ('cancelled', 'deadline'))
"""


def make(db: Database) -> None:
    """Adds `votes.counts`, both tables and the triggers, and counts what is there."""
    db["votes"].add_column("counts", int, not_null_default=0)
    db.execute(f"update votes set counts = {COUNTS.format(vote='votes')}")
    for table, key in TABLES.items():
        columns = ", ".join(key)
        declared = ", ".join(f"{name} {'integer' if name == 'blind' else 'text'} not null" for name in key)
        db.execute(f"create table {table} ({declared}, votes integer not null, primary key ({columns})) without rowid")
        values = ", ".join(key.values()).format(vote="v")
        db.execute(
            f"insert into {table} select {values}, count(*) from votes v join rounds r on r.id = v.round "
            f"where v.counts group by {', '.join(map(str, range(1, len(key) + 1)))}"
        )
    db.execute(f"create trigger votes_tallied after insert on votes begin {_added()} end")
    db.execute(f"create trigger votes_untallied after delete on votes begin {_taken_away()} end")
    db.execute(
        "create trigger votes_tallied_anew after update of round, rater, choice, created on votes "
        f"begin {_taken_away()} {_added()} end"
    )


def _added() -> str:
    statements = [f"update votes set counts = {COUNTS.format(vote='new')} where id = new.id;"]
    for table, key in TABLES.items():
        values = ", ".join(key.values()).format(vote="new")
        statements.append(
            f"insert into {table} select {values}, 1 from rounds r where r.id = new.round "
            f"and (select counts from votes where id = new.id) on conflict do update set votes = votes + 1;"
        )
    return " ".join(statements)


def _taken_away() -> str:
    statements = []
    for table, key in TABLES.items():
        row = f"({', '.join(key)}) = (select {', '.join(key.values())} from rounds r where r.id = old.round)".format(
            vote="old"
        )
        statements.append(f"update {table} set votes = votes - 1 where old.counts and {row};")
        # Nothing that names a rater stays once their votes are gone.
        statements.append(f"delete from {table} where votes = 0 and {row};")
    return " ".join(statements)
