"""`python -m tests.benchmarks.vanishing`: how long whoever vanishes in mid-answer still holds a place.

A visitor asks over HTTP, on the page or by the API, reads the first words and cuts the connection. From then on `/health` is asked until nobody
is answered any more; the figure holds that asking, too. One visitor alone, several who vanish in the same moment, and one while the server
learns. The model is the starter without an end to its answers: what ended by itself would have been stored, and is counted.
"""

import argparse
import asyncio
import json
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from app.label import new_secret
from app.starter import WEIGHTS_FOLDER
from storage.records import Vote
from storage.store import Store
from tests.benchmarks.load import LIBRARY, REQUEST_SECONDS, percentiles
from tests.benchmarks.machine import machine
from tests.benchmarks.sides import PERSONAS, PROMPTS
from tests.benchmarks.tab import Caller, Tab, texts
from tests.browser.conftest import Server
from tests.rounds import a_round, answers

RESULTS = Path(__file__).parent / "results" / "vanishing.json"
BAR_SECONDS = 1.0
ASK_AGAIN_SECONDS = 0.005
LONGEST = 400  # tokens, the most that the page takes
CHOICES, EPOCHS = 100, 100  # a refresh that outlasts what is measured beside it

Words = AsyncGenerator[bool, None]


def endless(folder: Path) -> Path:
    """The starter, but the token that ends an answer is one that it never writes."""
    shutil.copytree(WEIGHTS_FOLDER, folder)
    for name in ("config.json", "generation_config.json", "tokenizer_config.json"):
        told = json.loads((folder / name).read_text())
        told |= {of: told[of.replace("eos", "pad")] for of in ("eos_token", "eos_token_id") if of in told}
        (folder / name).write_text(json.dumps(told))
    return folder


async def on_the_page(http: httpx.AsyncClient, config: dict[str, Any], number: int) -> Words:
    """A comparison on the page: with every part of the stream, whether words have come."""
    persona = LIBRARY[PERSONAS[number % len(PERSONAS)]]
    said = {"persona": persona.id, "principle": persona.principle, "framing": persona.framing, "seed": number}
    tab = Tab(http, config, new_secret())
    async with aclosing(tab.press("compare", **said, prompt=PROMPTS[number], Longest_answer=LONGEST)) as shown:
        async for outputs in shown:
            yield "pl-caret" in str(outputs["panes"]) and any(texts(outputs["panes"]))


async def by_the_api(http: httpx.AsyncClient, info: dict[str, Any], number: int) -> Words:
    """The same, asked for by a program."""
    asked = {"prompt": PROMPTS[number], "persona": PERSONAS[number % len(PERSONAS)], "seed": number}
    async with aclosing(Caller(http, info).call("compare", **asked, max_new_tokens=LONGEST)) as parts:
        async for told in parts:
            yield any(answer["text"] for answer in told["answers"].values())


async def freed(http: httpx.AsyncClient, streams: list[Words]) -> float:
    """Cuts streams in the same moment, each after its first words.

    Returns:
        Seconds until nobody was answered any more.
    """
    for words in await asyncio.gather(*map(_begun, streams)):
        if not words:
            raise RuntimeError("an answer ended before a word of it came")
    if await _people(http) != len(streams):
        raise RuntimeError("an answer ended before its reader could vanish; ask for longer ones")
    async with asyncio.timeout(REQUEST_SECONDS):
        began = time.monotonic()
        await asyncio.gather(*(stream.aclose() for stream in streams))
        while await _people(http):
            await asyncio.sleep(ASK_AGAIN_SECONDS)
        return time.monotonic() - began


async def _begun(stream: Words) -> bool:
    async for words in stream:
        if words:
            return True
    return False


async def _people(http: httpx.AsyncClient) -> int:
    return (await http.get("health")).raise_for_status().json()["queue"]


async def vanished(server: Server, times: int, at_once: int) -> list[dict[str, Any]]:
    """Every way of vanishing so many times; what is told of each stands in the report as it is."""
    rows = []
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=server.url, timeout=REQUEST_SECONDS, limits=limits, trust_env=False) as http:
        config, info = [(await http.get(path)).json() for path in ("config", "gradio_api/info")]
        ways = {"page": partial(on_the_page, http, config), "api": partial(by_the_api, http, info)}

        async def measure(visitors: int, learns: bool = False) -> None:
            for way, asked in ways.items():
                seconds = [await freed(http, [asked(number) for number in range(visitors)]) for _ in range(times)]
                late = sum(taken > BAR_SECONDS for taken in seconds)
                row = {"way": way, "visitors_at_once": visitors, "while_learning": learns, "times": times, "late": late}
                rows.append({**row, "seconds": percentiles(seconds)})

        for visitors in (1, at_once):
            await measure(visitors)
        refresh = Caller(http, info).call("refresh", persona="pirate", epochs=EPOCHS)
        learning = asyncio.create_task(_begun(refresh))
        while not _learns(server):
            await asyncio.sleep(0.1)
            if learning.done():
                learning.result()
        await measure(1, learns=True)
        if not _learns(server):
            raise RuntimeError("the refresh ended before all had vanished; give it more epochs")
        learning.cancel()
        with suppress(asyncio.CancelledError):
            await learning
    return rows


def _learns(server: Server) -> bool:
    return any((server.data / "adapters").glob(".refresh.partial-*"))


def measured(folder: Path, model: str, times: int, at_once: int) -> dict[str, Any]:
    """The whole run on an empty data folder; the report, as it is written down."""
    server = Server(folder / "data", folder / "log", model)
    try:
        server.start()
        store = Store(server.data)
        said = answers(linear_aligned="tea, matey, " * 15, baseline="the sky is blue. " * 10)
        for number in range(CHOICES):
            store.add_round(a_round(f"r{number}", f"Question {number}?", answers=said))
            store.vote(Vote(f"r{number}", "ann", "first"))
        rows = asyncio.run(vanished(server, times, at_once))
        stored, printed = store.counts()["rounds"] - CHOICES, server.printed
    finally:
        server.kill()
    return {
        "bar_seconds": BAR_SECONDS,
        "rows": rows,
        "ended_by_themselves": stored,
        "traceback": "Traceback" in printed,
    }


def main() -> None:
    """Measures, prints, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.vanishing")
    parser.add_argument("--times", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--out", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        report = measured(Path(folder), str(endless(Path(folder) / "model")), options.times, options.at_once)
    command = f"python -m tests.benchmarks.vanishing {shlex.join(sys.argv[1:])}".strip()
    report = {"command": command, "machine": machine(), **report}
    options.out.write_text(json.dumps(report, indent=1) + "\n")
    print(json.dumps(report, indent=1))


if __name__ == "__main__":
    main()
