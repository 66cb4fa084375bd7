"""A ZeroGPU Space with a stand-in for the Hub's package `spaces`: jobs run one at a time in a process of their own, and the disk is what stays.

The stand-in does what the package does to us: a decorated generator runs in a process that was forked at its first call and is kept, and
arguments and items travel as pickles. The package itself, and a GPU that is lent, could not be tried here.
"""

import json
import os
import subprocess
import sys
from inspect import signature
from pathlib import Path
from typing import Any

import pytest

from app.compare import Principle, Request
from app.decoding.arms import DecodeSettings
from app.services import Services, build
from app.serving import Serving
from app.settings import Settings
from app.worker import Worker
from app.zero_gpu import LentServing, LentWorker
from tests.rounds import add_choice

ROOT = Path(__file__).resolve().parents[1]
SPACES = '''
"""Stand-in: see tests/test_zero_gpu.py."""
import multiprocessing, os, threading

fork = multiprocessing.get_context("fork")
at_work = threading.Lock()
calls = []

def GPU(duration=60):
    def decorate(task):
        kept = []

        def there(asked, answers, stop):
            while True:
                (arguments,) = asked.get()
                stop.clear()
                iterator = task(arguments)
                for item in iterator:
                    if stop.is_set():
                        iterator.close()
                        break
                    answers.put(("item", item))
                answers.put(("end", os.getpid()))

        def call(arguments):
            assert at_work.acquire(blocking=False), "two jobs at once"
            try:
                if not kept:
                    asked, answers, stop = fork.Queue(), fork.Queue(), fork.Event()
                    fork.Process(target=there, args=(asked, answers, stop), daemon=True).start()
                    kept.extend((asked, answers, stop))
                asked, answers, stop = kept
                asked.put((arguments,))
                ended = False
                try:
                    while True:
                        kind, value = answers.get()
                        if kind == "end":
                            ended = True
                            calls.append(value)
                            return
                        yield value
                finally:
                    stop.set()
                    while not ended:
                        kind, value = answers.get()
                        ended = kind == "end"
            finally:
                at_work.release()

        return call
    return decorate
'''
PROGRAM = """
import json, os, sys, threading
from app.errors import PlumblineError
from app.refresh.trainer import RefreshSettings
from app.services import build
from app.settings import Settings
from tests.rounds import add_choice
from tests.test_zero_gpu import REQUEST, answered, settings_of
import spaces

services = build(settings_of(sys.argv[1], sys.argv[2]))
told = {"plain": answered(services), "pid": os.getpid()}

together = [None, None]
def ask(place):
    together[place] = answered(services)
threads = [threading.Thread(target=ask, args=(place,)) for place in (0, 1)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
told["together"] = together

comparison = services.compare.start(REQUEST, "me")
running = services.compare.run(comparison)
next(running)
services.compare.cancel(comparison.round_id)
*_, last = running
told["cancelled"] = [answer.finish_reason for answer in last.answers.values()]
told["stored"] = services.store.round(comparison.round_id).id == comparison.round_id

gone = services.compare.run(services.compare.start(REQUEST, "me"))
next(gone)
gone.close()
told["free"] = services.serving.people() == 0 and services.serving.rest(5)

for number in range(10):
    add_choice(services.store, number)
*steps, outcome = services.learn.refresh(services.learn.pairs("pirate"), "pirate", RefreshSettings(epochs=1))
told["version"], told["steps"] = outcome.version, len(steps)
told["on_disk"] = sorted(file.name for file in services.versions.adapters.path(outcome.version).iterdir())
told["learnt"] = answered(services, outcome.version)
told["loaded_here"] = list(services.model._loaded)

told["best"] = answered(services, arms=("best_of_n",))
told["fidelity"] = services.learned.fidelity("pirate").mean
told["line"] = [services.owner.gauges().running, services.owner.gauges().waiting]

try:
    list(services.models.choose(sys.argv[1]))
except PlumblineError as error:
    told["refused"] = str(error)
told["pids"] = sorted(set(spaces.calls))
print(json.dumps(told))
"""
REQUEST = Request(
    messages=(("user", "How do I make tea?"),),
    principles=(Principle(text="Answer as a gruff sea captain."),),
    settings=DecodeSettings(seed=3, max_new_tokens=24),
)


def settings_of(model: str, data: str) -> Settings:
    return Settings(data=Path(data), model=model, device="cpu")


def answered(services: Services, adapter: str = "none", **changes: Any) -> dict[str, list[int]]:
    comparison = services.compare.start(REQUEST.model_copy(update={"adapter": adapter, **changes}), "me")
    *_, last = services.compare.run(comparison)
    return {arm: answer.token_ids for arm, answer in last.answers.items()}


@pytest.mark.parametrize(("usual", "lent"), [(Serving, LentServing), (Worker, LentWorker)])
def test_what_is_lent_offers_whatever_a_use_case_may_ask_of_the_usual_one(usual: type, lent: type):
    only_the_line_asks = {"spawn"}
    offered = {name: getattr(usual, name) for name in vars(usual) if not name.startswith("_")}
    for name in offered.keys() - only_the_line_asks:
        assert list(signature(offered[name]).parameters) == list(signature(getattr(lent, name)).parameters), name


@pytest.fixture(scope="module")
def told(tiny_folders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> dict:
    """What the program saw on the stand-in for a ZeroGPU Space."""
    folder = tmp_path_factory.mktemp("zero")
    (folder / "spaces.py").write_text(SPACES)
    surroundings = os.environ | {
        "SPACES_ZERO_GPU": "true",
        "PYTHONPATH": f"{folder}{os.pathsep}{ROOT}",
        "OMP_NUM_THREADS": "1",
    }
    program = [sys.executable, "-c", PROGRAM, str(tiny_folders["llama"]), str(folder / "data")]
    done = subprocess.run(program, cwd=ROOT, env=surroundings, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]) | {"data": folder / "data"}


def test_answers_are_those_of_other_hardware_and_come_from_another_process(
    told: dict, tiny_folders: dict, tmp_path: Path
):
    services = build(settings_of(str(tiny_folders["llama"]), str(tmp_path)))
    assert told["plain"] == answered(services)
    assert told["together"] == [told["plain"], told["plain"]], "one after another, and both whole"
    assert told["pids"] and told["pid"] not in told["pids"]


def test_stop_reaches_the_other_process_and_who_goes_away_frees_the_gpu(told: dict):
    assert set(told["cancelled"]) == {"cancelled"}
    assert told["stored"] and told["free"]


def test_what_is_learnt_there_lies_on_the_disk_and_answers(told: dict, tiny_folders: dict):
    assert told["steps"] > 0
    assert "adapter_model.safetensors" in told["on_disk"]
    assert told["loaded_here"] == [], "nothing of it is in this process's memory"
    services = build(settings_of(str(tiny_folders["llama"]), str(told["data"])))
    assert answered(services, told["version"]) == told["learnt"]


def test_best_of_n_lessons_and_gauges_are_there_as_elsewhere(told: dict, tiny_folders: dict, tmp_path: Path):
    services = build(settings_of(str(tiny_folders["llama"]), str(tmp_path)))
    assert told["best"] == answered(services, arms=("best_of_n",)) and told["best"]["best_of_n"]
    for number in range(10):
        add_choice(services.store, number)
    assert told["fidelity"] == pytest.approx(services.learned.fidelity("pirate").mean, abs=1e-5)
    assert told["line"] == [0, 0]


def test_what_cannot_be_done_there_is_a_sentence(told: dict):
    assert "ZeroGPU" in told["refused"] and "goes on answering" in told["refused"]
