"""A text file that somebody names on the command line or the page, read within bounds. Knows bytes and UTF-8, not what the text says."""

from pathlib import Path

from app.errors import InputError, NotFoundError


def read_text(path: Path, what: str, way_out: str, largest: int) -> str:
    """The text of a UTF-8 file, without the mark that some editors put before it.

    Args:
        path: the file.
        what: how an error calls it ("the prompts file").
        way_out: what to give in its place where it is not there.
        largest: in bytes.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is larger than `largest`, or no UTF-8 text.
    """
    if not path.is_file():
        raise NotFoundError(f"{what} {str(path)!r} does not exist; {way_out}")
    if (size := path.stat().st_size) > largest:
        raise InputError(f"{what} {str(path)!r} has {size} bytes; {largest} are the most")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{what} {str(path)!r} is no UTF-8 text ({error}); save it as one") from error
