"""`python -m tests.benchmarks.votes`: what many votes cost: counts with their intervals, and a vote while ten people vote.

Three figures: counts and Wilson intervals over `--votes` votes; the store's own latency of a vote on that database while ten threads
vote; and the same through a real server over HTTP, which is reported apart. No model answers: rounds are made by hand.
"""

import argparse
import json
import os
import random
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles
from typing import Any

from app.insights_quick import quick
from storage.records import Vote
from storage.store import Store
from storage.tallies import Selection, tallies
from tests.benchmarks.machine import machine
from tests.rounds import a_round

COUNTS_BAR, VOTE_BAR_MS = 2.0, 20.0
RESULTS = Path(__file__).parent / "results" / "votes.json"
PERSONAS, RATERS, DAYS, VERSIONS = 24, 500, 365, 4
ARMS = ("baseline", "principle_prompted", "linear_aligned")
GIVE_UP_SECONDS = 300.0


def fill(store: Store, votes: int) -> float:
    """So many votes on half as many rounds, put in as SQLite copies of one round; returns the seconds that it took.

    They spread over personas, raters, a year of days, adapter versions, pairs of arms and sides, as evenly as a hash does.
    """
    started = time.perf_counter()
    template = a_round("template", "Why?")
    store.add_round(template)
    with store.database.write() as db:
        # The same numbers every time; the counts are kept by the database's own triggers, as with every other vote.
        db.execute(
            "create temp table n as with recursive n(i) as (select 0 union all select i + 1 from n where i + 1 < ?) "
            "select i, i * 2654435761 % 1000003 as a, (i * 40503 + 12345) % 1000033 as b from n",
            [votes // 2],
        )
        arms = f"case {{}} % 3 when 0 then '{ARMS[0]}' when 1 then '{ARMS[1]}' else '{ARMS[2]}' end"
        columns = "created, rater, principles, messages, settings, model, model_revision, app_version"
        db.execute(
            f"insert into rounds (id, persona, adapter, blind, first_arm, second_arm, {columns}) "
            f"select 'r' || i, 'p' || (a % {PERSONAS}), case b % {VERSIONS} when 0 then '' else 'v' || (b % {VERSIONS}) end, a % 5 > 0, "
            f"{arms.format('a')}, {arms.format('(a + 1 + b % 2)')}, {', '.join('r.' + c for c in columns.split(', '))} "
            "from n, rounds r where r.id = 'template'"
        )
        for side in ("first", "second"):
            db.execute(
                "insert into answers (round, arm, text, token_ids, finish_reason, seconds) "
                f"select 'r' || i, r.{side}_arm, 'an answer {side} ' || a, '[]', 'end', 0.1 from n join rounds r on r.id = 'r' || i"
            )
        for voter in range(2):
            db.execute(
                "insert into votes (created, round, rater, choice) "
                f"select date('2026-01-01', '+' || ((a + b) % {DAYS}) || ' days') || 'T12:00:00.000+00:00', 'r' || i, "
                f"'rater' || ((b + {voter}) % {RATERS}), case (a + b + {voter}) % 10 when 0 then 'tie' when 1 then 'both_bad' "
                "when 2 then 'second' when 3 then 'second' when 4 then 'second' else 'first' end from n"
            )
    return time.perf_counter() - started


def counted(store: Store, repeats: int) -> dict[str, float]:
    """Seconds of the figures that stand at once, of all votes and of one persona, the slowest of some repeats."""

    def slowest(function: Callable[[], object]) -> float:
        times = []
        for _ in range(repeats):
            started = time.perf_counter()
            function()
            times.append(time.perf_counter() - started)
        return max(times)

    started = time.perf_counter()
    found = quick(store.database, Selection())
    first = time.perf_counter() - started
    return {
        "votes_counted": found.votes,
        "first_call_with_imports_seconds": first,
        "all_seconds": slowest(lambda: quick(store.database, Selection())),
        "with_raters_seconds": slowest(lambda: quick(store.database, Selection(), raters=True)),
        "one_persona_blind_seconds": slowest(lambda: quick(store.database, Selection("p1", None, True))),
        "counts_only_seconds": slowest(lambda: tallies(store.database, Selection())),
    }


def while_voting(vote: Callable[[int, int], None], raters: int, each: int, pause: float) -> dict[str, float]:
    """Milliseconds of a vote while so many people vote, each in a thread of their own.

    Args:
        vote: (rater, number) -> the vote is acknowledged when it returns.
        pause: seconds on average between a person's votes; 0 is as fast as they can.
    """
    took: list[float] = []
    gate = threading.Barrier(raters)

    def person(rater: int) -> None:
        own = random.Random(rater)
        gate.wait()
        for number in range(each):
            time.sleep(own.uniform(0, 2 * pause))
            started = time.perf_counter()
            vote(rater, number)
            took.append(1000 * (time.perf_counter() - started))

    threads = [threading.Thread(target=person, args=(rater,)) for rater in range(raters)]
    started = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - started
    if len(took) != raters * each:
        raise RuntimeError(f"{raters * each - len(took)} of {raters * each} votes failed")
    hundredths = quantiles(took, n=100)
    return {"votes": len(took), "a_second": len(took) / seconds, "p50_ms": hundredths[49], "p99_ms": hundredths[98], "most_ms": max(took)}  # fmt: skip


def in_the_store(store: Store, raters: int, each: int, pause: float, name: str) -> dict[str, float]:
    """The store's own part: from the call until the vote is committed."""
    for number in range(each):
        store.add_round(a_round(f"{name}-{number}", f"Question {number}?"))
    return while_voting(
        lambda rater, number: store.vote(Vote(f"{name}-{number}", f"{name}-{rater}", "first")), raters, each, pause
    )


def over_http(data: Path, raters: int, each: int, pause: float) -> dict[str, float]:
    """The same through `python app.py`: a POST to `/vote`, and the stream of its result read to the end."""
    store = Store(data)
    for number in range(each):
        store.add_round(a_round(f"http-{number}", f"Question {number}?", blind=False))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    values = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "PLUMBLINE_DATA": str(data)}
    url = f"http://127.0.0.1:{port}/"
    with tempfile.TemporaryFile() as written:
        process = subprocess.Popen(
            [sys.executable, "app.py"], env={**os.environ, **values}, stdout=written, stderr=written
        )
        try:
            _wait(url, process)
            return while_voting(lambda rater, number: _post(url, rater, number), raters, each, pause)
        finally:
            process.terminate()
            process.wait()


