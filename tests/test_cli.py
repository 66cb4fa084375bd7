"""The command line on a tiny model: exact JSON on standard output, sentences on standard error, exit status 2."""

import json
import math
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from app.__main__ import main
from app.model import LanguageModel
from app.refresh.methods import OBJECTIVES
from app.refresh.methods import ONLINE as METHODS
from storage.store import Store
from tests import rounds

ROOT = Path(__file__).parent.parent
ASK = ["compare", "--prompt", "Why is the sky blue?", "--max-new-tokens", "8", "--seed", "3"]


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, tiny_folders: dict[str, Path]) -> Path:
    monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("PLUMBLINE_MODEL", str(tiny_folders["llama"]))
    monkeypatch.setenv("PLUMBLINE_DEVICE", "cpu")
    monkeypatch.delenv("PLUMBLINE_ADMIN_TOKEN", raising=False)
    return tmp_path


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """Runs a command that prints one JSON object and nothing else on standard output."""
    capsys.readouterr()
    assert main(list(arguments)) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    return json.loads(out)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """Runs a command that fails; returns its one sentence."""
    capsys.readouterr()
    assert main(list(arguments)) == 2
    captured = capsys.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("plumbline: ")]
    assert captured.out == "" and len(lines) == 1 and "Traceback" not in captured.err
    return lines[0].removeprefix("plumbline: ")


def write_pairs(path: Path, count: int = 10) -> Path:
    rows = ({"prompt": f"Question {i}?", "chosen": "tea, matey", "rejected": "the sky"} for i in range(count))
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def add_choice(data: Path, number: int, choice: str = "second", persona: str = "pirate") -> None:
    """Ann's open round with BAD of `baseline` on the first side, and bob's vote on it."""
    sides = {"first_arm": "baseline", "second_arm": "linear_aligned"}
    rounds.add_choice(Store(data), number, persona, choice=choice, rater="bob", blind=False, **sides)


def test_compare_prints_exactly_what_is_promised(capsys: pytest.CaptureFixture[str], tiny_folders: dict[str, Path]):
    report = printed(capsys, *ASK, "--principle", "a pirate", "--framing", "answer_as", "--json")
    assert list(report) == ["model", "adapter", "settings", "contexts", "arms"]
    assert report["model"] == str(tiny_folders["llama"]) and report["adapter"] is None
    assert report["settings"] == {
        "ratio": 2.0,
        "kl_budget": None,
        "top_p": 0.8,
        "temperature": 0.5,
        "seed": 3,
        "max_new_tokens": 8,
        "no_repeat_ngram": 0,
        "amulet_alpha": 2.0,
        "amulet_lambda": 2.0,
        "amulet_eta": 10.0,
        "amulet_steps": 60,
        "guide_weight": 1.0,
        "guide_top_k": 10,
        "best_of_count": 4,
    }
    assert list(report["contexts"]) == ["base", "principle"]
    model = LanguageModel.load(str(tiny_folders["llama"]))
    for context in report["contexts"].values():
        assert set(context) == {"text", "token_ids"} and model.text_ids(context["text"]) == context["token_ids"]
    assert "Answer as a pirate." in report["contexts"]["principle"]["text"]
    assert report["contexts"]["base"]["text"] == report["contexts"]["principle"]["text"].replace(
        " Answer as a pirate.", ""
    )
    assert list(report["arms"]) == ["baseline", "principle_prompted", "linear_aligned"]
    for arm in report["arms"].values():
        assert set(arm) == {"text", "token_ids", "finish_reason", "seconds"}
        assert arm["text"] == model.decode(arm["token_ids"]) and arm["finish_reason"] in ("end", "length")


def test_same_seed_prints_the_same_and_arms_can_be_chosen(capsys: pytest.CaptureFixture[str]):
    command = [*ASK, "--persona", "pirate", "--arms", "linear_aligned,baseline", "--json"]
    one, again = ({arm: a["text"] for arm, a in printed(capsys, *command)["arms"].items()} for _ in range(2))
    assert one == again and set(one) == {"baseline", "linear_aligned"}


