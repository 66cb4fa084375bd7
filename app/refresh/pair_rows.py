"""One row in TRL's preference format as a pair, explicit or implicit prompt, or in its unpaired one as a rated answer. Knows no files."""

import re
from itertools import takewhile
from typing import Any

from app.prompts import Message
from app.refresh.pairs import Pair, Rated, make_pair, make_rated

LONGEST_TEXT = 200_000
HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")


def pair_of(row: Any) -> Pair:
    """The pair that a row holds.

    With `prompt` the prompt is explicit. Without it, it is what `chosen` and `rejected` begin with: the same messages, or the same
    words; TRL's `extract_prompt` cuts a string in the middle of a word, here the word belongs to the answers.

    Raises:
        ValueError: the row holds no pair; the message says what is wrong with it.
    """
    if not isinstance(row, dict):
        raise ValueError(f"{str(row)[:40]!r} is no object")
    for key in ("chosen", "rejected"):
        if key not in row:
            raise ValueError(f"the key {key!r} is missing")
    if row["chosen"] == row["rejected"]:
        raise ValueError("chosen and rejected are the same")
    if "prompt" in row:
        return make_pair(_prompt(row["prompt"]), _answer(row["chosen"], "chosen"), _answer(row["rejected"], "rejected"))
    return _implicit(row["chosen"], row["rejected"])


def rated_of(row: dict[str, Any]) -> Rated:
    """The answer that a row with `prompt` and `completion` holds: liked or not by its `label`, or a demonstration where there is no
    label, or where `edited` says so, as in our own export.

    Raises:
        ValueError: the row holds none; the message says what is wrong with it.
    """
    if "prompt" not in row:
        raise ValueError("the key 'prompt' is missing")
    label = row.get("label", True)
    if not isinstance(label, bool):
        raise ValueError(f"label is {str(label)[:40]!r}, which is neither true nor false")
    demonstration = "label" not in row or row.get("edited") is True
    return make_rated(_prompt(row["prompt"]), _answer(row["completion"], "completion"), label, demonstration)


def _implicit(chosen: Any, rejected: Any) -> Pair:
    if isinstance(chosen, str) and isinstance(rejected, str):
        begins = _shared_words(_whole(chosen, "chosen"), _whole(rejected, "rejected"))
        prompt, answers = chosen[:begins].rstrip(), (chosen[begins:], rejected[begins:])
    else:
        one, other = _messages(chosen, "chosen"), _messages(rejected, "rejected")
        begins = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))
        prompt, answers = one[:begins], (one[begins:], other[begins:])
        if any(len(answer) > 1 for answer in answers):
            raise ValueError(
                "the key 'prompt' is missing, and chosen and rejected differ in more than their last message"
            )
    if not prompt:
        raise ValueError("the key 'prompt' is missing, and chosen and rejected do not begin alike")
    if not all(answers):
        raise ValueError(
            "the key 'prompt' is missing, and one of chosen and rejected is no more than how the other begins"
        )
    return make_pair(_prompt(prompt), _answer(answers[0], "chosen"), _answer(answers[1], "rejected"))


def _shared_words(one: str, other: str) -> int:
    """How many characters both begin with, up to the beginning of a word."""
    alike = sum(1 for _ in takewhile(lambda both: both[0] == both[1], zip(one, other, strict=False)))
    while alike and not one[alike - 1].isspace():
        alike -= 1
    return alike


def _prompt(value: Any) -> list[Message]:
    if isinstance(value, str) and value.strip():
        return [{"role": "user", "content": _whole(value, "prompt")}]
    messages = _messages(value, "prompt")
    if messages[-1]["role"] != "user":
        raise ValueError(f"the last message of prompt is of {messages[-1]['role']!r}, not of the user")
    return messages


def _answer(value: Any, key: str) -> str:
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
    if len(text) > LONGEST_TEXT:
        raise ValueError(f"{key} holds a text of {len(text)} characters; {LONGEST_TEXT} is the most")
    # JSON can write half of a surrogate pair; no tokenizer and no database takes it.
    if HALF_A_CHARACTER.search(text):
        raise ValueError(f"{key} holds half a character, a surrogate without its other half")
    return text
