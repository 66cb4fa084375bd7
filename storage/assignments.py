"""Who labels what: items are handed out, skipped, labelled and taken back, each in one transaction. Knows neither texts nor models.

Every item gets as many raters as the study wants, none twice; a share of a rater's items comes back with the sides exchanged. Which
side order somebody sees is decided here, by lot within bounds: exchanged strictly in turn, a rater could foretell it.
"""

import random
from datetime import timedelta
from typing import Any

from sqlite_utils import Database

from app.errors import InputError, NotFoundError
from storage.clock import moment
from storage.database import DatabaseFile, now
from storage.records import Choice, Handed, Study

RESERVED = timedelta(minutes=30)  # how long a task that somebody has before them keeps its place
GAP = 5  # tasks between an item and its repeat, unless nothing else is left
LEAN = 2  # how many more tasks a rater may get with one side order than with the other
LOT = random.SystemRandom()

TAKEN = "a.repeat = 0 and (a.state in ('done', 'revealed') or (a.state = 'open' and a.created > :cutoff))"
# Items that this rater may get, answered or not, best first. `lean`: how much oftener an item was shown with the study's first arm on
# the first side; an item leans by 1 at the most, and the next rater sees it the other way round.
FREE = f"""
    with shown as (select i.persona, i.messages from assignments a join study_items i on i.id = a.item
            where a.rater = :rater and a.repeat = 0 and i.study = :study),
        personas as (select persona, count(*) as times from shown group by persona),
        prompts as (select messages, count(*) as times from shown group by messages),
        free as (select i.*, count(a.id) as taken,
                coalesce(sum(case when a.id is null then 0 when r.first_arm = :arm then 1 else -1 end), 0) as lean,
                exists (select 1 from rounds x where x.item = i.id) as answered
            from study_items i left join assignments a on a.item = i.id and {TAKEN} left join rounds r on r.id = a.round
            where i.study = :study and i.fault = ''
                and not exists (select 1 from assignments m where m.item = i.id and m.rater = :rater)
            group by i.id having taken < :overlap)
    select free.id, lean, answered, count(*) over () as total, sum(answered) over () as ready
    from free left join personas p on p.persona = free.persona left join prompts q on q.messages = free.messages
    order by answered desc, taken, lean * :mine < 0 and abs(:mine) >= :bound,
        coalesce(p.times, 0), coalesce(q.times, 0), free.position
    limit 1
"""
OF_RATER = """
    select a.*, r.first_arm from assignments a join study_items i on i.id = a.item join rounds r on r.id = a.round
    where a.rater = ? and i.study = ? order by a.id
"""


class Assignments:
    """Hands out the items of studies.

    Args:
        database: migrated, see `Store.database`.
    """

    def __init__(self, database: DatabaseFile):
        self._database = database

    def hand_out(self, study: Study, rater: str) -> Handed:
        """What this rater labels next. A task that is open already comes first, so that a reload or a second tab shows the same.

        Nothing is handed out of a closed study, nor to a rater who was told which arm was which.
        """
        with self._database.write() as db:
            state = next(db["studies"].rows_where("id = ?", [study.id], select="state"))["state"]
            mine = list(db.query(OF_RATER, [rater, study.id]))
            if state != "open" or any(a["state"] == "revealed" for a in mine):
                done = _count_done(mine)
                return Handed("", 0, done, done)
            held = self._still_held(db, study, mine)
            best = self._best_free(db, study, rater, mine)
            free, ready = (best["total"], best["ready"]) if best else (0, 0)
            if not held:
                again = _to_repeat(mine, study.repeat, nothing_else=free == 0)
                if again:
                    held = _hand(db, again["item"], rater, _other_round(db, again), repeat=1)
                elif ready:
                    held = _hand(db, best["id"], rater, _round_for(db, best, study, mine), repeat=0)
                    free, ready = free - 1, ready - 1
                if held:
                    mine.append(held)
        done, open_ = _count_done(mine), sum(a["state"] == "open" for a in mine)
        firsts = free + sum(not a["repeat"] and a["state"] in ("done", "open") for a in mine)
        repeats = max(0, _repeats_wanted(firsts, study.repeat) - sum(a["repeat"] for a in mine))
        return Handed(held["round"] if held else "", free - ready, done, done + open_ + free + repeats)

    def skip(self, round_id: str, rater: str) -> None:
        """Gives a task back unlabelled; this rater does not get it again. A second time does nothing.

        Raises:
            NotFoundError: the rater does not have this round.
            InputError: it was labelled already.
        """
        with self._database.write() as db:
            row = _assignment(db, round_id, rater)
            if row["state"] in ("done", "revealed"):
                raise InputError("this task was labelled already and cannot be skipped; undo takes the last label back")
            db["assignments"].update(row["id"], {"state": "skipped"})

    def undo(self, study: Study, rater: str) -> bool:
        """Takes the rater's last vote of a study back and opens its task again; returns whether there was one.

        Raises:
            InputError: the rater was told which arm was which, or the study is closed.
        """
        last = """
            select v.id as vote, a.id as assignment, a.state from votes v
            join assignments a on a.round = v.round and a.rater = v.rater join study_items i on i.id = a.item
            where v.rater = ? and i.study = ? order by v.id desc limit 1
        """
        with self._database.write() as db:
            row = next(db.query(last, [rater, study.id]), None)
            if row is None:
                return False
            if row["state"] == "revealed":
                raise InputError(
                    "you have been told which answer was which; after that no choice of this study can be taken back"
                )
            if next(db["studies"].rows_where("id = ?", [study.id]))["state"] != "open":
                raise InputError(f"the study {study.name!r} is closed; its choices stand")
            db["votes"].delete(row["vote"])
            db["assignments"].update(row["assignment"], {"state": "open", "created": now()})
        return True

    def reveal(self, study: Study, rater: str) -> list[tuple[str, Choice]]:
        """The rounds of a study that this rater voted on, in that order, with the choices, which cannot be taken back any more."""
        voted = """
            select v.round, v.choice from votes v join rounds r on r.id = v.round join study_items i on i.id = r.item
            where v.rater = ? and i.study = ? order by v.id
        """
        revealed = """
            update assignments set state = 'revealed'
            where rater = ? and state = 'done' and item in (select id from study_items where study = ?)
        """
        with self._database.write() as db:
            rounds = [(row["round"], row["choice"]) for row in db.query(voted, [rater, study.id])]
            db.execute(revealed, [rater, study.id])
        return rounds

    def _still_held(self, db: Database, study: Study, mine: list[dict[str, Any]]) -> dict[str, Any] | None:
        """The rater's oldest open task, its time renewed. One that lay so long that others took its place is given up."""
        taken = f"select count(*) as others from assignments a where a.item = :item and a.id <> :id and {TAKEN}"
        for row in [a for a in mine if a["state"] == "open"]:
            others = next(db.query(taken, {"item": row["item"], "id": row["id"], "cutoff": _cutoff()}))["others"]
            if row["repeat"] or row["created"] > _cutoff() or others < study.overlap:
                db["assignments"].update(row["id"], {"created": now()})
                return row
            db["assignments"].delete(row["id"])
            mine.remove(row)
        return None

    def _best_free(self, db: Database, study: Study, rater: str, mine: list[dict[str, Any]]) -> dict[str, Any] | None:
        values = {
            "study": study.id,
            "rater": rater,
            "overlap": study.overlap,
            "cutoff": _cutoff(),
            "arm": study.arms[0],
            "mine": _lean(mine, study),
            "bound": LEAN,
        }
        return next(db.query(FREE, values), None)


