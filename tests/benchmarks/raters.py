"""`python -m tests.benchmarks.raters`: many raters label one study over HTTP while the server is killed (-9) and started again.

Every choice carries words of its own, so that afterwards each is known again in the database: what was acknowledged is there once,
what was sent again because its answer was lost counts once, and nothing is there that nobody sent. The server is `python app.py` in a
process of its own; its study is answered by hand, so that no model is measured.
"""

import argparse
import asyncio
import contextlib
import json
import random
import secrets
import tempfile
import time
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from typing import Any

import httpx

from app.label import new_secret, rater_of
from storage.store import Store
from tests.benchmarks.machine import machine
from tests.browser.conftest import Server
from tests.studies import add_study

RESULTS = Path(__file__).parent / "results" / "raters.json"
ITEMS = 200
CHOICES = ("first", "second", "tie", "both_bad")
REQUEST_SECONDS = 60.0
BETWEEN_TRIES = 0.25  # seconds that a client waits before it asks again a server that did not answer
GIVE_UP_SECONDS = 300.0


@dataclass
class Ballot:
    """One choice, however often it was sent.

    kept_before: the answer to a later sending says that an earlier one had been stored.
    seconds: from the sending that was answered to its answer.
    """

    rater: str
    round: str
    choice: str
    reason: str
    tries: int = 0
    acknowledged: bool = False
    kept_before: bool = False
    seconds: float = 0.0


@dataclass(frozen=True)
class Verdict:
    """How what was sent and what is stored agree; all four are 0 where nothing is wrong.

    lost: acknowledged and not stored. doubled: stored more than once. foreign: stored, and never sent so.
    unmatched: tasks that are done without a vote, and votes whose task is not done.
    """

    lost: int
    doubled: int
    foreign: int
    unmatched: int


def verdict(
    ballots: Iterable[Ballot], stored: Iterable[tuple[str, str, str, str]], done: Iterable[tuple[str, str]]
) -> Verdict:
    """Compares.

    Args:
        ballots: all that were sent.
        stored: (rater, round, choice, reason) of every vote in the database.
        done: (rater, round) of every task that is done.
    """
    sent = {(b.rater, b.round, b.choice, b.reason): b.acknowledged for b in ballots}
    there, done = Counter(stored), Counter(done)
    return Verdict(
        lost=sum(acknowledged and not there[ballot] for ballot, acknowledged in sent.items()),
        doubled=sum(count - 1 for count in Counter(reason for *_, reason in there.elements()).values()),
        foreign=sum(count for vote, count in there.items() if vote not in sent),
        unmatched=sum((done - (votes := Counter((rater, round_) for rater, round_, *_ in there))).values())
        + sum((votes - done).values()),
    )


class LostError(Exception):
    """An answer that did not come; whether the call was heard is not known."""


class Rater:
    """One person's program: asks for the next task, thinks, and sends the choice until it is acknowledged.

    Args:
        http: how the server is reached.
        study: id.
        number: seeds what is chosen.
        pause: seconds of thought on average.
        forget: the share of choices that are sent again although nothing went wrong: half of them as if the answer had been lost on
            its way, half at once, before there is one.
    """

    def __init__(self, http: httpx.AsyncClient, study: str, number: int, pause: float, forget: float):
        self._http, self._study, self._pause, self._forget = http, study, pause, forget
        self._chance = random.Random(number)
        self._secret, self._session = new_secret(), new_session()
        self.ballots: list[Ballot] = []
        self.waited: list[float] = []  # for every next task, in seconds

    async def label(self, stop: asyncio.Event) -> None:
        """Labels until `stop`; the choice that is on its way then is still brought to its end."""
        consent, _ = await self._insist("consent")
        await self._insist("enter", self._secret, consent["version"], "")
        while not stop.is_set():
            task, seconds = await self._insist("study_next", self._study, self._secret)
            if task["state"] != "task":
                raise RuntimeError(f"nothing is left to label: {task}; the study is too small for so many seconds")
            self.waited.append(seconds)
            await asyncio.sleep(self._chance.uniform(0, 2 * self._pause))
            await self._vote(task["round_id"])

    async def _vote(self, round_id: str) -> None:
        ballot = Ballot(rater_of(self._secret), round_id, self._chance.choice(CHOICES), secrets.token_hex(8))
        self.ballots.append(ballot)
        values = (round_id, ballot.choice, self._secret, ballot.reason, [], "", "", "", -1)
        if self._chance.random() < self._forget:
            ballot.tries += 1
            with contextlib.suppress(LostError):
                event = await self._begin("vote", values)
                if self._chance.random() < 0.5:  # else the next sending races with this one
                    await self._answer("vote", event)
            self._session = new_session()
        told, ballot.seconds = await self._insist("vote", *values, ballot=ballot)
        if told["choice"] != ballot.choice:
            raise RuntimeError(f"{ballot} was acknowledged as {told}")
        ballot.acknowledged = True

    async def _insist(self, name: str, *values: Any, ballot: Ballot | None = None) -> tuple[Any, float]:
        """The answer of an endpoint, asked again as often as it takes, and the seconds of the time that was answered."""
        give_up = time.monotonic() + GIVE_UP_SECONDS
        while True:
            started, at = time.perf_counter(), datetime.now(UTC).isoformat(timespec="milliseconds")
            if ballot:
                ballot.tries += 1
            try:
                told = await self._answer(name, await self._begin(name, values))
            except LostError:
                if time.monotonic() > give_up:
                    raise
                self._session = new_session()
                await asyncio.sleep(BETWEEN_TRIES)
                continue
            if ballot:
                ballot.kept_before = told["created"] < at
            return told, time.perf_counter() - started

    async def _begin(self, name: str, values: tuple[Any, ...]) -> str:
        body = {"data": values, "session_hash": self._session}
        try:
            started = await self._http.post(f"gradio_api/call/{name}", json=body)
        except httpx.TransportError as error:
            raise LostError(repr(error)) from error
        if started.status_code != httpx.codes.OK:
            raise LostError(started.text[:300])
        return started.json()["event_id"]

    async def _answer(self, name: str, event: str) -> Any:
        try:
            stream = await self._http.get(f"gradio_api/call/{name}/{event}")
        except httpx.TransportError as error:
            raise LostError(repr(error)) from error
        event, _, data = stream.text.rpartition("event: ")[2].partition("\ndata: ")
        told = json.loads(data) if data else None
        if event == "complete":
            return told[0]
        if isinstance(told, dict):
            raise RuntimeError(f"{name} was refused: {told}")
        raise LostError(stream.text[:300])  # the event was of a server that is no more