def test_where_only_a_budget_is_given_the_ratio_leaves_it_room(capsys: pytest.CaptureFixture[str]):
    command = [*ASK, "--persona", "pirate", "--arms", "linear_aligned", "--json", "--kl-budget", "0.5"]
    found = [printed(capsys, *command, *given)["settings"] for given in ([], ["--ratio", "3"])]
    assert [(settings["ratio"], settings["kl_budget"]) for settings in found] == [(10.0, 0.5), (3.0, 0.5)]


def test_traces_tell_of_every_token(capsys: pytest.CaptureFixture[str]):
    report = printed(capsys, *ASK, "--persona", "pirate", "--ratio", "3", "--json", "--traces")
    for arm, told in report["traces"].items():
        assert len(told) == len(report["arms"][arm]["token_ids"]) > 0
        assert all(len(token["contexts"]) == (2 if arm == "linear_aligned" else 1) for token in told)
    assert any(token["kl"] > 0 for token in report["traces"]["linear_aligned"])


def test_further_arms_and_their_settings_can_be_asked_for(capsys: pytest.CaptureFixture[str]):
    command = [*ASK, "--persona", "pirate", "--arms", "amulet,principle_prompted", "--amulet-alpha", "0", "--json"]
    report = printed(capsys, *command)
    texts = {arm: answer["text"] for arm, answer in report["arms"].items()}
    assert texts["amulet"] == texts["principle_prompted"] and report["settings"]["amulet_alpha"] == 0
    assert "amulet_steps is 0" in refused(capsys, *ASK, "--persona", "pirate", "--amulet-steps", "0")
    assert "no adapter to guide it" in refused(capsys, *ASK, "--persona", "pirate", "--arms", "adapter_guided")
    assert "'v1' does not exist" in refused(capsys, *ASK, "--persona", "pirate", "--adapter", "v1*2")
    assert "weight of v1 is 9; it must be 0 to 3" in refused(capsys, *ASK, "--persona", "pirate", "--adapter", "v1*9")


def test_best_of_one_is_the_prompted_arm_and_of_three_one_of_them(capsys: pytest.CaptureFixture[str]):
    ask = [*ASK, "--persona", "pirate"]
    prompted = printed(capsys, *ask, "--arms", "principle_prompted", "--json")["arms"]["principle_prompted"]["text"]
    best = ["best-of", *ask[1:], "--annotator", "implicit", "--json"]
    assert printed(capsys, *best, "--count", "1")["text"] == prompted
    found = printed(capsys, *best, "--count", "3", "--temperature", "1")
    assert len(found["answers"]) == 3 and found["text"] in found["answers"] and found["annotator"] == "implicit"
    assert found["cost"]["forwards"] == 2 and len(set(found["answers"])) == 3
    assert "33 answers were asked for" in refused(capsys, *best, "--count", "33")


def test_compare_without_json_prints_the_texts(capsys: pytest.CaptureFixture[str]):
    assert main([*ASK, "--persona", "pirate"]) == 0
    out = capsys.readouterr().out
    assert [line.split()[1] for line in out.splitlines() if line.startswith("--- ")] == [
        "baseline",
        "principle_prompted",
        "linear_aligned",
    ]


