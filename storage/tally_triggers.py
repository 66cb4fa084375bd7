"""What migration m008 makes: counts of people's votes that the database itself keeps up to date, so that a million need no counting.

Two tables, kept by triggers on `votes`: `tallies` by day, `rater_tallies` by rater. Annotators' votes stand in a table of their own and
come into neither. It is frozen with its migration: a later change of the schema is a later migration.
"""

from sqlite_utils import Database

ENTITY = "r.{side}_arm || case coalesce(r.adapter, '') when '' then '' else ' @ ' || r.adapter end"
FIRST, SECOND = ENTITY.format(side="first"), ENTITY.format(side="second")
# `one` is the entity whose name sorts first; with all outcomes in one row there are far fewer rows than votes.
PAIR = {"one": f"min({FIRST}, {SECOND})", "other": f"max({FIRST}, {SECOND})"}
ROUND = {
    "study": "coalesce((select study from study_items where id = r.item), '')",
    "persona": "coalesce(r.persona, '')",
    "blind": "coalesce(r.blind, 0)",
}
TABLES = {
    "tallies": {**PAIR, "day": "substr({vote}.created, 1, 10)", **ROUND},
    "rater_tallies": {"rater": "{vote}.rater", **PAIR, **ROUND},
}
OUTCOMES = {
    "one_first": f"({{vote}}.choice = 'first' and {FIRST} < {SECOND})",  # `one` was preferred and stood first
    "one_second": f"({{vote}}.choice = 'second' and {FIRST} > {SECOND})",
    "other_first": f"({{vote}}.choice = 'first' and {FIRST} > {SECOND})",
    "other_second": f"({{vote}}.choice = 'second' and {FIRST} < {SECOND})",
    "ties": "({vote}.choice = 'tie')",
    "both_bad": "({vote}.choice = 'both_bad')",
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
        columns = [f"{name} {'integer' if name == 'blind' else 'text'} not null" for name in key]
        columns += [f"{name} integer not null" for name in OUTCOMES]
        db.execute(f"create table {table} ({', '.join(columns)}, primary key ({', '.join(key)})) without rowid")
        sums = ", ".join(f"sum({outcome})" for outcome in OUTCOMES.values())
        db.execute(
            f"insert into {table} select {', '.join(key.values())}, {sums} from votes v join rounds r on r.id = v.round "
            f"where v.counts group by {', '.join(str(i + 1) for i in range(len(key)))}".format(vote="v")
        )
    make_adding(db, COUNTS)
    db.execute(f"create trigger votes_untallied after delete on votes begin {_taken_away()} end")


def make_adding(db: Database, counts: str) -> None:
    """Adds the triggers of votes that come or change, under a condition as `COUNTS` is one."""
    db.execute(f"create trigger votes_tallied after insert on votes begin {_added(counts)} end")
    db.execute(
        "create trigger votes_tallied_anew after update of round, rater, choice, created on votes "
        f"begin {_taken_away()} {_added(counts)} end"
    )


def _added(counts: str) -> str:
    statements = [f"update votes set counts = {counts} where id = new.id;"]
    for table, key in TABLES.items():
        more = ", ".join(f"{name} = {name} + excluded.{name}" for name in OUTCOMES)
        statements.append(
            f"insert into {table} select {', '.join([*key.values(), *OUTCOMES.values()])} from rounds r where r.id = new.round "
            f"and (select counts from votes where id = new.id) on conflict do update set {more};"
        )
    return " ".join(statements).format(vote="new")


def _taken_away() -> str:
    statements = []
    for table, key in TABLES.items():
        row = f"({', '.join(key)}) = (select {', '.join(key.values())} from rounds r where r.id = old.round)"
        less = ", ".join(f"{name} - {outcome}" for name, outcome in OUTCOMES.items())
        statements.append(
            f"update {table} set ({', '.join(OUTCOMES)}) = (select {less} from rounds r where r.id = old.round) "
            f"where old.counts and {row};"
        )
        # Nothing that names a rater stays once their votes are gone.
        statements.append(f"delete from {table} where {' + '.join(OUTCOMES)} = 0 and {row};")
    return " ".join(statements).format(vote="old")
