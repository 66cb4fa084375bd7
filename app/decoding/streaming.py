"""Token ids to text as they come, holding back what is not yet a whole character. Knows a `decode` function, nothing else."""

from collections.abc import Callable
from itertools import pairwise

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


class TextStream:
    """Collects the token ids of one answer; `text` never ends in half of a UTF-8 character.

    `ends[i]` is how long the text was after token i: where that token ends in it, see `pieces`.

    Args:
        decode: from token ids to text, special tokens left out.
    """

    def __init__(self, decode: Callable[[list[int]], str]):
        self._decode = decode
        self.token_ids: list[int] = []
        self.ends: list[int] = []
        self.text = ""

    def push(self, token: int) -> str:
        """Adds a token; returns the text that became complete with it, which may be empty."""
        self.token_ids.append(token)
        delta = self._extend(self._decode(self.token_ids).rstrip(REPLACEMENT))
        self.ends.append(len(self.text))
        return delta

    def close(self) -> str:
        """The answer has ended: returns what was held back."""
        return self._extend(self._decode(self.token_ids))

    def _extend(self, text: str) -> str:
        # A tokenizer may rewrite what it already said (clean-up of spaces); then nothing is new, and `text` is what it says now.
        delta = text[len(self.text) :] if text.startswith(self.text) else ""
        self.text = text
        return delta


def pieces(text: str, ends: list[int]) -> list[str]:
    """The part of a text that came with each token; joined they are the text, whatever a tokenizer rewrote on the way.

    A token that is only a part of a character has an empty piece; the one that completes it has the character.

    Args:
        text: the answer as it is now.
        ends: of its tokens, see `TextStream`.
    """
    cuts = [0]
    for end in ends[:-1]:
        cuts.append(min(max(end, cuts[-1]), len(text)))
    return [text[start:end] for start, end in pairwise([*cuts, len(text)])] if ends else []