def test_refresh_from_a_file_makes_a_version_that_compare_takes(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    report = printed(capsys, "refresh", "--pairs", str(pairs), "--epochs", "4", "--json")
    assert list(report) == [
        "version",
        "pairs_train",
        "pairs_heldout",
        "before",
        "after",
        "losses",
        "processes",
        "pairs_per_process",
        "seconds",
        "published",
        "reason",
        "rated",
        "asked",
    ]
    assert (
        report["version"] == "v1"
        and report["pairs_train"] + report["pairs_heldout"] == 10
        and report["pairs_heldout"] > 0
    )
    for measured in (report["before"], report["after"]):
        assert (
            set(measured) == {"accuracy", "interval"}
            and 0 <= measured["interval"][0] <= measured["accuracy"] <= measured["interval"][1] <= 1
        )
    assert (
        report["before"]["accuracy"] == 0.5
        and len(report["losses"]) == 4 * math.ceil(report["pairs_train"] / 4)
        and report["seconds"] > 0
    )
    assert report["published"] is (report["after"]["accuracy"] > 0.5) and report["reason"]
    learnt = printed(capsys, *ASK, "--persona", "pirate", "--adapter", "v1", "--json")
    assert learnt["adapter"] == "v1"
    assert printed(capsys, *ASK, "--persona", "pirate", "--adapter", "none", "--json")["adapter"] is None
    for name, told in (("../../etc", "'../../etc'; it must be a version such as v3"), ("v7", "'v7' does not exist")):
        assert told in refused(capsys, *ASK, "--persona", "pirate", "--adapter", name, "--json")


def test_refresh_from_stored_choices_of_one_persona_or_all(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for number in range(6):
        add_choice(tmp_path / "data", number)
    assert "there are 0 clear choices" in refused(capsys, "refresh", "--persona", "zen")
    assert main(["refresh", "--persona", "pirate", "--epochs", "1"]) == 0
    captured = capsys.readouterr()
    assert re.match(r"v1: [345] pairs learnt", captured.out) and "step 1/" in captured.err
    assert printed(capsys, "refresh", "--all", "--epochs", "1", "--json")["version"] == "v2"
    assert [version.scope for version in Store(tmp_path / "data").versions()] == ["", "pirate"]


@pytest.mark.parametrize("objective", ["slic", "ipo_sum", None])
def test_version_tells_the_objective_that_it_was_learnt_with(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, objective: str | None
):
    """The first loss is of an adapter that is still the base: log 2, 1 / (4 beta^2) or 1."""
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    asked = ["--objective", objective] if objective else []
    report = printed(capsys, "refresh", "--pairs", str(pairs), "--epochs", "1", "--beta", "0.25", *asked, "--json")
    (version,) = Store(tmp_path / "data").versions()
    assert (version.settings["objective"], version.settings["beta"]) == (objective or "dpo", 0.25)
    start = {"dpo": math.log(2), "ipo_sum": 4.0, "slic": 1.0}[objective or "dpo"]
    assert report["losses"][0] == pytest.approx(start, abs=1e-3)


def test_unknown_objective_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["refresh", "--all", "--objective", "ppo"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--objective: invalid choice: 'ppo'" in told
    assert re.findall(r"\w+", told.partition("choose from")[2]) == list(OBJECTIVES)


def test_answers_rated_by_themselves_stand_in_the_file_beside_pairs(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    pairs = write_pairs(tmp_path / "pairs.jsonl")
    with pairs.open("a") as file:
        file.write('{"prompt": "What is air?", "completion": "Air.", "label": false}\n')
        file.write('{"prompt": "What is air?", "completion": "Ahoy, air."}\n')
    asked = ("refresh", "--pairs", str(pairs), "--epochs", "1", "--json")
    assert [printed(capsys, *asked, "--objective", name)["rated"] for name in ("dpo", "ulma")] == [0, 2]
    report = printed(capsys, *asked, "--objective", "ca", "--reward", "length")
    assert report["rated"] == 2 and report["asked"] == "The reward of this answer is -1.0."
    assert Store(tmp_path / "data").versions()[0].settings["reward"] == "length"


@pytest.mark.parametrize(
    "spoilt",
    [
        "{",
        '["no object"]',
        '{"prompt": "a", "chosen": "b"}',
        '{"prompt": "", "chosen": "b", "rejected": "c"}',
        "\ufffd\x00",
    ],
)
def test_line_of_a_pairs_file_that_is_wrong_is_told_by_its_number(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, spoilt: str
):
    path = write_pairs(tmp_path / "pairs.jsonl")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], spoilt, *lines[3:]]))
    assert f"{path}, line 4: " in refused(capsys, "refresh", "--pairs", str(path))
    assert not (tmp_path / "data").exists() or Store(tmp_path / "data").versions() == []


