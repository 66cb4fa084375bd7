"""Exports as files: whole or not there, opened by `datasets`, trained on by TRL, and read back as the same pairs."""

import csv
import json
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM, AutoTokenizer

from app import data_command
from app.data import ROWS, Data, ExportRequest, with_principles
from app.errors import InputError, NotAllowedError, NotFoundError, StorageError
from app.refresh.pair_files import read_pairs
from app.refresh.pairs import make_pair
from storage.export import decisive
from storage.export_columns import TEXT, Column, columns_of
from storage.export_files import FILE_TYPES, neutralised, restored, write_rows
from storage.records import Study, Vote
from storage.store import Store
from storage.voted import voted
from tests.rounds import a_round, answers

ROOT = Path(__file__).parent.parent
COLUMNS = (Column("n", pa.int64(), ""), Column("text", TEXT, ""))


def write(rows: Any, path: Path) -> int:
    return write_rows(rows, COLUMNS, "jsonl", path)


def test_file_replaces_the_old_one_and_nothing_else_is_left(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    path.write_text("old\n")
    assert write(({"n": n, "text": "ü\n\u2028"} for n in range(3)), path) == 3
    assert [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n")[:-1]] == [
        {"n": n, "text": "ü\n\u2028"} for n in range(3)
    ]
    assert list(tmp_path.iterdir()) == [path]
    assert write([], path) == 0
    assert path.read_text() == ""


def failing(error: BaseException) -> Iterator[dict[str, int]]:
    yield {"n": 1, "text": ""}
    raise error


@pytest.mark.parametrize(
    ("rows", "error"),
    [
        (lambda: failing(RuntimeError("in the middle")), RuntimeError),
        (lambda: failing(StorageError("the database went away")), StorageError),
        (lambda: failing(KeyboardInterrupt()), KeyboardInterrupt),
        (lambda: failing(OSError(5, "Input/output error")), StorageError),
        (lambda: [{"n": 1, "text": object()}], TypeError),
        (lambda: [{"n": 1, "text": "half \ud83c"}], UnicodeEncodeError),
    ],
)
@pytest.mark.parametrize("old", [None, "old\n"])
def test_export_that_fails_leaves_what_was_there(tmp_path: Path, rows, error: type, old: str | None):
    path = tmp_path / "pairs.jsonl"
    if old is not None:
        path.write_text(old)
    with pytest.raises(error):
        write(rows(), path)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == ({} if old is None else {"pairs.jsonl": old})


def test_missing_folder_is_named(tmp_path: Path):
    path = tmp_path / "nowhere" / "pairs.jsonl"
    with pytest.raises(StorageError, match="choose a folder that exists") as caught:
        write([], path)
    assert str(path) in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_full_disk_leaves_the_old_file(tmp_path: Path):
    script = """
import resource, signal, sys
from pathlib import Path
from app.errors import StorageError
from storage.export_columns import TEXT, Column
from storage.export_files import write_rows
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    write_rows(({"n": "x" * 1000} for _ in range(100)), (Column("n", TEXT, ""),), "jsonl", Path(sys.argv[1]))
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


# --- what stands in them

FORMULA = "=1+1, matey"


def open_to_all(token: str) -> None:
    pass


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Twelve votes of three raters on rounds of two versions, with and without what may be missing."""
    store = Store(tmp_path / "store")
    for number in range(12):
        first = ("linear_aligned", "baseline")[number % 2]
        second = ("baseline", "linear_aligned")[number % 2]
        texts = answers(linear_aligned=f"{FORMULA} {number}", baseline=f'\'The \u2028 "sky", {number}\n😀')
        persona, version = ("pirate", "zen")[number % 3 == 0], ("", "v3")[number > 6]
        store.add_round(
            a_round(
                f"r{number}", f"-Why {number}?", persona, answers=texts, first_arm=first, second_arm=second,
                adapter=version, settings={"seed": number, "kl_budget": None if number < 9 else 0.5},
            )
        )  # fmt: skip
        choice = ("first", "second", "tie", "both_bad", "first", "first")[number % 6]
        edit = {"edited_side": "second", "edited": f"Better {number}."} if number % 4 == 0 else {}
        dwell = None if number < 9 else 1.5
        store.vote(Vote(f"r{number}", f"rater{number % 3}", choice, "@so" if number == 11 else "", dwell, "2", **edit))
    return store


def exported(store: Store, folder: Path, **request: Any) -> Any:
    """An export folder as `datasets` opens it."""
    count = Data(store, open_to_all).export_folder(ExportRequest(**request), folder)
    dataset = datasets.load_dataset(str(folder), split="train", cache_dir=str(folder.parent / "cache"))
    assert len(dataset) == count
    return dataset


def test_the_command_offers_every_format_and_file_type():
    assert (tuple(ROWS), FILE_TYPES) == (data_command.FORMATS, data_command.FILE_TYPES)


COUNTS = {"preference": 8, "unpaired": 23, "demonstrations": 3, "votes": 12}


@pytest.mark.parametrize("format_", COUNTS)
@pytest.mark.parametrize("file_type", FILE_TYPES)
def test_datasets_opens_every_export(store: Store, tmp_path: Path, format_: str, file_type: str):
    dataset = exported(store, tmp_path / "out", format=format_, file_type=file_type)
    assert len(dataset) == COUNTS[format_]
    columns = columns_of(format_)
    assert dataset.column_names == [column.name for column in columns]
    types = {"csv": {"list": "string"}}.get(file_type, {})
    for column in columns:
        found = str(dataset.features.arrow_schema.field(column.name).type).replace("large_", "")
        wanted = types.get("list") if types and pa.types.is_list(column.type) else str(column.type)
        assert found.replace("element: ", "item: ") == wanted.replace("element: ", "item: "), column.name
    assert {row["adapter"] or "" for row in dataset} <= {"", "v3"}


def test_the_file_types_say_the_same(store: Store, tmp_path: Path):
    lines, table = (
        exported(store, tmp_path / kind, format="votes", file_type=kind).to_list() for kind in ("jsonl", "parquet")
    )
    assert lines == table and len(lines) == 12
    Data(store, open_to_all).export_file(ExportRequest(format="votes", file_type="csv"), tmp_path / "csv.csv")
    with (tmp_path / "csv.csv").open(encoding="utf-8", newline="") as file:
        cells = list(csv.DictReader(file))
    assert not [cell for row in cells for cell in row.values() if cell[:1] in ("=", "+", "-", "@", "\t", "\r", "\n")]
    for row, line in zip(cells, lines, strict=True):
        for name in ("first", "second", "reason", "round", "edited"):
            assert restored(row[name]) == line[name]
        assert json.loads(row["prompt"]) == line["prompt"]


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.sampled_from("=+-@\t\r\n'＝x 1"), max_size=4))
def test_a_cell_begins_with_no_formula_and_is_restored(text: str):
    cell = neutralised(text)
    assert not cell.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝"))
    assert restored(cell) == text


