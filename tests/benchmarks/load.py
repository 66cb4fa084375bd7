"""`python -m tests.benchmarks.load`: many visitors at once compare, read along, think and vote, half of them on the page, half by the API.

Every comparison has a seed of its own, by which its round is known again in the database. Afterwards, when nobody else is there, a sample is
asked for again: an answer that was mixed up with somebody else's would not come out the same. Some visitors go away in mid-answer.
"""

import argparse
import asyncio
import json
import random
import shlex
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy

from app.label import new_secret
from personas import load_library
from storage.store import Store
from tests.benchmarks.machine import machine
from tests.benchmarks.sides import PERSONAS, PROMPTS
from tests.benchmarks.tab import Caller, RefusedError, Tab, texts
from tests.browser.conftest import Server

RESULTS = Path(__file__).parent / "results" / "load.json"
LIBRARY = load_library()
CHOICES = ("first", "second", "tie", "both_bad")
REQUEST_SECONDS = 120.0
WARM_UP_SECONDS = 60.0
SAMPLE = 20

Texts = list[str]


@dataclass
class Visit:
    """One comparison as its visitor saw it.

    first, last: seconds to the first word and to the end; None where it did not come to that.
    grew: whether what was shown was only ever added to.
    """

    seed: int
    way: str
    visitor: int
    answers: Texts
    first: float | None = None
    last: float | None = None
    grew: bool = True
    left: bool = False
    error: str = ""


class Visitor:
    """Compares, thinks, votes, and begins anew.

    Args:
        wire: what stands for the visitor's side of it.
        number: decides what is asked.
        secret: of the rater.
        pause: seconds of thought on average.
        leave: the share of comparisons that it does not wait for.
    """

    def __init__(self, wire: Tab | Caller, number: int, secret: str, pause: float, leave: float):
        self._wire, self._number, self._secret, self._pause, self._leave = wire, number, secret, pause, leave
        self._chance = random.Random(number)
        self.visits: list[Visit] = []

    async def stay(self, until: float) -> None:
        """Goes on until a time of `time.monotonic`; what was begun then is still brought to its end."""
        await asyncio.sleep(self._chance.uniform(0, self._pause))
        while time.monotonic() < until:
            visit = Visit(
                10_000 * self._number + len(self.visits),
                "page" if isinstance(self._wire, Tab) else "api",
                self._number,
                answers=[],
            )
            self.visits.append(visit)
            try:
                round_id = await self._compare(visit)
                await asyncio.sleep(self._chance.uniform(0, 2 * self._pause))
                if not visit.left:
                    await self._vote(round_id)
            except (RefusedError, httpx.HTTPError) as error:
                visit.error = repr(error)[:300]
                await asyncio.sleep(self._pause)

    async def _compare(self, visit: Visit) -> str:
        prompt, persona = self._chance.choice(PROMPTS), self._chance.choice(PERSONAS)
        leaves_after = self._chance.randrange(1, 4) if self._chance.random() < self._leave else None
        began, round_id = time.monotonic(), ""
        parts = self._on_the_page if isinstance(self._wire, Tab) else self._by_the_api
        async with aclosing(parts(prompt, persona, visit.seed)) as told:
            async for answers, known_as in told:
                round_id = known_as
                if any(answers):
                    visit.first = visit.first or time.monotonic() - began
                    leaves_after = leaves_after and leaves_after - 1
                visit.grew &= all(new.startswith(old) for old, new in zip(visit.answers, answers, strict=False))
                visit.answers = answers
                if leaves_after == 0:
                    visit.left = True
                    self._wire.anew()
                    return ""
        visit.last = time.monotonic() - began
        return round_id

    async def _on_the_page(self, prompt: str, persona: str, seed: int) -> AsyncGenerator[tuple[Texts, str], None]:
        chosen = LIBRARY[persona]
        filled = {"persona": persona, "principle": chosen.principle, "framing": chosen.framing}
        async with aclosing(self._wire.press("compare", prompt=prompt, seed=seed, **filled)) as shown:
            async for outputs in shown:
                if "pl-error" in str(outputs["status"]):
                    raise RefusedError(outputs["status"])
                # What stood there before belongs to the comparison before.
                if outputs["panes"] and "pl-panes" in outputs["panes"]:
                    yield texts(outputs["panes"]), ""

    async def _by_the_api(self, prompt: str, persona: str, seed: int) -> AsyncGenerator[tuple[Texts, str], None]:
        asked = {"prompt": prompt, "persona": persona, "seed": seed, "rater": self._secret}
        async with aclosing(self._wire.call("compare", **asked)) as parts:
            async for told in parts:
                yield [answer["text"] for answer in told["answers"].values()], told["round_id"] or ""

    async def _vote(self, round_id: str) -> None:
        choice = self._chance.choice(CHOICES)
        if isinstance(self._wire, Caller):
            [_ async for _ in self._wire.call("vote", round_id=round_id, choice=choice, rater=self._secret)]
            return
        async for outputs in self._wire.press(f"vote-{choice}"):
            if "pl-error" in str(outputs["status"]):
                raise RefusedError(outputs["status"])