def test_versions_are_listed_taken_away_brought_used_and_deleted(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    assert printed(capsys, "versions", "--json") == {"versions": []}
    assert main(["versions"]) == 0 and capsys.readouterr().out == "no version yet: the original model answers\n"
    for number in range(6):
        add_choice(tmp_path / "data", number)
    printed(capsys, "refresh", "--persona", "pirate", "--epochs", "1", "--json")
    printed(capsys, "versions", "--use", "v1", "--persona", "pirate", "--json")
    (listed,) = printed(capsys, "versions", "--json")["versions"]
    assert (listed["version"], listed["parent"], listed["in_use_for"]) == ("v1", "", ["pirate"])
    assert set(listed["rounds"]) == {f"pirate-{number}" for number in range(6)}
    assert main(["versions"]) == 0
    assert re.match(
        r"v1 \(refresh, in use for pirate\): pirate, .*, [345] pairs, dpo, held-out accuracy .*n = ",
        capsys.readouterr().out,
    )
    out = tmp_path / "v1.zip"
    assert printed(capsys, "versions", "--download", "v1", "--out", str(out), "--json")["file"] == str(out)
    folder = tmp_path / "folder"
    with zipfile.ZipFile(out) as archive:
        archive.extractall(folder)
    for number, source in ((2, out), (3, folder)):
        assert printed(capsys, "versions", "--upload", str(source), "--json") == {"version": f"v{number}"}
    texts = [printed(capsys, *ASK, "--persona", "pirate", "--adapter", v, "--json")["arms"] for v in ("v1", "v2", "v3")]
    texts = [{arm: answer["text"] for arm, answer in arms.items()} for arms in texts]
    assert texts[0] == texts[1] == texts[2]
    assert "'v1' is in use for pirate; choose another" in refused(capsys, "versions", "--delete", "v1")
    assert main(["versions", "--use", "none", "--persona", "pirate"]) == 0
    assert main(["versions", "--delete", "v1"]) == 0 and capsys.readouterr().out.endswith("v1 deleted\n")
    assert [version["version"] for version in printed(capsys, "versions", "--json")["versions"]] == ["v3", "v2"]
    assert printed(capsys, "refresh", "--all", "--epochs", "1", "--json")["version"] == "v4"


def test_owner_at_the_shell_needs_no_token(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    printed(capsys, "refresh", "--pairs", str(write_pairs(tmp_path / "pairs.jsonl")), "--epochs", "1", "--json")
    monkeypatch.setenv("PLUMBLINE_ADMIN_TOKEN", "kept")
    out = str(tmp_path / "v1.zip")
    assert main(["versions", "--download", "v1", "--out", out]) == main(["versions", "--upload", out]) == 0
    assert main(["versions", "--use", "none"]) == main(["versions", "--delete", "v2"]) == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--delete", "v7"], "'v7' does not exist"),
        (["--delete", "../../etc"], "'../../etc' does not exist"),
        (["--use", "v7"], "'v7' does not exist"),
        (["--use", "none", "--persona", "nobody"], "'nobody' does not exist"),
        (["--download", "v7", "--out", "x.zip"], "'v7' does not exist"),
        (["--download", "../..", "--out", "x.zip"], "must be a version such as v3"),
        (["--download", "v7"], "--download V and --out F.zip belong together"),
        (["--out", "x.zip"], "--download V and --out F.zip belong together"),
        (["--upload", "no-such-file.zip"], "'no-such-file.zip' does not exist; give a zip or a folder"),
        (["--upload", "tests"], "; pack adapter_config.json and adapter_model.safetensors themselves"),
        (["--persona", "pirate"], "only --use and --upload are for a persona"),
    ],
)
def test_bad_word_about_versions_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, arguments: list[str], told: str
):
    monkeypatch.chdir(ROOT)
    assert told in refused(capsys, "versions", *arguments)
    assert not (ROOT / "x.zip").exists()


