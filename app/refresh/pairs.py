"""Preference pairs: what a pair is, reading them from TRL's format, and the held-out split. Knows no tensors and no database."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.errors import InputError, NotFoundError
from app.prompts import Message

HELD_OUT_SHARE = 0.2
FEWEST_PAIRS = 6
FEWEST_PROMPTS = 3
LARGEST_FILE = 200_000_000
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Pair:
    """One decisive choice. `prompt` is a conversation without a principle; `chosen` and `rejected` are answers; `round` is the id of
    the round that they are from, empty for a file's."""

    prompt: tuple[tuple[str, str], ...]
    chosen: str
    rejected: str
    round: str = ""

    @property
    def messages(self) -> list[Message]:
        """The prompt as chat messages."""
        return [{"role": role, "content": content} for role, content in self.prompt]


def make_pair(messages: list[Message], chosen: str, rejected: str, round_id: str = "") -> Pair:
    """A pair from chat messages and two answers."""
    return Pair(tuple((m["role"], m["content"]) for m in messages), chosen, rejected, round_id)


def read_pairs(path: Path) -> list[Pair]:
    """Reads JSON lines in TRL's preference format, `prompt`, `chosen`, `rejected`, each a string or a list of messages.

    Raises:
        NotFoundError: there is no such file.
        InputError: a line is malformed; the message holds its number and what was expected.
    """
    if not path.is_file():
        raise NotFoundError(
            f"the pairs file {str(path)!r} does not exist; give a file of JSON lines with prompt, chosen and rejected"
        )
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(
            f"the pairs file {str(path)!r} has {path.stat().st_size} bytes; {LARGEST_FILE} is the most that is read at once"
        )
    pairs = []
    for number, line in enumerate(path.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
            if not isinstance(row, dict):
                raise ValueError(f"{str(row)[:40]!r} is no object")
            pairs.append(make_pair(_prompt(row["prompt"]), _answer(row, "chosen"), _answer(row, "rejected")))
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise InputError(f"{path}, line {number}: not JSON ({error}); every line must be one object") from error
        except (KeyError, ValueError) as error:
            reason = f"the key {error} is missing" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"{path}, line {number}: {reason}; expected prompt, chosen and rejected as strings or lists of messages"
            ) from error
    if not pairs:
        raise InputError(
            f"the pairs file {str(path)!r} holds no pairs; every line must be an object with prompt, chosen and rejected"
        )
    return pairs


def split(pairs: list[Pair], seed: int) -> tuple[list[Pair], list[Pair]]:
    """Training and held-out pairs; all pairs of one prompt stay on one side, since answers to one prompt resemble each other.

    Raises:
        InputError: too few pairs or too few different prompts; the message says how many are missing.
    """
    prompts = sorted({pair.prompt for pair in pairs})
    if len(pairs) < FEWEST_PAIRS or len(prompts) < FEWEST_PROMPTS:
        missing = max(FEWEST_PAIRS - len(pairs), FEWEST_PROMPTS - len(prompts))
        raise InputError(
            f"there are {len(pairs)} clear choices on {len(prompts)} different prompts; learning needs at least {FEWEST_PAIRS} "
            f"on {FEWEST_PROMPTS}: {missing} more to go"
        )
    # By a hash, not by lot over what there is now: a prompt that a version was trained on must not be held out for the next one.
    ranks = {prompt: _rank(prompt, seed) for prompt in prompts}
    held_out = {prompt for prompt in prompts if ranks[prompt] < HELD_OUT_SHARE}
    if len(held_out) in (0, len(prompts)):
        held_out = {min(prompts, key=ranks.__getitem__)}
    return [p for p in pairs if p.prompt not in held_out], [p for p in pairs if p.prompt in held_out]


def _rank(prompt: tuple[tuple[str, str], ...], seed: int) -> float:
    digest = hashlib.sha256(json.dumps([seed, prompt]).encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _prompt(value: Any) -> list[Message]:
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": _whole(value, "prompt")}]
    messages = _messages(value, "prompt")
    if messages[-1]["role"] != "user":
        raise ValueError(f"the last message of prompt is of {messages[-1]['role']!r}, not of the user")
    return messages


def _answer(row: dict, key: str) -> str:
    value = row[key]
    if isinstance(value, str):
        answer = value
    else:
        messages = _messages(value, key)
        if messages[-1]["role"] != "assistant":
            raise ValueError(f"the last message of {key} is of {messages[-1]['role']!r}, not of the assistant")
        answer = messages[-1]["content"]
    if not answer.strip():
        raise ValueError(f"{key} is empty")
    return _whole(answer, key)


def _messages(value: Any, key: str) -> list[Message]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"{key} is {str(value)[:40]!r}")
    for message in value:
        if (
            not isinstance(message, dict)
            or not isinstance(message.get("content"), str)
            or message.get("role") not in ("system", "user", "assistant")
        ):
            raise ValueError(f"{key} holds {str(message)[:60]!r}, which is no message with role and content")
    return [{"role": m["role"], "content": _whole(m["content"], key)} for m in value]


def _whole(text: str, key: str) -> str:
    # JSON can write half of a surrogate pair; no tokenizer and no database takes it.
    if HALF_A_CHARACTER.search(text):
        raise ValueError(f"{key} holds half a character, a surrogate without its other half")
    return text
