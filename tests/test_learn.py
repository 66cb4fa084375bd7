"""The use case *learn* on a tiny model: choices to a version, the gate, stopping, the owner's token, and a killed process."""

import gc
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from app.compare import Request
from app.decoding.arms import DecodeSettings
from app.errors import BusyError, InputError, NotAllowedError, NotFoundError, StorageError
from app.learn import IN_TRAINING, Outcome
from app.refresh.adapters import AdapterFolder
from app.refresh.pairs import Pair, make_pair, split
from app.refresh.trainer import RefreshSettings, Step
from app.services import Services, build
from app.settings import Settings
from tests.rounds import BAD, GOOD, add_choice

ROOT = Path(__file__).parent.parent
HANG = 600.0
QUICK = RefreshSettings(epochs=3, learning_rate=0.01)


def clear_pairs(count: int = 10) -> list[Pair]:
    return [make_pair([{"role": "user", "content": f"Question {number}?"}], GOOD, BAD) for number in range(count)]


def contradicted(settings: RefreshSettings = QUICK, count: int = 10) -> list[Pair]:
    """Pairs whose held-out part says the opposite of the part that is learnt."""
    pairs = clear_pairs(count)
    _, held_out = split(pairs, settings.seed)
    return [make_pair(p.messages, p.rejected, p.chosen) if p in held_out else p for p in pairs]


def learnt(
    services: Services,
    pairs: list[Pair] | None = None,
    scope: str = "",
    settings: RefreshSettings = QUICK,
    **values: Any,
) -> Outcome:
    *steps, outcome = services.learn.refresh(clear_pairs() if pairs is None else pairs, scope, settings, **values)
    assert all(isinstance(step, Step) for step in steps) and isinstance(outcome, Outcome)
    return outcome


def compared(services: Services, persona: str = "pirate", adapter: str | None = None) -> tuple[str, dict[str, str]]:
    """The version that answered, as the stored round tells it, and the texts."""
    request = Request(
        messages=(("user", "Why?"),),
        persona=persona,
        settings=DecodeSettings(max_new_tokens=16, seed=5),
        adapter=adapter,
    )
    comparison = services.compare.start(request, "ann")
    *_, last = services.compare.run(comparison)
    return services.store.round(comparison.round_id).adapter, {arm: answer.text for arm, answer in last.answers.items()}


def drain(services: Services) -> None:
    """Returns when everything that was handed to the worker before has had its turn."""
    gc.collect()
    assert list(services.worker.stream(iter([7]), background=True)) == [7]


def files(services: Services) -> set[str]:
    return {path.name for path in (services.settings.data / "adapters").glob("*")}


def held_adapters(services: Services) -> set[str]:
    return set(services.model._peft.peft_config) if services.model._peft else set()


# --- pairs


def test_pairs_are_of_one_persona_or_of_all_and_without_the_principle(services: Services):
    for number, choice in enumerate(("first", "second", "tie", "both_bad")):
        add_choice(services.store, number, "pirate", choice)
    add_choice(services.store, 0, "zen")
    asked = {persona: services.learn.pairs(persona) for persona in ("pirate", "zen", "robot", None)}
    assert {key: len(pairs) for key, pairs in asked.items()} == {"pirate": 2, "zen": 1, "robot": 0, None: 3}
    assert [(p.chosen, p.rejected) for p in asked["pirate"]] == [(GOOD, BAD), (BAD, GOOD)]
    assert asked["zen"][0].prompt == (("user", "Question 0 of zen?"),)


@pytest.mark.parametrize(
    ("count", "told"), [(0, "0 clear choices on 0 .*6 more to go"), (5, "5 clear choices on 5 .*1 more to go")]
)
def test_too_few_pairs_are_told_with_what_is_missing(services: Services, count: int, told: str):
    with pytest.raises(InputError, match=told):
        learnt(services, clear_pairs(count))
    assert services.store.versions() == [] and learnt(services).version == "v1"