def test_export_writes_trl_rows(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for number, choice in enumerate(("first", "second", "tie", "both_bad")):
        add_choice(tmp_path / "data", number, choice=choice)
    out = tmp_path / "preferences.jsonl"
    assert main(["export", "--out", str(out)]) == 0
    assert "2 pairs written" in capsys.readouterr().out
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows] == [
        ("the sky", "tea, matey"),
        ("tea, matey", "the sky"),
    ]
    assert all(
        [message["role"] for key in ("prompt", "chosen", "rejected") for message in row[key]]
        == ["user", "assistant", "assistant"]
        for row in rows
    )
    assert "no-such-folder" in refused(capsys, "export", "--out", str(tmp_path / "no-such-folder" / "x.jsonl"))


def test_export_follows_its_options(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    for number, choice in enumerate(("first", "tie", "both_bad")):
        add_choice(tmp_path / "data", number, choice=choice)
    add_choice(tmp_path / "data", 9, persona="zen")
    assert main(["export", "--out", str(tmp_path / "x.parquet"), "--format", "votes"]) == 0
    assert capsys.readouterr().out == f"4 rows written to {tmp_path / 'x.parquet'}\n"
    assert (tmp_path / "x.parquet").read_bytes()[:4] == b"PAR1"
    folder = tmp_path / "folder"
    options = ["--format", "unpaired", "--file-type", "csv", "--persona", "pirate", "--with-principle"]
    assert main(["export", "--out", str(folder), *options, "--license", "cc-by-4.0"]) == 0
    assert capsys.readouterr().out == f"4 rows written to {folder}\n"
    assert {path.name for path in folder.iterdir()} == {"README.md", "unpaired.csv"}
    assert "license: cc-by-4.0" in (folder / "README.md").read_text()
    assert "Answer as a pirate." in (folder / "unpaired.csv").read_text()
    for arguments, told in (
        (["--out", str(folder)], "holds README.md, unpaired.csv"),
        (["--out", str(tmp_path / "x.csv"), "--file-type", "jsonl"], "--file-type is jsonl, but the file"),
        (["--out", str(tmp_path / "x.csv"), "--study", "Nobody"], "'Nobody' does not exist"),
        (["--out", str(tmp_path / "new"), "--license", "a b"], "license is 'a b'"),
        (["--out", str(tmp_path / "new"), "--format", "votes", "--with-ai-votes"], "they are preferences"),
    ):
        assert told in refused(capsys, "export", *arguments)
    assert not (tmp_path / "x.csv").exists()


def test_pairs_are_imported_listed_learnt_from_and_deleted(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    path = write_pairs(tmp_path / "theirs.jsonl")
    count = len(path.read_text().splitlines())
    assert main(["import", str(path), "--persona", "pirate"]) == 0
    assert capsys.readouterr().out.startswith(f"{count} pairs imported from theirs.jsonl")
    bad = tmp_path / "bad.jsonl"
    bad.write_text(path.read_text() + "{\n")
    assert f"bad.jsonl, line {count + 1}: not JSON" in refused(capsys, "import", str(bad))
    assert main(["import", str(bad), "--skip-bad"]) == 0
    assert f"left out: bad.jsonl, line {count + 1}: not JSON" in capsys.readouterr().out
    assert main(["import"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.rpartition(",")[0] for line in listed] == [
        f"bad.jsonl: {count} pairs for all personas", f"theirs.jsonl: {count} pairs for pirate"
    ]  # fmt: skip
    assert "6 more to go" in refused(capsys, "refresh", "--all")
    report = printed(capsys, "refresh", "--persona", "pirate", "--with-imported", "--epochs", "1", "--json")
    assert report["pairs_train"] + report["pairs_heldout"] == count
    assert main(["import", "--delete", "bad.jsonl"]) == 0
    assert capsys.readouterr().out == f"{count} pairs of bad.jsonl deleted\n"
    for arguments, told in (
        (["--delete", "bad.jsonl"], "no pairs of a file 'bad.jsonl'"),
        ([str(bad), "--delete", "bad.jsonl"], "both given"),
        (["no-such-file.jsonl"], "'no-such-file.jsonl' does not exist"),
        ([str(bad), "--persona", "nobody"], "'nobody' does not exist"),
    ):
        assert told in refused(capsys, "import", *arguments)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([*ASK, "--persona", "nobody"], "'nobody' does not exist; known are"),
        ([*ASK, "--principle", ""], "the principle is empty"),
        ([*ASK, "--principle", "p" * 50_000], "50000 characters"),
        ([*ASK, "--persona", "pirate", "--ratio", "nan"], "ratio is nan"),
        ([*ASK, "--persona", "pirate", "--top-p", "7"], "top_p is 7.0"),
        ([*ASK, "--persona", "pirate", "--max-new-tokens", "-5"], "max_new_tokens is -5"),
        ([*ASK, "--persona", "pirate", "--arms", "baseline,amulett"], "amulett"),
        ([*ASK, "--persona", "pirate", "--arms", ""], "choose one or more of"),
        ([*ASK, "--persona", "pirate", "--prompt", "  "], "the prompt is empty"),
        (
            [*ASK, "--persona", "pirate", "--model", "./no-such-folder"],
            "the model folder './no-such-folder' does not exist",
        ),
        (["refresh", "--pairs", "no-such-file.jsonl"], "'no-such-file.jsonl' does not exist"),
        (["refresh", "--persona", "nobody"], "'nobody' does not exist"),
        (["refresh", "--all", "--epochs", "0"], "epochs is 0"),
        (["refresh", "--all", "--beta", "inf"], "beta is inf"),
        (["refresh", "--all"], "6 more to go"),
    ],
)
def test_bad_value_is_a_sentence_and_exit_status_2(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str):
    sentence = refused(capsys, *arguments)
    assert told in sentence and len(sentence) < 1000


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["compare", "--persona", "pirate"], "--prompt"),
        (["compare", "--prompt", "Why?"], "--persona --principle"),
        (["compare", "--prompt", "Why?", "--persona", "pirate", "--principle", "x"], "not allowed with"),
        ([*ASK, "--persona", "pirate", "--ratio", "much"], "--ratio"),
        ([*ASK, "--persona", "pirate", "--framing", "shout"], "--framing"),
        (["refresh"], "--pairs --persona --all"),
        (["refresh", "--all", "--objective", "ppo"], "--objective"),
        (["export"], "--out"),
        (["versions", "--delete", "v1", "--use", "v1"], "not allowed with"),
        (["fly"], "fly"),
    ],
)
def test_missing_and_unknown_arguments_are_told_by_name(
    capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    captured = capsys.readouterr()
    assert caught.value.code == 2 and told in captured.err and captured.out == ""


def test_data_folder_that_cannot_be_made_is_a_sentence(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PLUMBLINE_DATA", str(tmp_path / "file" / "data"))
    assert "set PLUMBLINE_DATA" in refused(capsys, *ASK, "--persona", "pirate")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_process_of_its_own_prints_one_json_object_and_nothing_else():
    result = run(*ASK, "--persona", "pirate", "--json")
    assert result.returncode == 0, result.stderr
    assert set(json.loads(result.stdout)) == {"model", "adapter", "settings", "contexts", "arms"}


def test_a_process_of_its_own_fails_with_a_sentence():
    result = run(*ASK, "--persona", "pirate", "--adapter", "../../etc", "--json")
    assert (result.returncode, result.stdout) == (2, "")
    assert "plumbline: the adapter is '../../etc'" in result.stderr and "Traceback" not in result.stderr


# --- a judge in place of a person

ONLINE = ["online", "--annotator", "implicit", "--steps", "2", "--prompts-per-step", "2", "--max-new-tokens", "6"]


def write_prompts(path: Path, count: int = 9) -> str:
    path.write_text("".join(f"Question {number}?\n" for number in range(count)))
    return str(path)


def test_online_prints_its_outcome_and_stores_the_judges_votes_apart(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    prompts = write_prompts(tmp_path / "prompts.txt")
    report = printed(capsys, *ONLINE, "--persona", "curt", "--prompts", prompts, "--json")
    assert report["version"] == "v1" and [step["step"] for step in report["curve"]] == [1, 2]
    assert (report["prompts"], report["prompts_heldout"], report["published"]) == (6, 3, False)
    assert report["win_rate"]["n"] == 3 and report["stopped"] == "steps"
    store = Store(tmp_path / "data")
    (version,) = store.versions()
    assert (version.scope, version.origin, version.settings["annotator"]) == ("curt", "online", "implicit")
    votes = store.ai_votes("curt")
    assert votes and {vote.principle for vote in votes} == {"Be brief."} and store.votes() == []

    out = tmp_path / "preferences.jsonl"
    assert main(["export", "--out", str(out)]) == 0 and out.read_text() == ""
    assert main(["export", "--out", str(out), "--with-ai-votes"]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [row["annotator"] for row in rows] == ["implicit"] * report["pairs"]
    assert "there are 0 clear choices" in refused(capsys, "refresh", "--persona", "curt")


def test_judges_votes_are_learnt_from_where_that_is_asked_for(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    prompts = write_prompts(tmp_path / "prompts.txt", 12)
    command = [*ONLINE, "--steps", "4", "--principle", "Be brief.", "--prompts", prompts]
    made = printed(capsys, *command, "--json")["pairs"]
    report = printed(capsys, "refresh", "--all", "--with-ai-votes", "--epochs", "1", "--json")
    assert report["pairs_train"] + report["pairs_heldout"] == made


def test_online_without_json_tells_every_step(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    prompts = write_prompts(tmp_path / "prompts.txt")
    assert main([*ONLINE, "--principle", "a pirate", "--framing", "answer_as", "--prompts", prompts]) == 0
    captured = capsys.readouterr()
    assert captured.out.startswith("v1: ") and captured.err.count("step ") >= 2 and "win rate" in captured.err
    assert {vote.principle for vote in Store(tmp_path / "data").ai_votes()} == {"Answer as a pirate."}


def test_a_method_of_its_own_stands_in_the_version(capsys: pytest.CaptureFixture[str], tmp_path: Path):
    prompts, pairs = write_prompts(tmp_path / "prompts.txt"), write_pairs(tmp_path / "pairs.jsonl", 9)
    command = [*ONLINE, "--persona", "curt", "--prompts", prompts, "--method", "sapo"]
    assert "'sapo' learns from choices that there are already" in refused(capsys, *command)
    report = printed(capsys, *command, "--pairs", str(pairs), "--ema-decay", "0.9", "--json")
    assert report["pairs"] >= 2 and report["win_rate"]["n"] == 3
    (version,) = Store(tmp_path / "data").versions()
    assert (version.settings["method"], version.settings["ema_decay"], version.reference) == ("sapo", 0.9, "ema")
    assert Store(tmp_path / "data").ai_votes("curt") == [], "the judge only measured"


def test_an_unknown_method_is_told_with_the_known_ones(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main([*ONLINE, "--persona", "curt", "--method", "ppo"])
    told = capsys.readouterr().err.splitlines()[-1]
    assert "--method: invalid choice: 'ppo'" in told
    assert re.findall(r"\w+", told.partition("choose from")[2]) == list(METHODS)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([*ONLINE, "--persona", "curt", "--method", "optune", "--regenerate", "0"], "regenerate is 0.0"),
        ([*ONLINE, "--persona", "nobody"], "'nobody' does not exist"),
        ([*ONLINE, "--principle", " "], "the principle is empty"),
        ([*ONLINE, "--persona", "curt", "--steps", "0"], "steps is 0"),
        ([*ONLINE, "--persona", "curt", "--prompts", "no-such-file.txt"], "'no-such-file.txt' does not exist"),
        ([*ONLINE, "--persona", "curt", "--annotator", "endpoint"], "set PLUMBLINE_JUDGE_URL"),
    ],
)
def test_what_a_judge_cannot_do_is_a_sentence(capsys: pytest.CaptureFixture[str], arguments: list[str], told: str):
    assert told in refused(capsys, *arguments)
