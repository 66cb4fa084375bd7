"""`python -m app study`: what it prints, what it refuses with which line's number, and what then stands in the database."""

import json
from pathlib import Path

import pytest

from app.__main__ import main
from app.errors import InputError, NotFoundError
from app.label import rater_of
from app.study_prompts import read_study_prompts
from storage.assignments import Assignments
from storage.records import Vote
from storage.store import Store
from storage.studies import StudyTable

WAIT = ["--max-new-tokens", "5", "--seed", "4", "--wait"]


@pytest.fixture(autouse=True)
def data(tiny_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in (("DATA", tmp_path / "data"), ("MODEL", tiny_folders["llama"]), ("DEVICE", "cpu")):
        monkeypatch.setenv(f"PLUMBLINE_{name}", str(value))
    return tmp_path / "data"


def prompts_file(folder: Path, text: str, name: str = "prompts.txt") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def create(prompts: Path, *more: str, name: str = "tea") -> int:
    arms = "linear_aligned,principle_prompted"
    return main(["study", "create", "--name", name, "--prompts", str(prompts), "--personas", "pirate,zen", "--arms", arms, *more])  # fmt: skip


def test_a_study_is_made_answered_listed_and_closed(capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path):
    prompts = prompts_file(tmp_path, "Why is the sky blue?\n\n  How do I make tea?\n")
    assert create(prompts, "--overlap", "2", "--repeat", "0.25", *WAIT, "--json") == 0
    captured = capsys.readouterr()
    made = json.loads(captured.out)
    assert {**made, "id": ""} == {
        "id": "",
        "name": "tea",
        "items": 4,
        "answered": 4,
        "faults": 0,
        "votes": 0,
        "raters": 0,
        "wanted": 8,
        "state": "open",
    }
    progress = [line for line in captured.err.splitlines() if "answered" in line]
    assert progress == [f"{n} of 4 answered, 0 faults" for n in (1, 2, 3, 4, 4)]
    store = Store(data)
    table = StudyTable(store.database)
    study = table.named("tea")
    assert (study.arms, study.overlap, study.repeat) == (("linear_aligned", "principle_prompted"), 2, 0.25)
    assert (study.settings["seed"], study.settings["max_new_tokens"], study.adapter) == (4, 5, "")
    handed = Assignments(store.database).hand_out(study, rater_of("ann"))
    store.vote(Vote(handed.round, rater_of("ann"), "tie"))
    assert main(["study", "list"]) == 0
    assert capsys.readouterr().out == "tea: open, 4 of 4 items answered, 0 faults, 1 of 8 labels by 1 raters\n"
    assert main(["study", "close", "tea"]) == 0
    capsys.readouterr()
    assert main(["study", "list", "--json"]) == 0
    (listed,) = json.loads(capsys.readouterr().out)
    assert (listed["id"], listed["state"], listed["votes"]) == (study.id, "closed", 1)


def test_without_wait_the_page_answers_and_a_seed_is_drawn(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path
):
    prompts = prompts_file(tmp_path, '{"prompt": "Why?"}\n{"prompt": "Two\\nlines?", "id": 3}\n', "prompts.jsonl")
    assert create(prompts, "--far-first") == create(prompts, name="again") == 0
    assert "study tea: 4 items, 0 answered, 0 faults; 4 labels wanted" in capsys.readouterr().out
    table = StudyTable(Store(data).database)
    assert table.named("tea").settings["seed"] != table.named("again").settings["seed"]
    item = table.unanswered(table.named("again").model_revision, table.named("again").id)
    assert (item.persona, item.messages) == ("pirate", [{"role": "user", "content": "Why?"}])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (["--overlap", "0"], "the overlap is 0"),
        (["--repeat", "0.9"], "the share of repeats is 0.9"),
        (["--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["--adapter", "v7"], "'v7' does not exist"),
    ],
)
def test_bad_values_are_one_sentence_and_nothing_is_made(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, data: Path, values: list[str], message: str
):
    assert create(prompts_file(tmp_path, "Why?\n"), *values) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("plumbline: ")]
    assert captured.out == "" and len(lines) == 1 and message in lines[0] and "Traceback" not in captured.err
    assert StudyTable(Store(data).database).overviews() == []


def test_a_study_that_is_not_there_cannot_be_closed(capsys: pytest.CaptureFixture[str]):
    assert main(["study", "close", "coffee"]) == 2
    assert "plumbline: the study 'coffee' does not exist" in capsys.readouterr().err
    assert main(["study", "list"]) == 0 and capsys.readouterr().out == ""


# --- the file of prompts


def test_prompts_of_text_and_of_json_lines(tmp_path: Path):
    assert read_study_prompts(prompts_file(tmp_path, "\ufeff One? \r\n\r\nTwo?")) == ["One?", "Two?"]
    rows = '{"prompt": "a\\nb", "tag": 1}\n\n{"prompt": "c"}\n'
    assert read_study_prompts(prompts_file(tmp_path, rows, "p.jsonl")) == ["a\nb", "c"]
    assert read_study_prompts(prompts_file(tmp_path, "a\u2028b\n")) == ["ab"]  # no line of its own, see `clean`


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "p.txt", "holds no prompt"),
        (" \n\n", "p.txt", "holds no prompt"),
        ("a\n\n" + "b" * 8001, "p.txt", "line 3 of .* 8001 characters"),
        ("a\nb\n\n a", "p.txt", "line 4 of .* is the same prompt as line 1"),
        ('{"prompt": "a"}\n{"prompt": 3}', "p.jsonl", 'line 2 of .* has no text under "prompt"'),
        ('{"prompt": "a"}\n["b"]', "p.jsonl", 'line 2 of .* has no text under "prompt"'),
        ('{"prompt": "a"}\n\nnot json', "p.jsonl", "line 3 of .* is no JSON"),
        ('{"prompt": " "}', "p.jsonl", "line 1 of .* is empty"),
    ],
)
def test_a_faulty_line_is_named(tmp_path: Path, text: str, name: str, message: str):
    with pytest.raises(InputError, match=message):
        read_study_prompts(prompts_file(tmp_path, text, name))


def test_a_file_that_is_none_or_no_text_is_told(tmp_path: Path):
    with pytest.raises(NotFoundError, match="does not exist"):
        read_study_prompts(tmp_path / "none.txt")
    (tmp_path / "p.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no UTF-8"):
        read_study_prompts(tmp_path / "p.txt")
