"""Pairs from elsewhere on real files and a real database: every format of TRL's, bad rows by their line, bounds, and learning from them."""

import json
import re
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.errors import InputError, NotAllowedError, NotFoundError
from app.import_pairs import ImportPairs
from app.refresh import pair_files
from app.refresh.pair_files import read_rows
from app.refresh.pair_rows import pair_of
from app.refresh.pairs import make_pair
from storage.imported import imported
from storage.store import Store


def read_pairs(path):
    pairs, rated = read_rows(path)
    assert rated == []
    return pairs


USER = {"role": "user", "content": "Why is the sky blue?"}
GOOD = {"role": "assistant", "content": "Air scatters short waves more."}
BAD = {"role": "assistant", "content": "Air is blue."}
PAIR = make_pair([USER], GOOD["content"], BAD["content"])
ROW = {"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}
FORMATS = {
    "explicit messages": (ROW, PAIR),
    "implicit messages": ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, PAIR),
    "explicit strings": (
        {"prompt": USER["content"], "chosen": GOOD["content"], "rejected": BAD["content"]},
        PAIR,
    ),
    "implicit strings": (
        {"chosen": "The sky is blue, matey.", "rejected": "The sky is bleak."},
        make_pair([{"role": "user", "content": "The sky is"}], "blue, matey.", "bleak."),
    ),
    "a longer conversation": (
        {"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, GOOD, USER, BAD]},
        make_pair([USER, GOOD, USER], GOOD["content"], BAD["content"]),
    ),
}


@pytest.fixture
def imports(tmp_path: Path) -> ImportPairs:
    return ImportPairs(Store(tmp_path / "data"), authorise=lambda token: None)


def lines(path: Path, *rows: Any) -> Path:
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_every_format_is_read(tmp_path: Path, name: str, kind: str):
    row, pair = FORMATS[name]
    path = tmp_path / f"x.{kind}"
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist([row, row]), path)
    else:
        lines(path, row, row)
    assert read_pairs(path) == [pair, pair]


@settings(max_examples=100, deadline=None)
@given(st.text("ab ", min_size=1, max_size=8), st.text("ab ", max_size=8), st.text("ab ", max_size=8))
def test_implicit_prompt_and_answers_are_the_strings_again(prompt: str, one: str, other: str):
    row = {"chosen": f"{prompt}{one}", "rejected": f"{prompt}{other}"}
    try:
        pair = pair_of(row)
    except ValueError:
        return
    (message,) = pair.messages
    for key, answer in (("chosen", pair.chosen), ("rejected", pair.rejected)):
        assert row[key].startswith(message["content"]) and row[key].endswith(answer)
        assert row[key][len(message["content"]) : -len(answer)].isspace()  # the cut is between two words
    assert pair.chosen != pair.rejected


