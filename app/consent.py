"""What people agree to before they label. Knows the text and its version, neither who agreed nor the page."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from app.errors import InputError, NotFoundError
from app.prompts import clean

LONGEST = 20_000
TEXT = """\
You will read two answers to the same question and say which one is better.

What is kept: your choices, the reasons and corrections that you write, how long each choice took, when you made it, and the name \
that you enter, if you enter one. Your browser keeps a random code; here only a digest of it is kept, so that your labels belong together.

What it is for: to study and improve language models. The labels may be shared as a dataset, with the digest in place of your name. \
Please write nothing into them that tells who you or other people are.

It is up to you: you may skip any question and stop at any time. In the tab Label you can see all of your labels and delete them for \
good; copies of the dataset that were given away before that cannot be called back.
"""


@dataclass(frozen=True)
class Consent:
    """The text that is agreed to, and its version: the first 12 hexadecimal digits of its SHA-256, stored with every label."""

    text: str

    @property
    def version(self) -> str:
        """Another text is another version."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:12]


def read_consent(path: Path | None) -> Consent:
    """The text of a file, or where none is given the one that comes with Plumbline.

    Raises:
        NotFoundError: there is no such file.
        InputError: it is empty, too long or no UTF-8 text.
    """
    if path is None:
        return Consent(TEXT)
    if not path.is_file():
        raise NotFoundError(f"the consent text {str(path)!r} does not exist; set PLUMBLINE_CONSENT to a text file")
    try:
        return Consent(clean(path.read_text(encoding="utf-8"), f"the consent text {str(path)!r}", LONGEST))
    except UnicodeDecodeError as error:
        raise InputError(f"the consent text {str(path)!r} is no UTF-8 text ({error}); save it as one") from error
