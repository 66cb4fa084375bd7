"""The persona library: one YAML file a persona, read and checked here.

Knows what a persona is and how its file looks. Does not know models, prompts, storage or the page: it imports no torch,
no gradio and of `app` only the errors, and how a framing turns a principle into a prompt is the business of `app/prompts.py`.
"""

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from app.errors import PlumblineError

Framing = Literal["answer_as", "the_reader_is", "principle"]
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z][a-z-]{0,19}$")]
Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=2000)]


class PersonaError(PlumblineError):
    """A persona file cannot be used; the message names the file, the key and the value received."""


class Persona(BaseModel):
    """A named way of answering: a principle, how it enters the prompt, and what the page shows about it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    id: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    name: str = Field(min_length=1, max_length=60)
    principle: Text
    framing: Framing
    tags: tuple[Tag, ...] = Field(min_length=1, max_length=4)
    ratio: float = Field(ge=0, le=10, allow_inf_nan=False, strict=True)  # strict: YAML's `true` and "2" are no numbers
    description: str = Field(min_length=1, max_length=200)
    example_prompts: tuple[Text, ...] = Field(min_length=1, max_length=6)
    example_answers: dict[Text, Text]  # prompt -> an answer in this persona's voice


def load_library(folder: Path = Path(__file__).parent) -> dict[str, Persona]:
    """Read every `*.yaml` of a folder as a persona.

    Args:
        folder: where the files lie; without it, the personas that come with this package.

    Returns:
        The personas by id, in the order of their file names.

    Raises:
        PersonaError: if the folder holds no persona, or if a file is not YAML, lacks a key, has an unknown or repeated
            one, holds a value out of bounds, has an id other than its file name, or an id that another file has.
    """
    library: dict[str, Persona] = {}
    for path in sorted(folder.glob("*.yaml")):
        persona = _read_persona(path)
        if persona.id in library:
            raise PersonaError(f"{path}: `id` {persona.id!r} is already taken by another file of this folder.")
        if persona.id != path.stem:
            raise PersonaError(f"{path}: `id` should be the file's name {path.stem!r}, but received {persona.id!r}.")
        library[persona.id] = persona
    if not library:
        raise PersonaError(f"{folder}: no persona found; expected one or more `*.yaml` files with an `id` each.")
    return library


def _read_persona(path: Path) -> Persona:
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        content = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError) as error:  # ValueError: not UTF-8, or a date such as 2026-13-01
        raise PersonaError(f"{path}: not readable as YAML: {error}") from error
    if not isinstance(content, dict):
        raise PersonaError(f"{path}: expected a mapping that begins with `id`, but received {content!r}.")
    _refuse_repeated_keys(path, node)
    try:
        return Persona.model_validate(content)
    except ValidationError as error:
        raise PersonaError(f"{path}: {_faults(error)}") from error


def _refuse_repeated_keys(path: Path, node: yaml.Node | None) -> None:
    """YAML keeps the last of two equal keys in silence; a persona that says a thing twice is a mistake."""
    if not isinstance(node, yaml.MappingNode):
        return
    seen: set[str] = set()
    for key, value in node.value:
        if key.value in seen:
            received = value.value if isinstance(value, yaml.ScalarNode) else "a second block"
            raise PersonaError(f"{path}: `{key.value}` is given twice; the second value received is {received!r}.")
        seen.add(key.value)


def _faults(error: ValidationError) -> str:
    """Every fault of one file as `key`: reason, with the value received."""
    faults = []
    for fault in error.errors(include_url=False):
        key = ".".join(str(part) for part in fault["loc"])
        if fault["type"] == "missing":
            faults.append(f"`{key}` is missing; keys received: {', '.join(map(str, fault['input']))}.")
        elif fault["type"] == "extra_forbidden":
            faults.append(f"`{key}` is an unknown key; the value received is {fault['input']!r}.")
        else:
            faults.append(f"`{key}`: {fault['msg']}, but the value received is {fault['input']!r}.")
    return " ".join(faults)