@pytest.mark.parametrize(
    ("row", "told"),
    [
        ({"chosen": "Yes.", "rejected": "No."}, "'prompt' is missing, and chosen and rejected do not begin alike"),
        ({"chosen": "same same", "rejected": "same same"}, "chosen and rejected are the same"),
        ({**ROW, "rejected": ROW["chosen"]}, "chosen and rejected are the same"),
        ({"chosen": "It is ", "rejected": "It is so"}, "is no more than how the other begins"),
        ({"chosen": [USER, GOOD], "rejected": [USER]}, "is no more than how the other begins"),
        ({"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, BAD, USER, GOOD]}, "differ in more than their last"),
        ({"chosen": [GOOD], "rejected": [BAD]}, "do not begin alike"),
        ({"chosen": [USER, GOOD], "rejected": "Why?"}, "rejected is 'Why?'"),
        ({**ROW, "chosen": "x" * 200_001}, "a text of 200001 characters; 200000 is the most"),
    ],
)
def test_row_that_holds_no_pair_is_told(row: dict, told: str):
    with pytest.raises(ValueError, match=re.escape(told)):
        pair_of(row)


# --- keeping them


def test_imported_pairs_are_kept_with_their_place_and_extras(tmp_path: Path, imports: ImportPairs):
    extra = {"score": 0.5, "source": "web", "good": True, "nested": [1], "long": "x" * 3000, "nothing": None}
    path = lines(tmp_path / "theirs.jsonl", ROW, "", {**ROW, **extra})
    report = imports.add(path, "zen")
    assert (report.source, report.pairs, report.bad, report.skipped) == ("theirs.jsonl", 2, 0, ())
    first, second = imported(Store(tmp_path / "data").database)
    assert (first.source, first.line, first.persona, first.prompt) == ("theirs.jsonl", 1, "zen", [USER])
    assert (first.chosen, first.rejected, first.extra) == (GOOD["content"], BAD["content"], {})
    assert (second.line, second.extra) == (3, {"score": 0.5, "source": "web", "good": True})


def test_a_bad_row_refuses_the_whole_file_and_is_named(tmp_path: Path, imports: ImportPairs):
    path = lines(tmp_path / "theirs.jsonl", ROW, "{", {"prompt": "a"}, ROW)
    with pytest.raises(InputError) as caught:
        imports.add(path)
    message = str(caught.value)
    assert "nothing was imported: 2 of 4 rows" in message
    assert "theirs.jsonl, line 2: not JSON" in message and "theirs.jsonl, line 3: the key 'chosen'" in message
    assert str(tmp_path) not in message
    assert imports.sources() == []
    report = imports.add(path, skip_bad=True)
    assert (report.pairs, report.bad) == (2, 2)
    assert [fault.partition(":")[0] for fault in report.skipped] == ["theirs.jsonl, line 2", "theirs.jsonl, line 3"]


def test_many_faults_are_counted_and_some_told(tmp_path: Path, imports: ImportPairs):
    report = imports.add(lines(tmp_path / "x.jsonl", ROW, *["{"] * 300), skip_bad=True)
    assert (report.pairs, report.bad, len(report.skipped)) == (1, 300, 20)


def test_file_without_a_pair_is_refused_also_where_bad_rows_are_left_out(tmp_path: Path, imports: ImportPairs):
    with pytest.raises(InputError, match="line 1: not JSON"):
        imports.add(lines(tmp_path / "x.jsonl", "{"), skip_bad=True)
    with pytest.raises(InputError, match="it is empty"):
        imports.add(lines(tmp_path / "x.jsonl"))
    assert imports.sources() == []


def test_a_file_comes_once_and_goes_by_its_name(tmp_path: Path, imports: ImportPairs):
    one, two = lines(tmp_path / "one.jsonl", ROW, ROW), lines(tmp_path / "two.jsonl", ROW)
    imports.add(one)
    with pytest.raises(InputError, match=r"'one\.jsonl' are here already"):
        imports.add(one)
    imports.add(two, "zen")
    assert [(s.source, s.persona, s.pairs) for s in imports.sources()] == [
        ("two.jsonl", "zen", 1),
        ("one.jsonl", "", 2),
    ]
    assert imports.delete("one.jsonl") == 2
    assert [s.source for s in imports.sources()] == ["two.jsonl"]
    with pytest.raises(NotFoundError, match=r"'one\.jsonl'"):
        imports.delete("one.jsonl")
    imports.add(one)


def test_imports_are_the_owners(tmp_path: Path):
    def closed(token: str) -> None:
        if token != "open sesame":
            raise NotAllowedError("this needs the owner's token")

    imports = ImportPairs(Store(tmp_path / "data"), closed)
    path = lines(tmp_path / "x.jsonl", ROW)
    for ask in (lambda: imports.add(path), imports.sources, lambda: imports.delete("x.jsonl")):
        with pytest.raises(NotAllowedError):
            ask()
    assert imports.add(path, token="open sesame").pairs == 1


# --- bounds


def test_parquet_row_is_named_by_its_number(tmp_path: Path, imports: ImportPairs):
    rows = [{"prompt": "Why?", "chosen": "a", "rejected": "b"}] * 40
    rows[36] = {"prompt": "Why?", "chosen": "", "rejected": "b"}
    path = tmp_path / "x.parquet"
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(InputError, match=r"1 of 40 rows .*x\.parquet, line 37: chosen is empty"):
        imports.add(path)


def test_parquet_text_that_is_no_text_is_a_bad_row(tmp_path: Path, imports: ImportPairs):
    """Arrow does not look at what it calls a string."""
    buffer = pa.py_buffer(b"\xff\xfe")
    bad = pa.StringArray.from_buffers(1, pa.py_buffer((0).to_bytes(4, "little") + (2).to_bytes(4, "little")), buffer)
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"prompt": bad, "chosen": ["a"], "rejected": ["b"]}), path)
    with pytest.raises(InputError, match="line 1: a text that is not UTF-8"):
        imports.add(path)


def bomb(path: Path, rows: int, characters: int) -> Path:
    """A small file that repeats one long text."""
    columns = {
        name: pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), [letter * characters])
        for name, letter in (("prompt", "x"), ("chosen", "y"), ("rejected", "z"))
    }
    pq.write_table(pa.table(columns), path, store_schema=False)
    assert path.stat().st_size < 100_000
    return path


def test_parquet_that_unpacks_to_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = bomb(tmp_path / "x.parquet", 20_000, 100_000)  # 6 GB
    monkeypatch.setattr(pair_files, "LARGEST_UNPACKED", 20_000_000)
    with pytest.raises(InputError, match="unpacked bytes; 20000000 is the most"):
        read_pairs(path)


def test_parquet_of_too_many_rows_is_refused_before_it_is_read(tmp_path: Path):
    path = bomb(tmp_path / "x.parquet", pair_files.MOST_ROWS + 1, 10)
    with pytest.raises(InputError, match=f"has {pair_files.MOST_ROWS + 1} rows; {pair_files.MOST_ROWS} is the most"):
        read_pairs(path)


@pytest.mark.parametrize("content", [b"PAR1", b"PAR1" + b"\0" * 100, b"PAR1" + b"x" * 20 + b"\xff\xff\xff\x7fPAR1"])
def test_what_begins_like_parquet_and_is_none_is_a_sentence(tmp_path: Path, content: bytes):
    (tmp_path / "x.jsonl").write_bytes(content)
    with pytest.raises(InputError, match="begins like Parquet and cannot be read"):
        read_pairs(tmp_path / "x.jsonl")


def test_too_many_lines_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pair_files, "MOST_ROWS", 3)
    with pytest.raises(InputError, match="more than 3 lines"):
        read_pairs(lines(tmp_path / "x.jsonl", *[ROW] * 4))
    assert len(read_pairs(lines(tmp_path / "x.jsonl", *[ROW] * 3))) == 3
