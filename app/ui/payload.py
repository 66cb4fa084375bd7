"""Whether what a call carries fits what its event or endpoint takes, before any of it is looked at. Knows JSON, not what the values mean.

The schema is the one that the server itself publishes for programs; who keeps to it is never refused here.
"""

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import gradio as gr
from gradio.components.api_component import Api

from app.errors import InputError, short

LARGEST_NUMBER = 2**64
MOST_NESTED = 32
WORDS = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "nothing",
}


class Field(Protocol):
    """What is used of a component of Gradio."""

    stateful: bool
    label: str

    def api_info(self) -> Mapping[str, Any]:
        """The JSON schema of its value."""


def fitting(function: Callable[..., Any] | None, fields: Sequence[Field], values: Any) -> list[Any]:
    """The values of a call, one for each field; a text or a list of the page that is missing is empty.

    Raises:
        InputError: the event has nothing to call, values are missing, or one is of another kind than the field's.
    """
    if function is None:
        raise InputError("this event has nothing to call; reload the page")
    if not isinstance(values, list) or len(values) < len(fields):
        count = len(values) if isinstance(values, list) else 0
        raise InputError(f"{count} values came with the call, and it takes {len(fields)}; reload the page")
    names = _names(function, fields)
    return [
        value if field.stateful else _checked(name, value, field)
        for name, value, field in zip(names, values, fields, strict=False)
    ]


def fits(schema: Mapping[str, Any], value: Any) -> bool:
    """Whether a value is of the schema's kind; what a schema says beyond kinds is the use cases' to check."""
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return any(fits(one, value) for one in schema[several])
    match schema.get("type"):
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return _is_number(value) and value == int(value)
        case "number":
            return _is_number(value)
        case "array":
            return isinstance(value, list) and all(fits(schema.get("items", {}), each) for each in value)
        case "object":
            return isinstance(value, dict) and set(schema.get("required", ())) <= set(value)
        case "null":
            return value is None
    return True


def _wanted(schema: Mapping[str, Any]) -> str:
    several = [one for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())) if one.get("type") != "null"]
    if several:
        return " or ".join(dict.fromkeys(map(_wanted, several)))
    kind = schema.get("type")
    word = WORDS.get(kind, "of another kind") if isinstance(kind, str) else "of another kind"
    inside = schema.get("items", {}).get("type") if kind == "array" else None
    return f"{word}, each of them {WORDS[inside]}" if inside in WORDS else word


def _checked(name: str, value: Any, field: Field) -> Any:
    if fault := _fault(value):
        raise InputError(f"{name} {fault}")
    try:
        schema = field.api_info()
    except NotImplementedError:  # a button, whose value is its words
        schema = {"type": "string"}
    if isinstance(field, gr.BrowserState) and isinstance(field.default_value, str):
        schema = {"type": "string"}  # Gradio takes anything for it
    kind = schema.get("type")
    if value is None and kind == "string" and "enum" not in schema:
        return ""
    if value is None and not isinstance(field, Api):
        return [] if kind == "array" else None  # a field on the page that was emptied or never filled
    if not fits(schema, value):
        wanted = _wanted(schema)
        raise InputError(f"{name} is {short(value)}: it must be {wanted}")
    return value


def _fault(value: Any, depth: int = 0) -> str:
    """Why a value can be no input of anything, or nothing."""
    if isinstance(value, str):
        if "\0" in value:
            return "holds a NUL, which is no character of a text; leave it out"
        if any("\ud800" <= sign <= "\udfff" for sign in value):
            return "holds half a character (a lone surrogate); send the whole of it"
    elif isinstance(value, float) and not math.isfinite(value):
        return f"is {value}: it must be a number"
    elif isinstance(value, int) and abs(value) > LARGEST_NUMBER:
        return f"is a number of {value.bit_length()} bits; {LARGEST_NUMBER:.0e} is the largest"
    elif isinstance(value, list | dict):
        if depth == MOST_NESTED:
            return f"is nested more than {MOST_NESTED} deep"
        parts = value if isinstance(value, list) else [*value, *value.values()]
        return next(filter(None, (_fault(part, depth + 1) for part in parts)), "")
    return ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _names(function: Callable[..., Any], fields: Sequence[Field]) -> list[str]:
    """What a function calls its values; where it takes any number of them, what the fields are called."""
    named = [p.name for p in inspect.signature(function).parameters.values() if p.kind is p.POSITIONAL_OR_KEYWORD]
    labels = [str(getattr(field, "label", None) or "a value") for field in fields]
    return [*named, *labels[len(named) :]][: len(fields)]
