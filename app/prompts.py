"""Turns a principle and a conversation into the chats that are compared. It knows words, not models: no tokenizer, no torch.

The system text is the same with and without a principle, which is appended to it: some chat templates insert a default system
text where none is given, and the difference of the logits would then hold its removal too.
"""

import unicodedata

from app.errors import InputError

SYSTEM_TEXT = "You are a helpful assistant."
FRAMINGS = {"answer_as": "Answer as {}", "the_reader_is": "The reader is {}", "principle": "{}"}
MAX_PROMPT_CHARACTERS = 8000
MAX_PRINCIPLE_CHARACTERS = 2000
JOINERS = "\u200c\u200d"  # emoji and several scripts are written with them

Message = dict[str, str]


def frame(principle: str, framing: str) -> str:
    """How a principle enters the prompt: "answer_as" and "the_reader_is" complete a sentence, "principle" stands as it is.

    Raises:
        InputError: an unknown framing, or a principle that is empty or too long.
    """
    if framing not in FRAMINGS:
        raise InputError(f"the framing is {framing!r}; it must be one of {', '.join(FRAMINGS)}")
    principle = clean(principle, "the principle", MAX_PRINCIPLE_CHARACTERS)
    sentence = FRAMINGS[framing].format(principle)
    return sentence if sentence[-1] in ".!?\"'" else f"{sentence}."


def chat(messages: list[Message], principle: str | None = None) -> list[Message]:
    """The messages under the common system text, with a framed principle appended to it or without."""
    system = SYSTEM_TEXT if principle is None else f"{SYSTEM_TEXT} {principle}"
    return [{"role": "system", "content": system}, *messages]


def with_system(messages: list[Message], principle: str = "") -> list[Message]:
    """The messages under a system text, their own where they bring one, otherwise the common one; a framed principle is appended to it."""
    system, *turns = messages if messages[0]["role"] == "system" else chat(messages)
    return [{**system, "content": f"{system['content']} {principle}"} if principle else system, *turns]


def contexts(messages: list[Message], principles: list[str]) -> list[list[Message]]:
    """The chats of one comparison: without any principle first, then one for each framed principle."""
    return [chat(messages), *(chat(messages, principle) for principle in principles)]


def clean(text: str, what: str, longest: int) -> str:
    """Text of a person without control characters and outer space.

    Args:
        text: anything typed or sent.
        what: how an error calls it ("the prompt").
        longest: in characters.

    Raises:
        InputError: nothing is left, or more than `longest` characters.
    """
    if len(text) > longest:
        raise InputError(f"{what} is {len(text)} characters long; it may have {longest} at most: please shorten it")
    kept = "".join(map(_kept, text)).strip(f" \n\t{JOINERS}")
    if not kept:
        raise InputError(f"{what} is empty; please write at least one word")
    return kept


def _kept(character: str) -> str:
    if unicodedata.category(character) == "Zs":
        return " "  # no-break, thin and wide spaces would otherwise leave, and two words become one
    return character if character.isprintable() or character in f"\n\t{JOINERS}" else ""
