"""What is counted in an answer: words, marks of markdown, exclamation marks, and which words it is made of. Knows texts only."""

import re

MARKS = re.compile(r"^ {0,3}#{1,6} |^\s*(?:[-*+]|\d+[.)]) |\*\*[^*\n]+\*\*|__[^_\n]+__", re.MULTILINE)
WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)*")


def words(text: str) -> int:
    """Words of a text, as spaces divide it; one at least, so that it has a logarithm."""
    return max(1, len(text.split()))


def marks(text: str) -> int:
    """Headers, list items and bold places of a markdown text."""
    return len(MARKS.findall(text))


def exclamations(text: str) -> int:
    """Exclamation marks."""
    return text.count("!")


def vocabulary(text: str) -> set[str]:
    """The different words of a text, in small letters, without numbers and signs."""
    return {word.lower().replace("’", "'") for word in WORD.findall(text)}
