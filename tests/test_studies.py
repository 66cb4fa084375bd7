"""The use case *study* on a tiny model: what is refused, how answers are made, what a rater is told, and what survives a kill."""

import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pytest
from safetensors.numpy import save_file

from app.compare import Request
from app.decoding.arms import ARM_NAMES, DecodeSettings
from app.errors import ConsentError, InputError, NotAllowedError, NotFoundError, StorageError
from app.label import rater_of
from app.refresh.adapter_files import CONFIG, WEIGHTS
from app.services import Services, build
from app.settings import Settings
from app.studies import Revealed, Task, Waiting
from storage.records import Round, Study, Version

HANG = 500.0
ROOT = Path(__file__).parent.parent
ANN = rater_of("ann")
ARMS = ("baseline", "linear_aligned")
PROMPTS = ["Why is the sky blue?", "How do I make tea?", "Where is the sea?"]
SHORT = DecodeSettings(max_new_tokens=6, seed=11, temperature=0.9)


def create(services: Services, **values: Any) -> Study:
    given = {"name": "tea", "prompts": PROMPTS, "personas": ["pirate"], "arms": ARMS, "settings": SHORT, "repeat": 0.0}
    return services.studies.create(**{**given, **values})


def answer(services: Services, study: Study) -> None:
    *_, last = services.studies.answer(study.id)
    assert last.answered + last.faults == last.items


def enter(services: Services, rater: str = ANN) -> str:
    services.raters.enter(rater, "", services.raters.consent.version)
    return rater


def rounds_by_item(services: Services) -> dict[int, list[Round]]:
    with services.store.database.open() as db:
        rows = [(row["item"], row["id"]) for row in db["rounds"].rows_where("item is not null", order_by="item")]
    found: dict[int, list[Round]] = {}
    for item, id_ in rows:
        found.setdefault(item, []).append(services.store.round(id_))
    return found


def until(condition: Callable[[], bool]) -> None:
    """Waits for what another thread does."""
    end = time.monotonic() + HANG
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


# --- making one


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"name": " "}, "the name of the study is empty"),
    ({"name": "n" * 81}, "81 characters long; it may have 80"),
    ({"prompts": []}, "has no prompts"),
    ({"prompts": ["a", " \n"]}, "prompt 2 is empty"),
    ({"prompts": ["a", "b", " a "]}, "prompt 3 is the same as prompt 1"),
    ({"prompts": ["a" * 8001]}, "prompt 1 is 8001 characters"),
    (
        {"prompts": [f"q{n}" for n in range(5001)], "personas": ["pirate", "zen"]},
        "make 10002 items; 10000 are the most",
    ),
    ({"personas": []}, "the personas are none"),
    ({"personas": ["pirate", "pirate"]}, "each only once"),
    ({"arms": ("baseline", "baseline")}, "two different ones"),
    ({"arms": ("baseline",)}, "two different ones"),
    ({"arms": ("baseline", "nothing")}, "the arms to vote on are baseline, nothing"),
    ({"overlap": 0}, "the overlap is 0"),
    ({"overlap": 1.5}, "the overlap is 1.5"),
    ({"overlap": 51}, "from 1 to 50"),
    ({"repeat": 0.6}, "share of repeats is 0.6"),
    ({"repeat": float("nan")}, "share of repeats is nan"),
]


def test_what_makes_no_study_is_refused_and_nothing_is_stored(services: Services):
    for values, message in WRONG:
        with pytest.raises(InputError, match=message):
            create(services, **values)
    for values in ({"personas": ["nobody"]}, {"adapter": "v9"}):
        with pytest.raises(NotFoundError, match="does not exist"):
            create(services, **values)
    assert services.studies.all() == []


def test_names_are_taken_once(services: Services):
    create(services)
    with pytest.raises(InputError, match="named 'tea' exists already"):
        create(services, name=" tea ")
    with pytest.raises(NotFoundError, match="'coffee' does not exist"):
        services.studies.named("coffee")
    assert services.studies.named("tea").arms == ARMS and len(services.studies.all()) == 1