def mark_done(db: Database, round_id: str, rater: str) -> None:
    """Within the transaction of a vote: the task is done. Does nothing for a round of no study.

    Raises:
        NotFoundError, InputError: the round is a study's, and this rater does not have it, or skipped it.
    """
    if next(db["rounds"].rows_where("id = ?", [round_id], select="item"))["item"] is None:
        return
    row = _assignment(db, round_id, rater)
    if row["state"] == "skipped":
        raise InputError("this task was skipped and may have gone to somebody else; please label the next one")
    if row["state"] == "open":
        db["assignments"].update(row["id"], {"state": "done"})


def _assignment(db: Database, round_id: str, rater: str) -> dict[str, Any]:
    row = next(db["assignments"].rows_where("round = ? and rater = ?", [round_id, rater]), None)
    if row is None:
        raise NotFoundError(f"the task {round_id[:40]!r} was not handed to you; please ask for the next one")
    return row


def _hand(db: Database, item: int, rater: str, round_id: str, repeat: int) -> dict[str, Any]:
    row = {"created": now(), "item": item, "rater": rater, "round": round_id, "repeat": repeat, "state": "open"}
    db["assignments"].insert(row)
    return row


def _round_for(db: Database, item: dict[str, Any], study: Study, mine: list[dict[str, Any]]) -> str:
    """The round of an item with the side order that balances the item, else the rater, else by lot."""
    lean = _lean(mine, study)
    if item["lean"]:
        first = item["lean"] < 0
    elif abs(lean) >= LEAN:
        first = lean < 0
    else:
        first = LOT.random() < 0.5
    arm = study.arms[0] if first else study.arms[1]
    return next(db["rounds"].rows_where("item = ? and first_arm = ?", [item["id"], arm], select="id"))["id"]


def _other_round(db: Database, assignment: dict[str, Any]) -> str:
    rows = db["rounds"].rows_where("item = ? and id <> ?", [assignment["item"], assignment["round"]], select="id")
    return next(rows)["id"]


def _to_repeat(mine: list[dict[str, Any]], share: float, nothing_else: bool) -> dict[str, Any] | None:
    """Which of a rater's done items comes back now, if one is due."""
    given = {a["item"] for a in mine if a["repeat"]}
    firsts = [(place, a) for place, a in enumerate(mine) if not a["repeat"] and a["state"] == "done"]
    if len(given) >= _repeats_wanted(len(firsts), share):
        return None
    ripe = [(place, a) for place, a in firsts if a["item"] not in given]
    distant = [a for place, a in ripe if len(mine) - 1 - place >= GAP]
    if distant:
        return LOT.choice(distant)
    earlier = [a for place, a in ripe if place < len(mine) - 1]
    return earlier[0] if nothing_else and earlier else None


def _repeats_wanted(firsts: int, share: float) -> int:
    return int(firsts * share + 0.5) if firsts > 1 else 0


def _lean(mine: list[dict[str, Any]], study: Study) -> int:
    """How much oftener a rater saw the study's first arm on the first side than on the second."""
    seen = [a for a in mine if not a["repeat"] and a["state"] != "skipped"]
    return sum(1 if a["first_arm"] == study.arms[0] else -1 for a in seen)


def _count_done(mine: list[dict[str, Any]]) -> int:
    return sum(a["state"] in ("done", "revealed") for a in mine)


def _cutoff() -> str:
    return (moment() - RESERVED).isoformat(timespec="milliseconds")