def test_an_export_without_rows_has_its_columns(tmp_path: Path):
    for kind in FILE_TYPES:
        request = ExportRequest(file_type=kind)
        assert Data(Store(tmp_path / "store"), open_to_all).export_folder(request, tmp_path / kind) == 0
    names = [column.name for column in columns_of("preference")]
    assert pq.read_schema(tmp_path / "parquet" / "preference.parquet").names == names
    assert (tmp_path / "csv" / "preference.csv").read_bytes() == ",".join(names).encode() + b"\r\n"
    assert "not measured (n = 0)" in (tmp_path / "jsonl" / "README.md").read_text()


def test_portions_are_all_the_votes_in_their_order(store: Store):
    whole = store.votes()
    for portion in (1, 5, 12, 500):
        assert list(voted(store.database, portion=portion)) == whole
    assert list(voted(store.database, "zen", portion=2)) == store.votes("zen") and store.votes("zen")


def test_only_a_persona_or_a_study(store: Store, tmp_path: Path):
    with store.database.write() as db:
        study = vars(Study("s", 'Tone & "care"', ("a", "b"), 1, 0.0, {}, "", "m", "r"))
        db["studies"].insert({**study, "arms": "[]", "settings": "{}"})
        db["study_items"].insert({"id": 5, "study": "s", "position": 0, "persona": "zen", "messages": "[]"})
        db.execute("update rounds set item = 5 where id in ('r2', 'r4')")
    dataset = exported(store, tmp_path / "study", format="votes", study='Tone & "care"')
    assert [(row["round"], row["study"]) for row in dataset] == [("r2", 'Tone & "care"'), ("r4", 'Tone & "care"')]
    dataset = exported(store, tmp_path / "persona", format="votes", persona="zen")
    assert [row["round"] for row in dataset] == ["r0", "r3", "r6", "r9"]
    with pytest.raises(NotFoundError, match=r"'Nobody' does not exist; there are Tone"):
        Data(store, open_to_all).export_file(ExportRequest(study="Nobody"), tmp_path / "x.jsonl")