def test_only_the_owner_makes_and_closes(tiny_folders: dict[str, Path], tmp_path: Path):
    services = build(
        Settings(data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu", admin_token="owner's")
    )
    with pytest.raises(NotAllowedError):
        create(services)
    study = create(services, token="owner's")
    with pytest.raises(NotAllowedError):
        services.studies.close(study.id)
    services.studies.close(study.id, "owner's")
    assert services.studies.all()[0].state == "closed"


def test_the_study_keeps_the_version_that_was_in_use_when_it_was_made(services: Services):
    for id_, scope in (("v1", "pirate"), ("v2", "zen")):
        folder = services.versions.adapters.root / id_
        folder.mkdir(parents=True)
        (folder / CONFIG).write_text("{}")
        save_file({}, folder / WEIGHTS)
        made = Version(id_, scope, services.model.name, services.model.revision, {}, 1, 1, {}, 1.0, True, "")
        services.store.add_version(made, publish=True)
    assert create(services).adapter == "v1"
    assert create(services, name="none", adapter="none").adapter == ""
    assert create(services, name="v2", adapter="v2").adapter == "v2"
    with pytest.raises(InputError, match="pirate by v1, zen by v2"):
        create(services, name="both", personas=["pirate", "zen"])


def test_far_first_goes_away_from_what_was_labelled(services: Services):
    dogs = ["How do I train my dog?", "My dog barks at night.", "What is a good pasta sauce?"]
    study = create(services, prompts=["How can I stop my dog from barking?"])
    answer(services, study)
    services.label.vote(services.studies.next(study.id, enter(services)).round_id, "first", ANN)
    create(services, name="plain", prompts=dogs)
    create(services, name="far", prompts=dogs, far_first=True)
    assert prompts_of(services, "plain") == dogs
    far = prompts_of(services, "far")
    assert far[0] == dogs[2] and sorted(far) == sorted(dogs)


def prompts_of(services: Services, name: str) -> list[str]:
    query = "select json_extract(messages, '$[0].content') as p from study_items where study = ? order by position"
    with services.store.database.open() as db:
        return [row["p"] for row in db.query(query, [services.studies.named(name).id])]


# --- answers


def test_an_item_is_two_rounds_of_the_same_answers_with_the_sides_exchanged(services: Services):
    study = create(services, personas=["pirate", "zen"], arms=("principle_prompted", "baseline"))
    answer(services, study)
    found = rounds_by_item(services)
    assert len(found) == 6
    for position, (item, (one, other)) in enumerate(found.items()):
        assert one.answers == other.answers and set(one.answers) == {"principle_prompted", "baseline"}
        assert (one.first_arm, one.second_arm) == (other.second_arm, other.first_arm)
        assert one.id != other.id and one.item == other.item == item and one.blind and one.adapter == ""
        assert one.settings["seed"] == SHORT.seed + position
    assert {r.persona for pair in found.values() for r in pair} == {"pirate", "zen"}


def test_answers_are_those_of_compare_with_the_items_seed(services: Services):
    answer(services, create(services))
    for position, (one, _) in enumerate(rounds_by_item(services).values()):
        settings = SHORT.model_copy(update={"seed": SHORT.seed + position})
        request = Request(messages=(("user", PROMPTS[position]),), persona="pirate", settings=settings, blind=True)
        *_, last = services.compare.run(services.compare.start(request, "ann"))
        assert {arm: a.token_ids for arm, a in one.answers.items()} == {
            arm: a.token_ids for arm, a in last.answers.items()
        }


def test_what_cannot_be_answered_is_a_fault_and_the_rest_goes_on(services: Services):
    forward, broken = services.model.forward_with, threading.Event()

    def failing(*arguments: Any, **named: Any) -> Any:
        if not broken.is_set():
            broken.set()
            raise RuntimeError("the device is gone\nwith a long trace")
        return forward(*arguments, **named)

    services.serving._engine._forward = failing
    study = create(services, prompts=["Why?", "far too long " * 200, "How?"])
    answer(services, study)
    (overview,) = services.studies.all()
    assert (overview.items, overview.answered, overview.faults) == (3, 1, 2) and broken.is_set()
    with services.store.database.open() as db:
        faults = [row["fault"] for row in db["study_items"].rows_where(order_by="position")]
    assert faults[0] == "the device is gone" and "tokens long" in faults[1] and faults[2] == ""
    enter(services)
    assert services.studies.next(study.id, ANN).total == 1


def test_answers_come_in_the_background_and_a_study_made_later_is_noticed(services: Services):
    services.studies.prepare()
    services.studies.prepare()
    assert Counter(thread.name for thread in threading.enumerate())["study-answers"] >= 1
    study = create(services)
    enter(services)
    first = services.studies.next(study.id, ANN)
    assert isinstance(first, Waiting | Task) and first.total == 3
    until(lambda: services.studies.all()[0].answered == 3)
    assert isinstance(services.studies.next(study.id, ANN), Task)


def test_a_disk_that_fails_makes_no_fault(services: Services):
    study = create(services)
    with services.store.database.write() as db:
        db.execute("alter table answers rename column text to words")
    with pytest.raises(StorageError):
        answer(services, study)
    with services.store.database.write() as db:
        db.execute("alter table answers rename column words to text")
    answer(services, study)
    (overview,) = services.studies.all()
    assert (overview.answered, overview.faults) == (3, 0) and len(rounds_by_item(services)) == 3


def test_another_models_study_is_left_alone(services: Services):
    study = create(services)
    with services.store.database.write() as db:
        db.execute("update studies set model_revision = 'another'")
    *_, last = services.studies.answer(study.id)
    assert last.answered == 0 and services.studies.next(study.id, enter(services)) is None


KILLED = """
import sys
from app.__main__ import main
main(["study", "create", "--name", "tea", "--prompts", sys.argv[1], "--personas", "pirate,zen", "--arms",
      "baseline,linear_aligned", "--max-new-tokens", "40", "--seed", "5", "--temperature", "0", "--wait"])
"""


def test_a_killed_process_leaves_whole_items_and_the_next_start_goes_on(tiny_folders: dict[str, Path], tmp_path: Path):
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join(f"Question {number}?\n" for number in range(4)), encoding="utf-8")
    environment = {
        "PLUMBLINE_DATA": str(tmp_path / "data"),
        "PLUMBLINE_MODEL": str(tiny_folders["llama"]),
        "PLUMBLINE_DEVICE": "cpu",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "PATH": "/usr/bin",
    }
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(prompts)], cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True
    )
    assert any(line.startswith("2 of 8 answered") for line in process.stderr)  # and it goes on with the third
    process.kill()
    assert process.wait(HANG) == -signal.SIGKILL
    services = build(Settings(data=tmp_path / "data", model=str(tiny_folders["llama"]), device="cpu"))
    before = rounds_by_item(services)
    assert 2 <= len(before) < 8
    assert all(len(pair) == 2 and len(r.answers) == 2 for pair in before.values() for r in pair)
    services.studies.prepare()
    until(lambda: services.studies.all()[0].answered == 8)
    after = rounds_by_item(services)
    assert {item: after[item] for item in before} == before and {len(pair) for pair in after.values()} == {2}


