"""`python -m tests.benchmarks.startup`: how long until the page answers, what was imported for it, and how long until the first words.

The page is the real `python app.py` with a fresh data folder. The first words are timed inside this process, from
`Compare.start` to the first progress that holds text: no browser and no network are in that figure.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from statistics import median

from tests.benchmarks.machine import machine

PAGE_BAR, FIRST_WORDS_BAR = 8.0, 1.0
# What only a search by meaning, statistics or a yardstick need; the page and a comparison are to do without. (scipy is not among
# them: transformers itself imports it with any model.)
LATER = ("sentence_transformers", "trl", "datasets", "sklearn", "statsmodels", "matplotlib")
GIVE_UP_SECONDS = 120.0
PERSONA = "for_child"
PROMPTS = (
    "Why is the sky blue?",
    "How do I make tea?",
    "Why do cats purr?",
    "What is money for?",
    "How do planes fly?",
    "Why does it rain?",
)


def page_seconds() -> float:
    """From the start of `python app.py` until `GET /` answers 200.

    Raises:
        RuntimeError: it ended or did not answer in time; the message ends with what it wrote.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as written:
        values = {"GRADIO_SERVER_PORT": str(port), "GRADIO_SERVER_NAME": "127.0.0.1", "PLUMBLINE_DATA": folder}
        started = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "app.py"], env={**os.environ, **values}, stdout=written, stderr=written
        )
        try:
            while process.poll() is None and time.perf_counter() - started < GIVE_UP_SECONDS:
                if _answers(port):
                    return time.perf_counter() - started
                time.sleep(0.02)
            written.seek(0)
            raise RuntimeError(f"the page did not answer within {GIVE_UP_SECONDS} s: {written.read().decode()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=GIVE_UP_SECONDS) as reply:
            return reply.status == 200
    except (urllib.error.URLError, ConnectionError):
        return False


def imported() -> list[str]:
    """The top-level packages that `app.py` has imported once model and page are built, in a process of its own."""
    script = "import json, runpy, sys; runpy.run_path('app.py'); print(json.dumps(sorted({m.partition('.')[0] for m in sys.modules})))"
    with tempfile.TemporaryDirectory() as folder:
        written = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PLUMBLINE_DATA": folder},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
        ).stdout
    return json.loads(written.splitlines()[-1])


def first_words_seconds() -> list[float]:
    """From `Compare.start` to the first text of any arm, for one prompt after another; the first one finds everything cold."""
    from app.compare import Request
    from app.services import build
    from app.settings import Settings

    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        services = build(Settings(data=Path(folder)))
        for prompt in PROMPTS:
            started = time.perf_counter()
            comparison = services.compare.start(Request(messages=(("user", prompt),), persona=PERSONA), "benchmark")
            for progress in services.compare.run(comparison):
                if any(answer.text for answer in progress.answers.values()):
                    seconds.append(time.perf_counter() - started)
                    break
            services.worker.call(lambda: None)  # the comparison that was left has made way before the next begins
    return seconds


def main() -> None:
    """Prints a table and the same as JSON."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.startup", description=__doc__.splitlines()[0])
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    starts = [page_seconds() for _ in range(options.starts)]
    early = sorted(set(imported()) & set(LATER))
    cold, *warm = first_words_seconds()
    rows = [
        ("page answers, first start", starts[0], PAGE_BAR),
        (f"page answers, slowest of {len(starts)}", max(starts), PAGE_BAR),
        ("first words, cold", cold, FIRST_WORDS_BAR),
        (f"first words, warm, median of {len(warm)}", median(warm), FIRST_WORDS_BAR),
    ]
    print(f"{'':38}{'seconds':>9}{'bar':>7}")
    for name, seconds, bar in rows:
        print(f"{name:38}{seconds:9.3f}{bar:7.1f}  {'pass' if seconds <= bar else 'miss'}")
    print(f"imported before it is needed: {', '.join(early) or 'nothing'} (of {', '.join(LATER)})")
    model = os.environ.get("PLUMBLINE_MODEL", "starter")
    report = {
        "machine": machine(),
        "model": model,
        "page_seconds": starts,
        "first_words_cold": cold,
        "first_words_warm": warm,
        "imported_before_it_is_needed": early,
        "bars": {name: bar for name, _, bar in rows},
    }
    report["passed"] = {**{name: seconds <= bar for name, seconds, bar in rows}, "no heavy import early": not early}
    text = json.dumps(report, indent=1)
    print(text)
    if options.json:
        options.json.write_text(text)


if __name__ == "__main__":
    main()
