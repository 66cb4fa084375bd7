"""What is never trained on: a rule on a hash of the text, so that it holds for good. It knows texts; no corpus and no models."""

import hashlib
from functools import lru_cache

PERCENT = {"topic": 4, "prompt": 10, "wording": 12}


@lru_cache(maxsize=200_000)
def is_held_out(kind: str, text: str) -> bool:
    """Whether a topic, a prompt or a persona wording is never trained on.

    Case and final punctuation do not count: "Talk like a pirate" and "talk like a pirate." lie on the same side.

    Args:
        kind: "topic", "prompt" or "wording".
        text: the topic's first prompt, the prompt, or the persona wording as it enters the system text.
    """
    digest = hashlib.sha256(f"{kind}:{text.strip().lower().rstrip('.?!')}".encode()).digest()
    return int.from_bytes(digest[:4], "big") % 100 < PERCENT[kind]