async def visited(
    server: Server, visitors: int, seconds: float, pause: float, leave: float
) -> tuple[list[Visit], list[tuple[float, float]]]:
    """All of them for so long.

    Returns:
        visits: of all.
        memory: (seconds from the beginning, resident megabytes of the server) every second.
    """
    limits = httpx.Limits(max_connections=None)
    memory: list[tuple[float, float]] = []
    async with httpx.AsyncClient(base_url=server.url, timeout=REQUEST_SECONDS, limits=limits, trust_env=False) as http:
        config, info = [(await http.get(path)).json() for path in ("config", "gradio_api/info")]
        people = []
        for number in range(1, visitors + 1):
            secret = new_secret()
            wire = Caller(http, info) if number % 2 else Tab(http, config, secret)
            people.append(Visitor(wire, number, secret, pause, leave))
        began = time.monotonic()
        going_on = [asyncio.create_task(person.stay(began + seconds)) for person in people]
        while any(not task.done() for task in going_on):
            memory.append((time.monotonic() - began, resident_mb(server.pid)))
            await asyncio.wait(going_on, timeout=1, return_when=asyncio.ALL_COMPLETED)
        await asyncio.gather(*going_on)
    return [visit for person in people for visit in person.visits], memory


async def alone(server: Server, store: Store, visits: Sequence[Visit]) -> list[Visit]:
    """The visits whose answers do not come again when the same is asked with nobody else there."""
    different = []
    stored = {round_.settings["seed"]: round_ for _, round_ in store.votes()}
    async with httpx.AsyncClient(base_url=server.url, timeout=REQUEST_SECONDS, trust_env=False) as http:
        caller = Caller(http, (await http.get("gradio_api/info")).json())
        for visit in visits:
            round_ = stored[visit.seed]
            names = ("ratio", "top_p", "temperature", "max_new_tokens", "seed")
            asked = {name: round_.settings[name] for name in names} | {"prompt": round_.messages[-1]["content"]}
            *_, told = [part async for part in caller.call("compare", **asked, persona=round_.persona)]
            again = [answer["text"] for answer in told["answers"].values()]
            kept = [answer.text for answer in round_.answers.values()]
            if not same(visit.answers, again) or not same(kept, again):
                different.append(visit)
    return different


def same(shown: Texts, answered: Texts) -> bool:
    """Whether two sets of answers say the same; markup may drop a space at an end."""
    return [text.strip() for text in shown] == [text.strip() for text in answered]


def resident_mb(process: int) -> float:
    """Megabytes of memory that a process holds."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def growth_mb(memory: Sequence[tuple[float, float]], warm_up: float) -> float:
    """From the median of the tenth of the samples that follows the warm-up to that of the last tenth."""
    after = [mb for seconds, mb in memory if seconds >= warm_up]
    tenth = max(1, len(after) // 10)
    return median(after[-tenth:]) - median(after[:tenth])


def jain(counts: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all have the same, 1/n where one has everything."""
    return sum(counts) ** 2 / (len(counts) * sum(count**2 for count in counts))


def percentiles(seconds: Sequence[float]) -> dict[str, float]:
    """p50, p95 and the longest, in seconds."""
    p50, p95 = numpy.percentile(seconds, [50, 95])
    return {"p50": round(p50, 3), "p95": round(p95, 3), "most": round(max(seconds), 3)}


def measured(
    folder: Path,
    visitors: int,
    seconds: float,
    pause: float,
    leave: float,
    model: str,
    warm_up: float = WARM_UP_SECONDS,
) -> dict[str, Any]:
    """The whole run on an empty data folder; the report, as it is written down."""
    server = Server(folder / "data", folder / "log", model)
    try:
        server.start()
        visits, memory = asyncio.run(visited(server, visitors, seconds, pause, leave))
        store = Store(server.data)
        finished = [visit for visit in visits if visit.last is not None and not visit.error]
        sample = random.Random(0).sample(finished, min(SAMPLE, len(finished)))
        mixed_up = asyncio.run(alone(server, store, sample))
        printed = server.printed
    finally:
        server.kill()
    each = Counter(dict.fromkeys(range(1, visitors + 1), 0))
    each.update(visit.visitor for visit in finished)
    warm_up = min(warm_up, seconds / 4)
    return {
        "visitors": visitors,
        "seconds": seconds,
        "pause_seconds": pause,
        "comparisons": len(finished),
        "left_in_mid_answer": sum(visit.left for visit in visits),
        "votes": len(store.votes()),
        "errors": [visit.error for visit in visits if visit.error],
        "traceback": "Traceback" in printed,
        "shrank_or_changed": sum(not visit.grew for visit in visits),
        "asked_again_alone": len(sample),
        "mixed_up": len(mixed_up),
        "first_token_seconds": percentiles([visit.first for visit in finished]),
        **{
            f"first_token_seconds_{way}": percentiles([visit.first for visit in finished if visit.way == way])
            for way in ("page", "api")
        },
        "comparison_seconds": percentiles([visit.last for visit in finished]),
        "memory_mb": {
            "begin": round(memory[0][1], 1),
            "end": round(memory[-1][1], 1),
            "most": round(max(mb for _, mb in memory), 1),
        },
        "warm_up_seconds": warm_up,
        "memory_growth_mb": round(growth_mb(memory, warm_up), 1),
        "fairness": {
            "jain": round(jain(list(each.values())), 4),
            "fewest": min(each.values()),
            "most": max(each.values()),
        },
    }


def main() -> None:
    """Measures, prints, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.load")
    parser.add_argument("--visitors", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--pause", type=float, default=4, help="seconds of thought between answer and vote, on average")
    parser.add_argument("--leave", type=float, default=0.02, help="share of comparisons that nobody waits for")
    parser.add_argument("--model", default="starter")
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        asked = (options.visitors, options.seconds, options.pause, options.leave, options.model)
        report = measured(Path(folder), *asked)
    command = f"python -m tests.benchmarks.load {shlex.join(sys.argv[1:])}".strip()
    report = {"command": command, "machine": machine(), **report}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
