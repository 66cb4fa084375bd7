"""Votes as preference pairs: which votes count, which arm was chosen, and files that are whole or not there."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import datasets
import pytest

from app.errors import StorageError
from storage.export import decisive, preference_rows, write_jsonl
from storage.records import CHOICES, Round, Vote
from storage.store import Store
from tests import rounds

ROOT = Path(__file__).parent.parent
TEXTS = {"baseline": "A number.", "linear_aligned": "Arr, a number 🏴‍☠️!"}


def a_round(first: str = "baseline", second: str = "linear_aligned", **changes: Any) -> Round:
    """A round of three arms, of which two were shown on the sides given."""
    fields = {
        "rater": "asker",
        "settings": {"seed": 7, "ratio": 2.0},
        "model": "starter",
        "model_revision": "abc",
        "adapter": "v3",
        "first_arm": first,
        "second_arm": second,
        "app_version": "1.2.3",
        "answers": rounds.answers(**TEXTS, principle_prompted="Nobody saw this."),
    }
    return rounds.a_round("r1", "What is pi?", **{**fields, **changes})


def with_texts(first: str, second: str) -> Round:
    """A round with these answers on its first and second side."""
    return a_round(answers=rounds.answers(baseline=first, linear_aligned=second))


def a_vote(choice: str) -> Vote:
    return Vote("r1", "ann", choice, "funnier", 2.5, "1", "2030-01-01")


@pytest.mark.parametrize("choice", ["tie", "both_bad"])
def test_vote_without_a_preference_is_no_pair(choice: str):
    assert list(preference_rows([(a_vote(choice), a_round())])) == []


@pytest.mark.parametrize(
    ("choice", "first", "second", "chosen_arm"),
    [
        ("first", "baseline", "linear_aligned", "baseline"),
        ("second", "baseline", "linear_aligned", "linear_aligned"),
        ("first", "linear_aligned", "baseline", "linear_aligned"),
        ("second", "linear_aligned", "baseline", "baseline"),
    ],
)
def test_side_is_mapped_to_the_arm_that_stood_there(choice: str, first: str, second: str, chosen_arm: str):
    rejected_arm = "linear_aligned" if chosen_arm == "baseline" else "baseline"
    vote, round_ = a_vote(choice), a_round(first, second)
    assert list(decisive([(vote, round_)])) == [(vote, round_, chosen_arm, rejected_arm)]
    [row] = preference_rows([(vote, round_)])
    assert (row["chosen_arm"], row["rejected_arm"], row["chosen_side"]) == (chosen_arm, rejected_arm, choice)
    assert row["chosen"] == [{"role": "assistant", "content": TEXTS[chosen_arm]}]
    assert row["rejected"] == [{"role": "assistant", "content": TEXTS[rejected_arm]}]


@pytest.mark.parametrize(
    ("choice", "first", "second", "kept"),
    [
        ("first", "same", "same", False),
        ("second", "same", "same", False),
        ("first", "", "words", False),  # nothing to learn towards
        ("first", " \n", "words", False),
        ("second", "", "words", False),  # TRL and our own reader refuse an empty answer
        ("first", "words", "Words", True),
    ],
)
def test_equal_and_empty_answers_are_no_pair(choice: str, first: str, second: str, kept: bool):
    assert len(list(preference_rows([(a_vote(choice), with_texts(first, second))]))) == kept


@pytest.mark.parametrize(("reason", "kept"), [("end", 1), ("length", 1), ("cancelled", 0), ("deadline", 0)])
@pytest.mark.parametrize("arm", ["baseline", "linear_aligned"])
def test_answer_that_was_stopped_teaches_nothing(arm: str, reason: str, kept: int, tmp_path: Path):
    """In the pairs and in the database's own count."""
    stopped = a_round()
    answers_ = {name: replace(a, finish_reason=reason if name == arm else "end") for name, a in stopped.answers.items()}
    stopped = replace(stopped, answers=answers_)
    assert len(list(preference_rows([(a_vote("first"), stopped)]))) == kept
    store = Store(tmp_path)
    store.add_round(stopped)
    store.vote(replace(a_vote("first"), round=stopped.id))
    assert store.count_decisive() == kept


