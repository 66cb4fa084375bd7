"""Token ids to text as they come, holding back what is not yet a whole character. Knows a `decode` function, nothing else."""

from collections.abc import Callable

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Collects the token ids of one answer; `text` never ends in half of a UTF-8 character.

    Args:
        decode: from token ids to text, special tokens left out.
    """

    def __init__(self, decode: Callable[[list[int]], str]):
        self._decode = decode
        self.token_ids: list[int] = []
        self.text = ""

    def push(self, token: int) -> str:
        """Adds a token; returns the text that became complete with it, which may be empty."""
        self.token_ids.append(token)
        return self._extend(self._decode(self.token_ids).rstrip(REPLACEMENT))

    def close(self) -> str:
        """The answer has ended: returns what was held back."""
        return self._extend(self._decode(self.token_ids))

    def _extend(self, text: str) -> str:
        # A tokenizer may rewrite what it already said (clean-up of spaces); then nothing is new, and `text` is what it says now.
        delta = text[len(self.text) :] if text.startswith(self.text) else ""
        self.text = text
        return delta