def test_card_tells_how_far_two_raters_agree_and_what_was_longer(tmp_path: Path):
    """Four rounds, judged by both: the same twice, then each arm by one of them."""
    store = Store(tmp_path)
    for n, choices in enumerate([("first", "first"), ("second", "second"), ("first", "second"), ("second", "first")]):
        store.add_round(a_round(f"r{n}", "Why?", answers=answers(linear_aligned="a longer answer", baseline="short")))
        for rater, choice in zip(("ann", "bob"), choices, strict=True):
            store.vote(Vote(f"r{n}", rater, choice))
    Data(store, open_to_all).export_folder(ExportRequest(format="votes"), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    # Half agreed where chance gives half: kappa 0. Krippendorff: 1 - (n - 1) observed / expected = 1 - 7 * (4 / 8) / (2 * 4 * 4 / 8) = 0.125.
    assert "alpha, nominal, of 4 things judged by several of 2 raters (1: full agreement, 0: chance) | 0.125 (" in text
    assert "Cohen's kappa, of two raters | 0.000 (" in text
    assert "Fleiss' kappa, of more raters | not measured |" in text
    assert "sides exchanged | not measured (n = 0) |" in text
    assert "The longer answer wins, of clear votes (0.5: no length bias) | 0.500 (" in text


def test_card_tells_counts_and_biases(store: Store, tmp_path: Path):
    request = {"format": "preference", "file_type": "parquet", "with_principle": True, "license": "cc-by-4.0"}
    Data(store, open_to_all).export_folder(ExportRequest(**request), tmp_path / "out")
    _, head, text = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)
    head = yaml.safe_load(head)
    assert head["license"] == "cc-by-4.0"
    assert head["configs"][0]["data_files"] == [{"split": "train", "path": "preference.parquet"}]
    for line in (
        "has 8 rows, from 12 votes of 3 raters",
        "| first | 6 |", "| second | 2 |", "| tie | 2 |", "| both_bad | 2 |",
        "| with_principle | True |",
        "0.750 (0.409 to 0.929), n = 8",  # Wilson's interval of 6 of 8, by hand
        "| Krippendorff's alpha, nominal, of 0 things judged by several of 0 raters (1: full agreement, 0: chance) | not measured |",
        "Versions of the consent text: 2 (12)",
        "baseline @ v3 wins against linear_aligned @ v3",
    ):  # fmt: skip
        assert line in text, line
    for column in columns_of("preference"):
        assert f"| {column.name} | " in text and column.what in text


def test_words_of_people_stay_text_in_the_card(store: Store, tmp_path: Path):
    with store.database.write() as db:
        db.execute("update rounds set persona = ? where id = 'r1'", ["x |\n# [a](http://b) <script>"])
    Data(store, open_to_all).export_folder(ExportRequest(), tmp_path / "out")
    text = (tmp_path / "out" / "README.md").read_text()
    assert "x \\| # \\[a\\](http://b) \\<script\\>" in text and "\n# [a]" not in text