def test_row_says_where_it_comes_from():
    [row] = preference_rows([(a_vote("second"), a_round())])
    assert row == {
        "prompt": [{"role": "user", "content": "What is pi?"}],
        "chosen": [{"role": "assistant", "content": TEXTS["linear_aligned"]}],
        "rejected": [{"role": "assistant", "content": TEXTS["baseline"]}],
        "persona": "pirate",
        "principles": [{"text": "Answer as a pirate.", "weight": 1.0}],
        "chosen_arm": "linear_aligned",
        "rejected_arm": "baseline",
        "chosen_side": "second",
        "blind": True,
        "reason": "funnier",
        "settings": {"seed": 7, "ratio": 2.0},
        "model": "starter",
        "model_revision": "abc",
        "adapter": "v3",
        "rater": "ann",  # who voted, not who asked
        "round": "r1",
        "created": "2030-01-01",
        "consent_version": "1",
        "app_version": "1.2.3",
    }


def test_original_model_is_no_adapter():
    [row] = preference_rows([(a_vote("first"), a_round(adapter=""))])
    assert row["adapter"] is None


def test_file_replaces_the_old_one_and_nothing_else_is_left(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("old\n")
    assert write_jsonl(({"n": n, "text": "ü\n\u2028"} for n in range(3)), path) == 3
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] == [
        {"n": n, "text": "ü\n\u2028"} for n in range(3)
    ]
    assert list(tmp_path.iterdir()) == [path]
    assert write_jsonl([], path) == 0
    assert path.read_text() == ""


def failing(error: BaseException) -> Iterator[dict[str, int]]:
    yield {"n": 1}
    raise error


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (lambda: failing(RuntimeError("in the middle")), RuntimeError),
        (lambda: failing(StorageError("the database went away")), StorageError),
        (lambda: failing(KeyboardInterrupt()), KeyboardInterrupt),
        (lambda: failing(OSError(5, "Input/output error")), StorageError),
        (lambda: [{"n": 1}, {"n": object()}], TypeError),
        (lambda: [{"n": 1}, {"n": "half \ud83c"}], UnicodeEncodeError),
    ],
)
@pytest.mark.parametrize("old", [None, "old\n"])
def test_export_that_fails_leaves_what_was_there(tmp_path: Path, rows, error: type, old: str | None):
    path = tmp_path / "pairs.jsonl"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error):
        write_jsonl(rows(), path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == ({} if old is None else {"pairs.jsonl": old})


def test_missing_folder_is_named(tmp_path: Path):
    path = tmp_path / "nowhere" / "pairs.jsonl"
    with pytest.raises(StorageError, match="choose a folder that exists") as caught:
        write_jsonl([], path)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_file(tmp_path: Path):
    script = """
import resource, signal, sys
from pathlib import Path
from app.errors import StorageError
from storage.export import write_jsonl
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_jsonl(({"n": "x" * 1000} for _ in range(100)), Path(sys.argv[1]))
except StorageError as error:
    sys.exit(str(error))
"""
    path = tmp_path / "pairs.jsonl"
    path.write_text("old\n")
    result = subprocess.run(
        [sys.executable, "-c", script, str(path)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.stderr.startswith(f"the export could not be written to {str(path)!r}"), result.stderr
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {"pairs.jsonl": "old\n"}


def test_datasets_opens_the_export_of_a_store(tmp_path: Path):
    store = Store(tmp_path / "data")
    for number, choice in enumerate((*CHOICES, "second")):
        adapter = "" if number % 2 else "v3"
        store.add_round(a_round(id=f"r{number}", adapter=adapter, settings={"seed": number, "ratio": 2.0}))
        store.vote(Vote(f"r{number}", "ann", choice))
    rows = list(preference_rows(store.votes()))
    path = tmp_path / "pairs.jsonl"
    assert write_jsonl(rows, path) == 3
    dataset = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path / "cache"))
    assert {"prompt", "chosen", "rejected"} < set(dataset.column_names)
    assert [row["round"] for row in dataset] == ["r0", "r1", "r4"]
    assert [row["adapter"] for row in dataset] == ["v3", None, "v3"]
    for row, written in zip(dataset, rows, strict=True):
        assert {key: row[key] for key in written if key != "created"} == {
            key: written[key] for key in written if key != "created"
        }