def _wait(url: str, process: subprocess.Popen) -> None:
    until = time.monotonic() + GIVE_UP_SECONDS
    while True:
        try:
            urllib.request.urlopen(url, timeout=10).close()  # noqa: S310
            return
        except (urllib.error.URLError, OSError) as error:
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the page did not answer: {error}") from error
            time.sleep(0.2)


def _post(url: str, rater: int, number: int) -> None:
    vote = {"round_id": f"http-{number}", "choice": "first", "rater": f"a secret of rater {rater}"}
    body = json.dumps(vote).encode()
    request = urllib.request.Request(f"{url}gradio_api/call/v2/vote", body, {"content-type": "application/json"})  # noqa: S310
    with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{url}gradio_api/call/vote/{event}", timeout=60) as stream:  # noqa: S310
        if b"event: complete" not in (told := stream.read()):
            raise RuntimeError(f"the vote was not taken: {told[:300]!r}")


def main() -> None:
    """Measures, prints, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.votes")
    parser.add_argument("--votes", type=int, default=1_000_000)
    parser.add_argument("--raters", type=int, default=10)
    parser.add_argument("--each", type=int, default=100, help="votes of each rater while latency is measured")
    parser.add_argument("--pause", type=float, default=0.5, help="seconds between a person's votes, on average")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--no-http", action="store_true", help="leave the server out")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        store = Store(Path(folder))
        report: dict[str, Any] = {"machine": machine(), "votes": options.votes, "bars": {"counts_seconds": COUNTS_BAR, "vote_p99_ms": VOTE_BAR_MS}}  # fmt: skip
        report["fill_seconds"] = fill(store, options.votes)
        report["counts"] = counted(store, options.repeats)
        report["store"] = in_the_store(store, options.raters, options.each, options.pause, "paced")
        report["store_without_pause"] = in_the_store(store, options.raters, options.each, 0.0, "fast")
        if not options.no_http:
            report["http"] = over_http(Path(folder), options.raters, options.each, options.pause)
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