def test_pair_too_long_for_the_model_is_told_and_nothing_stays(services: Services):
    with pytest.raises(
        InputError, match=r"pair \d+ is \d+ tokens long; this model reads 256|tokens long; this model reads 255"
    ):
        learnt(services, [make_pair(p.messages, "tea " * 200, BAD) for p in clear_pairs()])
    drain(services)
    assert services.store.versions() == [] and IN_TRAINING not in held_adapters(services)


# --- a refresh


def test_refresh_makes_a_version_that_answers_from_then_on(services: Services):
    for number in range(10):
        add_choice(services.store, number)
    _, before = compared(services)
    *steps, outcome = services.learn.refresh(services.learn.pairs("pirate"), "pirate", QUICK)
    assert [step.step for step in steps] == list(range(1, steps[0].steps + 1))
    assert outcome.losses == pytest.approx([step.loss for step in steps], abs=1e-6)
    assert outcome.version == "v1" and outcome.pairs_train + outcome.pairs_heldout == 10
    assert (outcome.before.value, outcome.before.n, outcome.after.value) == (0.5, outcome.pairs_heldout, 1.0)
    assert outcome.published and outcome.reason.startswith("published")
    assert len(outcome.samples) == min(3, outcome.pairs_heldout) and all(
        sample.prompt.startswith("Question") for sample in outcome.samples
    )
    stored = services.store.version("v1")
    assert (stored.scope, stored.model_revision, stored.published) == ("pirate", services.model.revision, True)
    assert stored.settings == QUICK.model_dump() and stored.metrics["after"]["value"] == 1.0
    assert {path.name for path in (services.settings.data / "adapters" / "v1").iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
    }
    assert services.store.published("pirate") == "v1" and services.store.published("zen") == ""
    assert IN_TRAINING not in held_adapters(services)

    version, after = compared(services)
    assert version == "v1" and after["baseline"] != before["baseline"]
    assert compared(services, persona="zen")[0] == ""
    assert compared(services, adapter="none") == ("", before)


def test_version_answers_the_same_after_a_restart(services: Services):
    learnt(services, scope="pirate")
    assert compared(build(services.settings)) == compared(services)


def test_held_out_choices_that_come_out_wrong_leave_the_old_version(services: Services):
    learnt(services)
    outcome = learnt(services, contradicted())
    assert (outcome.version, outcome.published, outcome.after.value) == ("v2", False, 0.0)
    assert outcome.reason.startswith("not published") and "0%" in outcome.reason
    assert services.store.published("") == "v1" and not services.store.version("v2").published
    assert files(services) == {"v1", "v2"} and compared(services)[0] == "v1"


def test_refresh_that_is_not_to_publish_does_not_even_if_it_passes(services: Services):
    outcome = learnt(services, publish=False)
    assert outcome.after.value == 1.0 and not outcome.published and not services.store.version("v1").published
    assert services.store.published("") == "" and compared(services)[0] == ""


def test_same_pairs_and_seed_give_the_same_version(services: Services):
    one, two = learnt(services, publish=False), learnt(services, publish=False)
    assert one.losses == two.losses and one.samples == two.samples
    weights = [
        (services.settings.data / "adapters" / version / "adapter_model.safetensors").read_bytes()
        for version in ("v1", "v2")
    ]
    assert weights[0] == weights[1]


def test_second_refresh_measures_before_on_the_version_in_use(services: Services):
    learnt(services)
    outcome = learnt(services)
    assert outcome.before.value == 1.0 and outcome.published and compared(services)[0] == "v2"


def test_version_of_another_model_is_not_what_before_measures(services: Services, tiny_folders: dict[str, Path]):
    learnt(services)
    other = build(Settings(data=services.settings.data, model=str(tiny_folders["qwen2"]), device="cpu"))
    outcome = learnt(other)
    assert outcome.version == "v2" and outcome.before.value == 0.5 and compared(other)[0] in ("v2", "")


# --- stopping and failing


