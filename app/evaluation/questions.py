"""What is asked in an evaluation: prompts, each under a principle. Reads the own set and JSON lists of others; knows no model.

The own set is 100 prompts and 12 principles, apart from the starter's corpus (a test compares them). Any JSON list of questions can
take the place of the prompts, so that whoever has a published set can use it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import yaml

from app.errors import InputError, NotFoundError
from app.prompts import MAX_PROMPT_CHARACTERS, clean, frame

HERE = Path(__file__).parent
LARGEST_FILE = 50_000_000


class Known(Protocol):
    """A persona of the library, as far as it matters here."""

    principle: str
    framing: str


@dataclass(frozen=True)
class Principle:
    """A framed principle. `persona`: the library's name for the manner that it asks for, where there is one; "" otherwise."""

    text: str
    persona: str = ""


@dataclass(frozen=True)
class Case:
    """One prompt under one principle. Cases of the same prompt are no independent observations."""

    prompt: str
    principle: Principle


@dataclass(frozen=True)
class Question:
    """A prompt; `principle` where the list that it stands in says what this answer should be like."""

    prompt: str
    principle: Principle | None = None


def own_prompts() -> list[Question]:
    """The 100 prompts that come with the product."""
    return [Question(prompt) for prompt in yaml.safe_load((HERE / "prompts.yaml").read_text(encoding="utf-8"))]


def own_principles() -> list[Principle]:
    """The 12 principles that come with the product, each with the persona that it asks for in fresh words."""
    entries = yaml.safe_load((HERE / "principles.yaml").read_text(encoding="utf-8"))
    return [Principle(frame(entry["principle"], "principle"), entry["persona"]) for entry in entries]


def of_persona(name: str, persona: Known) -> Principle:
    """A persona's own principle."""
    return Principle(frame(persona.principle, persona.framing), name)


def read_questions(path: Path, personas: Mapping[str, Known]) -> list[Question]:
    """Questions from a JSON list of texts, or of objects with `question` or `prompt` and, where wanted, `persona` or `preference`.

    A `persona` is one of `personas` by name, or else words that complete "Answer as …"; a `preference` is a principle as it
    stands. Where both are there, both are asked for. Other keys are passed over: published lists carry many.

    Args:
        path: a UTF-8 file.
        personas: by name.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is no such list; the message names the entry.
    """
    if not path.is_file():
        raise NotFoundError(f"the questions file {str(path)!r} does not exist; give a JSON list of questions")
    if path.stat().st_size > LARGEST_FILE:
        raise InputError(
            f"the questions file {str(path)!r} has {path.stat().st_size} bytes; {LARGEST_FILE} are the most"
        )
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise InputError(f"the questions file {str(path)!r} is no JSON in UTF-8 ({error})") from error
    if not isinstance(entries, list) or not entries:
        raise InputError(f"the questions file {str(path)!r} must hold a JSON list with at least one question")
    return [_question(entry, f"question {number}", personas) for number, entry in enumerate(entries, start=1)]


def _question(entry: Any, what: str, personas: Mapping[str, Known]) -> Question:
    fields = {"question": entry} if isinstance(entry, str) else entry
    if not isinstance(fields, dict):
        raise InputError(
            f"{what} is {str(entry)[:40]!r}; it must be a text, or an object with the key 'question' or 'prompt'"
        )
    prompt = _text(fields, ("question", "prompt"), what)
    if prompt is None:
        raise InputError(f"{what} has neither 'question' nor 'prompt', but {', '.join(map(str, fields))[:80]!r}")
    persona, preference = _text(fields, ("persona",), what), _text(fields, ("preference",), what)
    sentences, name = [], ""
    if persona in personas:
        sentences, name = [of_persona(persona, personas[persona]).text], persona
    elif persona:
        sentences = [frame(persona, "answer_as")]
    if preference:
        sentences.append(frame(preference, "principle"))
    principle = Principle(" ".join(sentences), name) if sentences else None
    return Question(clean(prompt, f"the prompt of {what}", MAX_PROMPT_CHARACTERS), principle)


def _text(fields: dict[str, Any], keys: tuple[str, ...], what: str) -> str | None:
    found = next((fields[key] for key in keys if fields.get(key) not in (None, "")), None)
    if found is not None and not isinstance(found, str):
        raise InputError(f"{' or '.join(keys)} of {what} is {str(found)[:40]!r}; it must be a text")
    return found


def cases(questions: list[Question], principles: list[Principle]) -> list[Case]:
    """Every question under every principle; one that brings its own goes under that alone. Equal cases count once.

    Raises:
        InputError: a question brings no principle, and none is given.
    """
    if not principles and any(question.principle is None for question in questions):
        raise InputError(
            "no principle is given, and some questions bring none; give personas, or 'persona' or 'preference'"
        )
    return list(
        dict.fromkeys(
            Case(question.prompt, principle)
            for question in questions
            for principle in ([question.principle] if question.principle else principles)
        )
    )
