"""Files of preference pairs and rated answers, JSON lines or Parquet, row by row and within bounds. Knows files; what a row means stands in `pair_rows`."""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.errors import InputError, NotFoundError, first_line
from app.refresh.pair_rows import HALF_A_CHARACTER, pair_of, rated_of
from app.refresh.pairs import Pair, Rated

LARGEST_FILE = 200_000_000
LARGEST_UNPACKED = 1_000_000_000
MOST_ROWS = 500_000
ROWS_AT_ONCE = 16
MOST_EXTRA = 50
LONGEST_EXTRA = 2000
PAIR_KEYS = ("prompt", "chosen", "rejected")
ROW_KEYS = (*PAIR_KEYS, "completion")


@dataclass(frozen=True)
class Line:
    """A row of a file: its number from 1, and the pair or the rated answer, or why it holds none. `extra` are its other plain values,
    by column."""

    number: int
    pair: Pair | None = None
    extra: dict[str, Any] = field(default_factory=dict)
    fault: str = ""
    rated: Rated | None = None


def read_rows(path: Path) -> tuple[list[Pair], list[Rated]]:
    """The rows of a file in TRL's formats, each value a string or a list of messages: pairs of `chosen`, `rejected` and mostly
    `prompt`; answers rated by themselves, of `prompt`, `completion` and `label`; and demonstrations, of `prompt` and `completion`.

    Raises:
        NotFoundError: there is no such file.
        InputError: a row is malformed; the message holds its number and what was expected.
    """
    pairs, rated = [], []
    for line in read_lines(path, with_rated=True):
        if line.pair:
            pairs.append(line.pair)
        elif line.rated:
            rated.append(line.rated)
        else:
            raise InputError(told(str(path), line))
    if not pairs:
        raise InputError(
            f"the pairs file {str(path)!r} holds no pairs; every line must be an object with prompt, chosen and rejected, and "
            "other lines may hold prompt and completion beside them"
        )
    return pairs, rated


def read_lines(path: Path, with_rated: bool = False) -> Iterator[Line]:
    """Every row of a file that is not blank, also the malformed ones. Parquet is told by how the file begins, not by its name.

    Args:
        path: the file.
        with_rated: whether rows that hold one answer, a `completion`, are taken, too.

    Raises:
        NotFoundError: there is no such file.
        InputError: the file is too large, or no Parquet although it begins like one.
    """
    if not path.is_file():
        raise NotFoundError(
            f"the pairs file {str(path)!r} does not exist; give a file of JSON lines with prompt, chosen and rejected"
        )
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(
            f"the pairs file {str(path)!r} has {path.stat().st_size} bytes; {LARGEST_FILE} is the most that is read at once"
        )
    with path.open("rb") as file:
        is_parquet = file.read(4) == b"PAR1"
    rows = _parquet_rows(path) if is_parquet else _json_rows(path)
    for number, row in rows:
        if isinstance(row, Line):
            yield row
            continue
        try:
            if with_rated and isinstance(row, dict) and row.get("completion") is not None:
                yield Line(number, rated=rated_of({key: value for key, value in row.items() if value is not None}))
            else:
                yield Line(number, pair_of(row), _extra(row))
        except ValueError as error:
            yield Line(number, fault=f"{error}; expected prompt, chosen and rejected as strings or lists of messages")


def told(name: str, line: Line) -> str:
    """Where the fault is, and what it is."""
    return f"{name}, line {line.number}: {line.fault}"


def _json_rows(path: Path) -> Iterator[tuple[int, Any]]:
    content = path.read_bytes()
    # Counted before they are split: the list of a file that is nothing but line ends takes eight times its size. A line may end in two.
    if content.count(b"\n") + content.count(b"\r") > 2 * MOST_ROWS:
        raise _too_many_lines(path)
    for number, line in enumerate(content.splitlines(), start=1):
        if number > MOST_ROWS:
            raise _too_many_lines(path)
        if not line.strip():
            continue
        try:
            yield number, json.loads(line.decode("utf-8"))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            yield number, Line(number, fault=f"not JSON ({error}); every line must be one object")
        except ValueError as error:  # a number of more digits than Python reads
            yield number, Line(number, fault=str(error))


def _too_many_lines(path: Path) -> InputError:
    return InputError(f"the pairs file {str(path)!r} has more than {MOST_ROWS} lines, which is the most; split it")


def _parquet_rows(path: Path) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa  # here, since most files are JSON lines
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            meta = file.metadata
            unpacked = sum(meta.row_group(i).total_byte_size for i in range(meta.num_row_groups))
            _bound(path, "rows", meta.num_rows, MOST_ROWS)
            _bound(path, "unpacked bytes", unpacked, LARGEST_UNPACKED)
            plain = (pa.types.is_string, pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean)
            names = [f.name for f in file.schema_arrow if f.name in ROW_KEYS or any(is_(f.type) for is_ in plain)]
            number, read = 0, 0
            # What is told above need not be true, and a value that repeats takes little room in the file: so in small portions.
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=names):
                read += batch.nbytes
                _bound(path, "unpacked bytes", read, LARGEST_UNPACKED)
                for i in range(batch.num_rows):
                    number += 1
                    try:
                        yield number, {name: batch.column(name)[i].as_py() for name in names}
                    except UnicodeDecodeError as error:
                        yield number, Line(number, fault=f"a text that is not UTF-8 ({error})")
    except (pa.ArrowException, OSError) as error:
        raise InputError(
            f"the pairs file {str(path)!r} begins like Parquet and cannot be read ({first_line(error)[:200]}); write it anew"
        ) from error


def _bound(path: Path, what: str, count: int, most: int) -> None:
    if not 0 <= count <= most:
        raise InputError(f"the pairs file {str(path)!r} has {count} {what}; {most} is the most that is read at once")


def _extra(row: dict[str, Any]) -> dict[str, Any]:
    others = {key: value for key, value in row.items() if key not in PAIR_KEYS and _is_plain(key) and _is_plain(value)}
    return dict(list(others.items())[:MOST_EXTRA])


def _is_plain(value: Any) -> bool:
    if isinstance(value, str):
        return len(value) <= LONGEST_EXTRA and not HALF_A_CHARACTER.search(value)
    return isinstance(value, bool | int) or (isinstance(value, float) and math.isfinite(value))
