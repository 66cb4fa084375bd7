"""Who may do what is the owner's: whoever has the token, or a key that was given out for the owner's login on the Hub.

It knows strings and the time; no page, no use case and no storage.
"""

import hmac
import secrets
import time

from pydantic import SecretStr

from app.errors import NotAllowedError

KEY_SECONDS = 12 * 3600.0


class Authority:
    """Tells the owner from everybody else.

    Args:
        token: the owner's; None where none is set.
        space: the id of the Hugging Face Space that the page runs on; empty elsewhere.
        author: the account that the Space belongs to, whose login is the owner's; empty elsewhere.
    """

    def __init__(self, token: SecretStr | None = None, space: str = "", author: str = ""):
        self._token = token.get_secret_value() if token else ""
        self._space, self._author = space, author
        self._keys: dict[str, float] = {}

    @property
    def is_open(self) -> bool:
        """Whether everybody is the owner: on one's own machine without a token, and never on a Space."""
        return not self._token and not self._space

    def authorise(self, token: str) -> None:
        """Raises NotAllowedError unless `token` is the owner's, or a key that `sign_in` gave out."""
        given = str(token or "")
        if self.is_open or self._is_token(given) or self._keys.get(given, 0.0) > time.monotonic():
            return
        if not self._token:
            raise NotAllowedError(
                "this Space has no owner's token, so that nobody may do what is its owner's: set the secret PLUMBLINE_ADMIN_TOKEN in "
                f"the Space's settings, or sign in with Hugging Face as {self._author or 'its owner'}"
            )
        raise NotAllowedError(
            "this needs the owner's token: learning from everybody's choices, publishing, rollback, export and adapter files are the owner's here; give the token that PLUMBLINE_ADMIN_TOKEN holds"
        )

    def sign_in(self, token: str, username: str = "") -> str:
        """A key that `authorise` takes in place of the token for some hours; it is for the page to keep, and no browser sees it.

        Args:
            token: what was typed.
            username: of a login that the Hub vouches for; empty without one.

        Raises:
            NotAllowedError: neither is the owner's.
        """
        if not is_owners_login(username, self._space, self._author):
            self.authorise(token)
        now = time.monotonic()
        self._keys = {key: until for key, until in self._keys.items() if until > now}
        key = secrets.token_urlsafe(32)
        self._keys[key] = now + KEY_SECONDS
        return key

    def sign_out(self, key: str) -> None:
        """From now on a key is none."""
        self._keys.pop(key, None)

    def _is_token(self, given: str) -> bool:
        return bool(self._token) and hmac.compare_digest(self._token.encode(), given.encode(errors="replace"))


def is_owners_login(username: str, space: str, author: str) -> bool:
    """Whether a login on the Hub is that of the account that a Space belongs to; never outside a Space, where logins are made up."""
    return bool(space and author and username) and username.casefold() == author.casefold()
