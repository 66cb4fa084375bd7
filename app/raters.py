"""The use case *be a rater*: enter, see one's labels, delete them. Knows people by digests; no model, no page."""

import hashlib
import hmac
import os
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from app.consent import Consent
from app.errors import ConsentError, InputError, StorageError
from app.prompts import clean
from storage.bans import BanTable
from storage.raters import Deleted, RaterTable
from storage.records import Rater
from storage.store import Store

LONGEST_NAME = 60
KEY_BYTES = 32
CHOICE_WORDS = {"first": "the first", "second": "the second", "tie": "equally good", "both_bad": "both are bad"}
CODE = re.compile(r"[A-Za-z0-9_-]{32}")  # what `label.new_secret` makes


@dataclass(frozen=True)
class LabelShown:
    """One label as its rater sees it again; nothing in it tells the arms apart.

    choice: in words. edited: the answer as the rater rewrote it, or empty.
    """

    created: str
    prompt: str
    first: str
    second: str
    choice: str
    reason: str
    chips: tuple[str, ...]
    edited: str
    consent_version: str


class Raters:
    """Lets people in and out.

    Args:
        store: where they are kept.
        folder: the data folder, which holds the key of the names of a hosted login.
        consent: what has to be agreed to.
        sweep: removes the files of adapter versions that were deleted with somebody's labels.
    """

    def __init__(self, store: Store, folder: Path, consent: Consent, sweep: Callable[[], None] = lambda: None):
        self._table, self._key_file, self.consent = RaterTable(store.database), folder / "rater.key", consent
        self._bans, self._sweep = BanTable(store.database), sweep

    def get(self, rater: str) -> Rater:
        """A rater by digest; one who never entered has an empty consent version."""
        return self._table.get(rater)

    def enter(
        self, rater: str, name: str, consent_version: str, kind: Literal["browser", "code", "huggingface"] = "browser"
    ) -> Rater:
        """Notes that a rater has agreed to the consent text.

        Args:
            rater: the digest of a secret, see `label.rater_of`, or `hosted_rater`.
            name: what they call themselves; may be empty.
            consent_version: of the text that they were shown.
            kind: how they are known.

        Raises:
            InputError: there is no rater, or the name is too long.
            ConsentError: the text has changed since.
        """
        if not rater:
            raise InputError(
                "nobody is entering: the rater's secret is empty; reload the page, or send one of your own"
            )
        name = clean(name, "the name", LONGEST_NAME) if name.strip() else ""
        if consent_version != self.consent.version:
            raise ConsentError(
                f"the consent text that was agreed to has the version {consent_version[:40]!r}, and it is {self.consent.version!r} now; "
                "please read it again"
            )
        return self._table.save(Rater(rater, name, kind, consent_version))

    def checked(self, rater: str) -> Rater:
        """A rater who has agreed to the text as it stands.

        Raises:
            ConsentError: they have not.
            NotAllowedError: the owner banned them.
        """
        self._bans.refuse(rater)
        known = self.get(rater)
        if known.consent_version != self.consent.version:
            raise ConsentError(
                f"labelling needs your consent to the text of version {self.consent.version!r}; please read it and enter first"
            )
        return known

    def labels(self, rater: str) -> list[LabelShown]:
        """Everything that a rater labelled, the newest first."""
        return [
            LabelShown(
                created=row["created"],
                prompt=row["messages"][-1]["content"],
                first=row["first_text"] or "",
                second=row["second_text"] or "",
                choice=CHOICE_WORDS[row["choice"]],
                reason=row["reason"],
                chips=tuple(row["chips"]),
                edited=row["edited"],
                consent_version=row["consent_version"] or "",
            )
            for row in self._table.labels(rater)
        ]

    def delete_labels(self, rater: str) -> Deleted:
        """Deletes a rater's labels, consent, own questions and own adapter versions for good, out of the file itself.

        Raises:
            InputError: there is no rater.
            StorageError: the files of a version could not be removed; all else is deleted.
        """
        if not rater:
            raise InputError(
                "nobody's labels were to be deleted: the rater's secret is empty; reload the page, or send your own"
            )
        deleted = self._table.delete(rater)
        self._sweep()
        return deleted

    def hosted_rater(self, username: str) -> str:
        """The rater of a login: the same for a name on every visit, and nobody can find the name from it without the server's key.

        Raises:
            StorageError: the key cannot be read or made.
        """
        return hmac.digest(self._key(), f"plumbline-rater:{username}".encode(), hashlib.sha256).hex()[:24]

    def _key(self) -> bytes:
        try:
            if not self._key_file.exists():
                self._make_key()
            key = self._key_file.read_bytes()
        except OSError as error:
            raise StorageError(
                f"the key of the raters {str(self._key_file)!r} cannot be used ({error.strerror}); check the data folder"
            ) from error
        if len(key) != KEY_BYTES:
            raise StorageError(
                f"the key of the raters {str(self._key_file)!r} has {len(key)} bytes and not {KEY_BYTES}; "
                "put the right one back, or delete it: everybody who logs in is then a new rater"
            )
        return key

    def _make_key(self) -> None:
        # Linked into its place once it is whole: of two processes the first one's key stands, and nobody reads half of one.
        fresh = self._key_file.with_name(f".{self._key_file.name}.{secrets.token_hex(8)}")
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(KEY_BYTES))
        try:
            os.link(fresh, self._key_file)
        except FileExistsError:
            pass
        finally:
            fresh.unlink()


def checked_code(code: str) -> str:
    """A rater code as it was typed, without outer space.

    Raises:
        InputError: it is none.
    """
    code = code.strip()
    if not CODE.fullmatch(code):
        raise InputError(
            f"the code has {len(code)} characters; a rater's code has 32, of letters, digits, - and _: copy the whole of it from the other browser"
        )
    return code