# --- labelling


def test_a_study_from_end_to_end(services: Services):
    study = create(services, repeat=0.5, personas=["pirate", "zen"])
    answer(services, study)
    with pytest.raises(ConsentError, match="needs your consent"):
        services.studies.next(study.id, ANN)
    enter(services)
    seen = []
    while task := services.studies.next(study.id, ANN):
        assert services.studies.next(study.id, ANN) == task
        assert (task.done, task.total) == (len(seen), 9)
        round_ = services.store.round(task.round_id)
        assert task.messages[-1]["content"] in PROMPTS and task.persona in ("The Pirate", "The Zen Monk")
        assert task.principle == round_.principles[0]["text"]
        assert (task.first, task.second) == tuple(
            round_.answers[arm].text for arm in (round_.first_arm, round_.second_arm)
        )
        with pytest.raises(InputError, match="has more for you to label"):
            services.studies.reveal(study.id, ANN)
        services.label.vote(task.round_id, "second", ANN)
        seen.append(task.round_id)
    assert len(set(seen)) == 9
    undone = services.studies.undo(study.id, ANN)
    assert (undone.round_id, undone.done, len(services.store.votes())) == (seen[-1], 8, 8)
    assert services.label.vote(undone.round_id, "tie", ANN)[0].choice == "tie"
    revealed = services.studies.reveal(study.id, ANN)
    assert [shown.round_id for shown in revealed] == seen
    assert [shown.choice for shown in revealed] == ["second"] * 8 + ["tie"]
    for shown in revealed:
        round_ = services.store.round(shown.round_id)
        assert (shown.first_arm, shown.second_arm) == (round_.first_arm, round_.second_arm)
        assert shown.first == round_.answers[shown.first_arm].text
    with pytest.raises(InputError, match="have been told"):
        services.studies.undo(study.id, ANN)
    assert services.studies.next(study.id, ANN) is None and services.studies.reveal(study.id, ANN) == revealed


def test_nothing_that_a_rater_is_given_names_an_arm_or_tells_a_repeat(services: Services):
    study = create(services, repeat=0.5)
    answer(services, study)
    enter(services)
    while task := services.studies.next(study.id, ANN):
        given = asdict(task)
        assert set(given) == {"round_id", "messages", "persona", "principle", "first", "second", "done", "total"}
        assert not any(arm in str(given) for arm in ARM_NAMES)
        services.label.vote(task.round_id, "first", ANN)
    assert {field.name for field in fields(Revealed)} >= {"first_arm", "second_arm"}


def test_a_blind_label_outside_undo_of_the_study_stays(services: Services):
    study = create(services)
    answer(services, study)
    task = services.studies.next(study.id, enter(services))
    services.label.vote(task.round_id, "first", ANN)
    with pytest.raises(InputError, match="blind choice cannot be taken back"):
        services.label.undo(task.round_id, ANN)


def test_skip_goes_on_to_the_next(services: Services):
    study = create(services)
    answer(services, study)
    task = services.studies.next(study.id, enter(services))
    services.studies.skip(task.round_id, ANN)
    following = services.studies.next(study.id, ANN)
    assert following.messages != task.messages and (following.done, following.total) == (0, 2)


def test_a_closed_study_ends_at_once_and_shows_what_was_labelled(services: Services):
    study = create(services)
    answer(services, study)
    task = services.studies.next(study.id, enter(services))
    services.label.vote(task.round_id, "both_bad", ANN)
    services.studies.close(study.id)
    assert services.studies.next(study.id, ANN) is None
    assert [shown.choice for shown in services.studies.reveal(study.id, ANN)] == ["both_bad"]


def test_a_study_that_does_not_exist_is_told(services: Services):
    enter(services)
    for call in (services.studies.next, services.studies.undo, services.studies.reveal):
        with pytest.raises(NotFoundError, match="'forged' does not exist"):
            call("forged", ANN)
