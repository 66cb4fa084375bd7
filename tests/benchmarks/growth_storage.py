"""How the cost of the store and of the persona list grows with what is in them. Knows the store and the catalogue; no model.

`cpu` is the processor's share of the time: what is missing to 1 was spent waiting for the disk.
"""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from statistics import median
from typing import Any

from sqlite_utils import Database

from app.catalogue import Catalogue
from app.embedding import Embedder
from personas import load_library
from storage.records import Answer, Round, SavedPersona, Vote
from storage.store import Store

VOTES = (1_000, 10_000, 100_000)
PERSONAS = (24, 240, 2_400)
PEOPLE, KINDS = 50, 24  # raters, and personas among which the votes are spread
NEW_VOTES = 20

Points = list[dict[str, Any]]


def measure(folder: Path, repeats: int, sizes: int | None) -> dict[str, Points]:
    """Points along votes and personas, each in a store of its own."""
    return {
        "votes": _votes(Store(folder / "votes"), repeats, sizes),
        "personas": _personas(Store(folder / "personas"), repeats, sizes),
    }


def _votes(store: Store, repeats: int, sizes: int | None) -> Points:
    points: Points = []
    for size in VOTES[:sizes]:
        fill(store, size)
        points.append(
            {
                "votes": size,
                **_timed("count", lambda: store.count_decisive(), repeats),
                **_timed("count_of_persona", lambda: store.count_decisive("p0"), repeats),
                **_timed("read", lambda: store.votes(), repeats),
                **_timed("read_of_persona", lambda: store.votes("p0"), repeats),
                **_timed("read_rows_only", lambda: _rows_only(store), repeats),
                **_timed("vote", _voting(store, NEW_VOTES), NEW_VOTES, warm=False),
            }
        )
    return points


def _personas(store: Store, repeats: int, sizes: int | None) -> Points:
    library, points, saved = load_library(), [], 0
    catalogue = Catalogue(library, store, Embedder("starter"))
    for size in PERSONAS[:sizes]:
        while saved < size - len(library):
            store.save_persona(SavedPersona(f"own_{saved}", f"r{saved % PEOPLE}", f"Own {saved}", "Be kind.", "principle", 2.0))  # fmt: skip
            saved += 1
        points.append(
            {
                "personas": size,
                **_timed("all", catalogue.all, repeats),
                **_timed("get", lambda: catalogue.get("pirate"), repeats),
            }
        )
    return points


def fill(store: Store, votes: int) -> None:
    """Brings the store to so many rounds with a vote each. The product writes the first; the others are copies of its rows, put in
    as one transaction, since a transaction each would take hours."""
    if not store.counts()["votes"]:
        _voting(store, 1)()
    with closing(sqlite3.connect(store.path)) as connection:
        db = Database(connection)
        first = next(iter(db["rounds"].rows))
        answers = list(db["answers"].rows_where("round = ?", [first["id"]]))
        vote = next(iter(db["votes"].rows_where("round = ?", [first["id"]])))
        del vote["id"]
        numbers = range(db["votes"].count, votes)
        with db.atomic():
            db["rounds"].insert_all({**first, "id": f"copy-{i}", "persona": f"p{i % KINDS}"} for i in numbers)
            db["answers"].insert_all({**answer, "round": f"copy-{i}"} for i in numbers for answer in answers)
            db["votes"].insert_all({**vote, "round": f"copy-{i}", "rater": f"r{i % PEOPLE}"} for i in numbers)


def _voting(store: Store, rounds: int) -> Callable[[], object]:
    # Each call votes on the next round that waits; the rounds are stored before the clock runs.
    texts = {"baseline": "The sky is blue because air scatters short waves more. " * 3, "linear_aligned": "Air does."}
    answers = {arm: Answer(arm, text, list(range(60)), "end", 0.5) for arm, text in texts.items()}
    there = store.counts()["rounds"]
    waiting = [f"new-{there + i}" for i in range(rounds)]
    for round_id in waiting:
        store.add_round(
            Round(
                id=round_id, rater="r0", persona="p0", principles=[{"text": "Be brief.", "weight": 1.0}],
                messages=[{"role": "user", "content": "Why is the sky blue?"}], settings={"ratio": 2.0}, model="starter",
                model_revision="0", adapter="", blind=True, first_arm="baseline", second_arm="linear_aligned",
                app_version="0", answers=answers,
            )
        )  # fmt: skip
    return lambda: store.vote(Vote(waiting.pop(), "r0", "second"))


def _rows_only(store: Store) -> None:
    # What reading every vote costs before anything is made of the rows.
    with closing(sqlite3.connect(store.path)) as connection:
        for table in ("votes", "rounds", "answers"):
            connection.execute(f"select * from {table}").fetchall()  # noqa: S608


def _timed(name: str, function: Callable[[], object], repeats: int, warm: bool = True) -> dict[str, float]:
    walls, processors = [], []
    if warm:
        function()
    for _ in range(repeats):
        started, processor = time.perf_counter(), time.process_time()
        function()
        processors.append(time.process_time() - processor)
        walls.append(time.perf_counter() - started)
    return {f"{name}_seconds": median(walls), f"{name}_cpu": sum(processors) / sum(walls)}