@pytest.mark.parametrize("steps_seen", [1, 3])
def test_closing_a_refresh_midway_leaves_everything_as_it_was(services: Services, steps_seen: int):
    learnt(services)
    answers = compared(services)
    running = services.learn.refresh(clear_pairs(), "", RefreshSettings(epochs=100, learning_rate=0.05))
    for _ in range(steps_seen):
        assert isinstance(next(running), Step)
    running.close()
    drain(services)
    assert services.worker.waiting() == 0 and IN_TRAINING not in held_adapters(services)
    assert [version.id for version in services.store.versions()] == ["v1"] == [services.store.published("")]
    assert files(services) == {"v1"} and compared(services) == answers
    assert learnt(services).version == "v2"


def test_new_refresh_right_after_closing_one_is_not_disturbed_by_what_is_left_of_it(services: Services):
    undisturbed = learnt(services, publish=False)
    running = services.learn.refresh(clear_pairs(), "", RefreshSettings(epochs=100, learning_rate=0.05))
    next(running)
    running.close()
    assert learnt(services, publish=False).losses == undisturbed.losses


def test_two_refreshes_at_once_are_refused_and_the_first_goes_on(services: Services):
    running = services.learn.refresh(clear_pairs(), "", QUICK)
    assert isinstance(next(running), Step)
    with pytest.raises(BusyError, match="another refresh is running"):
        learnt(services)
    *_, outcome = running
    assert outcome.version == "v1" and learnt(services).version == "v2"


def test_version_that_cannot_be_written_is_told_and_a_later_one_is(services: Services):
    folder = services.settings.data / "adapters"
    folder.write_text("no folder")
    with pytest.raises(StorageError, match="nothing was begun"):
        learnt(services)
    assert services.store.versions() == [] and IN_TRAINING not in held_adapters(services)
    folder.unlink()
    assert learnt(services).version == "v1"


def test_version_whose_row_cannot_be_stored_does_not_stop_later_ones(services: Services):
    with sqlite3.connect(services.store.path) as connection:
        connection.execute(
            "create trigger no_room before insert on versions begin insert into no_such_table values (1); end"
        )
    with pytest.raises(StorageError, match="Nothing was changed"):
        learnt(services)
    assert services.store.versions() == [] and services.store.published("") == ""
    with sqlite3.connect(services.store.path) as connection:
        connection.execute("drop trigger no_room")
    outcome = learnt(services)
    assert outcome.published and compared(services)[0] == outcome.version


# --- the owner's token, publishing, rollback


def test_publishing_and_rollback_need_the_owners_token(guarded: Services):
    learnt(guarded)
    for token in ("", "wrong", "the owner's ", "THE OWNER'S", "ключ", None):
        with pytest.raises(NotAllowedError, match="owner's token"):
            guarded.learn.use("", "none", token)
        with pytest.raises(NotAllowedError):
            guarded.learn.authorise(token)
    assert guarded.store.published("") == "v1"
    guarded.learn.use("", "none", "the owner's")
    assert guarded.store.published("") == ""


@pytest.mark.parametrize("token", [None, SecretStr("")])
def test_without_an_owners_token_anyone_may(tiny_folders: dict[str, Path], tmp_path: Path, token: SecretStr | None):
    services = build(Settings(data=tmp_path, model=str(tiny_folders["llama"]), device="cpu", admin_token=token))
    services.learn.authorise("")
    services.learn.use("", "none")
    assert services.authority.is_open


def test_rollback_to_an_older_version_and_to_the_original(services: Services):
    original = compared(services)
    learnt(services)
    first = compared(services)
    learnt(services, settings=QUICK.model_copy(update={"epochs": 6}))
    second = compared(services)
    assert (first[0], second[0]) == ("v1", "v2") and len({a["baseline"] for _, a in (original, first, second)}) == 3
    services.learn.use("", "v1")
    assert compared(services) == first
    services.learn.use("", "none")
    assert compared(services) == original
    services.learn.use("pirate", "v2")
    assert compared(services) == second and compared(services, persona="zen")[0] == ""
    assert files(services) == {"v1", "v2"}


@pytest.mark.parametrize(
    ("version", "error", "words"),
    [
        ("v7", NotFoundError, "does not exist"),
        ("../../etc", InputError, "must be a version such as v3"),
        ("V1", InputError, "must be a version such as v3"),
    ],
)
def test_version_that_does_not_exist_cannot_be_used(services: Services, version: str, error: type, words: str):
    with pytest.raises(error, match=words):
        services.learn.use("", version)
    assert services.store.published("") == ""