def new_session() -> str:
    """As Gradio's page and client draw one: for a call without it the server makes a copy of the whole page's state. After an answer
    that was given up a new one is drawn, since the old one's stream would still bring that answer."""
    return secrets.token_hex(8)


async def label_at_once(
    server: Server, study: str, raters: int, seconds: float, pause: float, forget: float
) -> tuple[list[Rater], float]:
    """Lets all label for so many seconds, not counting those without a server, which is killed at half of them.

    Returns:
        raters: with what they sent.
        away: seconds from the kill until the server answered again.
    """
    stop = asyncio.Event()
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(
        base_url=server.url, timeout=REQUEST_SECONDS, limits=limits, trust_env=False
    ) as http, asyncio.TaskGroup() as all_of_them:  # fmt: skip
        people = [Rater(http, study, number, pause, forget) for number in range(raters)]
        for person in people:
            all_of_them.create_task(person.label(stop))
        await asyncio.sleep(seconds / 2)
        killed = time.monotonic()
        server.kill()
        await asyncio.to_thread(server.start, server.port)
        away = time.monotonic() - killed
        await asyncio.sleep(seconds / 2)
        stop.set()
    return people, away


def labelled(data: Path, raters: int, seconds: float, pause: float, forget: float, model: str) -> dict[str, Any]:
    """The whole run on an empty data folder; the report, as it is written down."""
    store = Store(data / "data")
    study = add_study(store, prompts=ITEMS, overlap=raters)
    server = Server(data / "data", data / "log", model)
    try:
        server.start()
        people, away = asyncio.run(label_at_once(server, study.id, raters, seconds, pause, forget))
    finally:
        server.kill()
    ballots = [ballot for person in people for ballot in person.ballots]
    with store.database.open() as db:
        stored = db.execute("select rater, round, choice, reason from votes").fetchall()
        done = db.execute("select rater, round from assignments where state = 'done'").fetchall()
    again = [ballot for ballot in ballots if ballot.tries > 1]
    return {
        "raters": raters,
        "seconds": seconds,
        "seconds_without_server": away,
        "pause_seconds": pause,
        "votes_acknowledged": sum(ballot.acknowledged for ballot in ballots),
        "votes_stored": len(stored),
        "fewest_of_a_rater": min(len(person.ballots) for person in people),
        "sent_again": len(again),
        "sent_again_and_stored_before": sum(ballot.kept_before for ballot in again),
        "vote_http_ms": percentiles(ballot.seconds for ballot in ballots),
        "vote_sent_once_http_ms": percentiles(ballot.seconds for ballot in ballots if ballot.tries == 1),
        "next_http_ms": percentiles(waited for person in people for waited in person.waited),
        **vars(verdict(ballots, stored, done)),
        "traceback": "Traceback" in server.printed,
    }


def percentiles(seconds: Iterable[float]) -> dict[str, float]:
    """p50, p99 and the longest, in milliseconds."""
    took = sorted(1000 * one for one in seconds)
    hundredths = quantiles(took, n=100)
    return {"p50": hundredths[49], "p99": hundredths[98], "most": took[-1]}


def main() -> None:
    """Measures, prints, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.raters")
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=2, help="seconds of thought before a choice, on average")
    parser.add_argument("--forget", type=float, default=0.05, help="share of choices that are sent twice in any case")  # fmt: skip
    parser.add_argument("--model", default="starter", help="the server's; nothing is answered with it")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = labelled(Path(folder), options.raters, options.seconds, options.pause, options.forget, options.model)
    report = {"machine": machine(), **report}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