def test_folder_with_other_files_is_left_alone(store: Store, tmp_path: Path):
    data, folder = Data(store, open_to_all), tmp_path / "out"
    data.export_folder(ExportRequest(), folder)
    data.export_folder(ExportRequest(persona="zen"), folder)  # again, over the earlier one
    assert {path.name for path in folder.iterdir()} == {"preference.jsonl", "README.md"}
    for request in (ExportRequest(format="votes"), ExportRequest(file_type="csv")):
        with pytest.raises(InputError, match=r"holds README\.md, preference\.jsonl; choose a new one"):
            data.export_folder(request, folder)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "README.md").write_text("my own")
    with pytest.raises(InputError, match=r"holds README\.md"):
        data.export_folder(ExportRequest(), tmp_path / "mine")
    with pytest.raises(StorageError, match="choose one in a folder that exists"):
        data.export_folder(ExportRequest(), tmp_path / "no" / "where")


def test_zip_holds_the_data_and_its_card(store: Store, tmp_path: Path):
    assert Data(store, open_to_all).export_zip(ExportRequest(format="votes"), tmp_path / "x.zip") == 12
    with zipfile.ZipFile(tmp_path / "x.zip") as archive:
        assert archive.namelist() == ["README.md", "votes.jsonl"]
        assert len(archive.read("votes.jsonl").splitlines()) == 12


def test_exports_are_the_owners(store: Store, tmp_path: Path):
    def closed(token: str) -> None:
        if token != "open sesame":
            raise NotAllowedError("this needs the owner's token")

    data = Data(store, closed)
    for write_ in (data.export_file, data.export_folder, data.export_zip):
        with pytest.raises(NotAllowedError):
            write_(ExportRequest(), tmp_path / "x", "open sesam")
    assert not (tmp_path / "x").exists()
    assert data.export_file(ExportRequest(), tmp_path / "x", "open sesame") == 8


def test_judges_are_no_votes(store: Store, tmp_path: Path):
    with pytest.raises(InputError, match="'votes'; they are preferences"):
        Data(store, open_to_all).export_file(ExportRequest(format="votes", with_ai_votes=True), tmp_path / "x")


# --- learning from them


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_an_export_is_read_back_as_the_same_pairs(store: Store, tmp_path: Path, kind: str):
    chosen = [make_pair(r.messages, r.answers[a].text, r.answers[b].text) for _, r, a, b in decisive(store.votes())]
    data = Data(store, open_to_all)
    data.export_file(ExportRequest(file_type=kind), tmp_path / "plain")
    assert read_pairs(tmp_path / "plain") == chosen
    data.export_file(ExportRequest(file_type=kind, with_principle=True), tmp_path / "principled")
    for pair, (_, round_, _, _) in zip(read_pairs(tmp_path / "principled"), decisive(store.votes()), strict=True):
        assert pair.messages == with_principles(round_.messages, round_.principles)


@pytest.mark.parametrize("with_principle", [False, True])
def test_trl_trains_dpo_on_an_export_as_it_is(store: Store, tmp_path: Path, tiny_folders, with_principle: bool):
    from trl import DPOConfig, DPOTrainer

    dataset = exported(store, tmp_path / "out", file_type="parquet", with_principle=with_principle)
    assert trained(DPOTrainer, DPOConfig, dataset, tmp_path, tiny_folders["llama"]) == 2


def test_trl_trains_kto_on_an_export_as_it_is(store: Store, tmp_path: Path, tiny_folders):
    from trl import KTOConfig, KTOTrainer

    dataset = exported(store, tmp_path / "out", format="unpaired", file_type="parquet")
    assert trained(KTOTrainer, KTOConfig, dataset, tmp_path, tiny_folders["llama"]) == 2


def trained(trainer: Any, config: Any, dataset: Any, folder: Path, model: Path) -> int:
    """How many steps a stock trainer made on the dataset; each changed the weights of a finite loss."""
    options = config(
        output_dir=str(folder / "trl"), max_steps=2, per_device_train_batch_size=2, report_to=[], use_cpu=True,
        bf16=False, save_strategy="no", logging_steps=1, disable_tqdm=True,
    )  # fmt: skip
    made = trainer(
        model=AutoModelForCausalLM.from_pretrained(model),
        args=options,
        train_dataset=dataset,
        processing_class=AutoTokenizer.from_pretrained(model),
    )
    made.train()
    losses = [entry["loss"] for entry in made.state.log_history if "loss" in entry]
    assert len(losses) == 2 and all(0 < loss < 100 for loss in losses)
    return made.state.global_step