# --- together with comparisons


def test_comparison_during_a_refresh_goes_first_and_neither_changes_the_other(services: Services):
    """Training is held once until the comparison waits beside it, and again, later, until the comparison is done."""
    settings = RefreshSettings(epochs=30, learning_rate=0.01)
    undisturbed, alone = learnt(services, settings=settings, publish=False), compared(services)
    logits_at, calls = services.model.logits_at, iter(range(10**9))
    training_began, comparison_done, results = threading.Event(), threading.Event(), []

    def held(*arguments: Any, **named: Any) -> Any:
        call = next(calls)
        if call == 14:
            training_began.set()
            end = time.monotonic() + HANG
            while services.worker.waiting() < 2 and time.monotonic() < end:
                os.sched_yield()
        if call == 50:
            results.append(comparison_done.wait(HANG))
        return logits_at(*arguments, **named)

    services.model.logits_at = held
    with ThreadPoolExecutor(1) as pool:
        refreshing = pool.submit(learnt, services, None, "", settings, publish=False)
        assert training_began.wait(HANG)
        during = compared(services)
        comparison_done.set()
        outcome = refreshing.result(HANG)
    assert results == [True]
    assert during == alone
    assert outcome.losses == undisturbed.losses and outcome.samples == undisturbed.samples


# --- a killed process


def killed_while_writing(data: Path, model: Path) -> None:
    """A process that is killed with SIGKILL after the weights are on the disk and before the version is in its place."""
    script = """
import sys
from pathlib import Path
from app.refresh.trainer import RefreshSettings
from app.services import build
from app.settings import Settings
from tests.test_learn import clear_pairs
services = build(Settings(data=Path(sys.argv[1]), model=sys.argv[2], device="cpu"))
save = services.model.save_adapter
def save_and_wait(adapter, folder):
    save(adapter, folder)
    print("written", flush=True)
    sys.stdin.read()
services.model.save_adapter = save_and_wait
list(services.learn.refresh(clear_pairs(), "", RefreshSettings(epochs=2)))
"""
    command = [sys.executable, "-c", script, str(data), str(model)]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "written\n"
        process.kill()
        assert process.wait() == -signal.SIGKILL


def test_killed_refresh_leaves_a_whole_database_and_is_swept_at_the_next_start(
    services: Services, tiny_folders: dict[str, Path]
):
    learnt(services)
    answers = compared(services)
    killed_while_writing(services.settings.data, tiny_folders["llama"])
    left = sorted(path for path in (services.settings.data / "adapters").iterdir() if path.name != "v1")
    assert len(left) == 2 and left[0].is_file() and (left[1] / "adapter_model.safetensors").is_file()
    with sqlite3.connect(services.store.path) as connection:
        assert connection.execute("pragma integrity_check").fetchall() == [("ok",)]
    restarted = build(services.settings)
    assert files(restarted) == {"v1"}
    cut_off, unwritten = restarted.repairs
    assert (
        "a refresh from 10 pairs for all personas was cut off" in cut_off
        and "the writing or the deletion of v2" in unwritten
    )
    assert [version.id for version in restarted.store.versions()] == ["v1"] and compared(restarted) == answers
    assert learnt(restarted).version == "v2"


def test_version_folder_without_a_row_is_not_listed_and_not_in_the_way(services: Services):
    """What a process leaves that is killed after the folder is in its place and before the row is stored."""
    AdapterFolder(services.settings.data / "adapters").write(
        "v1", lambda folder: (folder / "adapter_config.json").write_text("{}")
    )
    restarted = build(services.settings)
    assert "the folder of v1 has no entry" in restarted.repairs[0] and len(restarted.repairs) == 1
    assert restarted.store.versions() == []
    with pytest.raises(NotFoundError):
        restarted.compare.resolve_adapter("v1", "")
    outcome = learnt(restarted)
    assert outcome.published and compared(restarted)[0] == outcome.version
