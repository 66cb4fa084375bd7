"""The exceptions that a person can do something about. Every message names the value received, the bound and the way out.

Whoever raises or shows them imports this; it knows nothing of them.
"""

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError


class PlumblineError(Exception):
    """The root: caught once at the page, the command line and the API, and shown as a sentence."""


class InputError(PlumblineError):
    """A value that a person or a program sent is missing, malformed or out of bounds."""


class NotFoundError(PlumblineError):
    """A round, persona, adapter version or file that was named does not exist."""


class ModelError(PlumblineError):
    """A model or an adapter cannot be loaded or cannot do what is asked of it."""


class StorageError(PlumblineError):
    """The database or the data folder cannot be read or written."""


class NotAllowedError(PlumblineError):
    """The owner's token is needed and was not given, or the owner has shut somebody out."""


class HubError(PlumblineError):
    """The Hub cannot be reached, or refuses what was asked of it."""


class ConsentError(PlumblineError):
    """A rater has not agreed to the consent text as it stands now."""


class BusyError(PlumblineError):
    """More is waiting for the model than the queue holds."""


class LimitError(PlumblineError):
    """A visitor, an address or everybody together asks for more than is allowed just now.

    seconds: after which it is worth another try; 0 where waiting does not help.
    """

    def __init__(self, message: str, seconds: int):
        super().__init__(message)
        self.seconds = seconds


def first_line(error: BaseException) -> str:
    """What a library's error says first, or its kind where it says nothing."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


Checked = TypeVar("Checked", bound=BaseModel)


def checked(kind: type[Checked], /, **values: Any) -> Checked:
    """Builds a pydantic model from values that came from outside.

    Raises:
        InputError: names every field that is wrong, the value received and the bound.
    """
    try:
        return kind(**values)
    except ValidationError as error:
        faults = (
            f"{'.'.join(map(str, e['loc']))} is {short(e.get('input'))}: {e['msg'][:1].lower()}{e['msg'][1:]}"
            for e in error.errors()
        )
        raise InputError("; ".join(faults)) from error


def short(value: Any) -> str:
    """A value as an error names it, whatever it is: as Python writes it, 60 characters at most or their number."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:50]}... ({len(text)} characters)"
