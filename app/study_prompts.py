"""The prompts of a study from a file. Knows lines and their faults, no study."""

import json
from pathlib import Path

from app.errors import InputError
from app.prompts import MAX_PROMPT_CHARACTERS, clean
from app.text_files import read_text

LARGEST_FILE = 50 * 2**20
MOST_LINES = 200_000


def read_study_prompts(path: Path) -> list[str]:
    """The prompts of a text file, one a line, or of a JSONL file, one object with "prompt" a line; empty lines are passed over.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is no UTF-8 text, too large or without a prompt, or a line is none; the message names the line.
    """
    text = read_text(path, "the prompts file", "give a text file with one prompt a line", LARGEST_FILE)
    # Counted before they are split: the list of a file that is nothing but line ends takes eight times its size.
    if text.count("\n") > MOST_LINES:
        raise InputError(
            f"the prompts file {str(path)!r} has more than {MOST_LINES} lines, which is the most; split it"
        )
    first_on: dict[str, int] = {}
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"line {number} of {str(path)!r}"
        prompt = clean(_prompt_of(line, where) if path.suffix == ".jsonl" else line, where, MAX_PROMPT_CHARACTERS)
        if prompt in first_on:
            raise InputError(
                f"{where} is the same prompt as line {first_on[prompt]} ({prompt[:40]!r}); nobody is to label an item twice: leave one out"
            )
        first_on[prompt] = number
    if not first_on:
        raise InputError(f"the prompts file {str(path)!r} holds no prompt; write one a line")
    return list(first_on)


def _prompt_of(line: str, where: str) -> str:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{where} is no JSON ({error}); write one object a line") from error
    if not isinstance(row, dict) or not isinstance(row.get("prompt"), str):
        raise InputError(f'{where} has no text under "prompt"; write {{"prompt": "..."}}')
    return row["prompt"]
