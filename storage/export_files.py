"""Rows to files that are whole or not there: JSON lines, Parquet, CSV. Knows columns and files, not what the rows are for."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from storage.export_columns import Column, schema_of
from storage.files import whole_file

FILE_TYPES = ("jsonl", "parquet", "csv")
PORTION = 500
# What spreadsheets take for the beginning of a formula; and the sign that keeps them from it, so that it can be told apart.
NEUTRALISED = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")


def write_rows(rows: Iterable[dict[str, Any]], columns: tuple[Column, ...], file_type: str, path: Path) -> int:
    """Writes rows beside `path` and moves them into place; returns their number. Holds a portion of them in memory.

    Args:
        rows: each with every column.
        columns: in the order of the file.
        file_type: of `FILE_TYPES`.
        path: the file.

    Raises:
        StorageError: the file cannot be written; what stood there before still does.
    """
    write = {"jsonl": _write_jsonl, "parquet": _write_parquet, "csv": _write_csv}[file_type]
    with whole_file(path) as file:
        return write(rows, columns, file)


def neutralised(text: str) -> str:
    """A text as a CSV cell that no spreadsheet computes: an apostrophe in front of a formula's sign, or of an apostrophe."""
    return f"'{text}" if text.startswith(NEUTRALISED) else text


def restored(cell: str) -> str:
    """The text of a cell: one apostrophe in front is taken away again."""
    return cell.removeprefix("'")


def _write_jsonl(rows: Iterable[dict[str, Any]], columns: tuple[Column, ...], file: IO[bytes]) -> int:
    count = 0
    for row in rows:
        ordered = {column.name: row[column.name] for column in columns}
        file.write(f"{json.dumps(ordered, ensure_ascii=False)}\n".encode())
        count += 1
    return count


def _write_parquet(rows: Iterable[dict[str, Any]], columns: tuple[Column, ...], file: IO[bytes]) -> int:
    count, schema = 0, schema_of(columns)
    with pq.ParquetWriter(file, schema) as writer:
        for portion in _portions(rows):
            writer.write_table(pa.Table.from_pylist(portion, schema=schema))
            count += len(portion)
        if not count:
            writer.write_table(schema.empty_table())
    return count


def _write_csv(rows: Iterable[dict[str, Any]], columns: tuple[Column, ...], file: IO[bytes]) -> int:
    count = 0
    text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerow([column.name for column in columns])
    for row in rows:
        writer.writerow([_cell(row[column.name]) for column in columns])
        count += 1
    text.detach()  # the file is closed by whom it belongs to
    return count


def _cell(value: Any) -> Any:
    if isinstance(value, list):
        return json.dumps(value, ensure_ascii=False)
    return neutralised(value) if isinstance(value, str) else value


def _portions(rows: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    remaining = iter(rows)
    while portion := list(islice(remaining, PORTION)):
        yield portion
