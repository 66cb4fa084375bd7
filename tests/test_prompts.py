"""From a principle and a conversation to chats: framing, cleaning, and the same system text in every context."""

import pytest

from app.errors import InputError
from app.prompts import (
    FRAMINGS,
    MAX_PRINCIPLE_CHARACTERS,
    SYSTEM_TEXT,
    chat,
    clean,
    contexts,
    frame,
    with_system,
)

QUESTION = [{"role": "user", "content": "Why is the sky blue?"}]


@pytest.mark.parametrize(
    ("principle", "framing", "sentence"),
    [
        ("a pirate", "answer_as", "Answer as a pirate."),
        ("seven years old", "the_reader_is", "The reader is seven years old."),
        ("Be brief", "principle", "Be brief."),
        ("Be brief!", "principle", "Be brief!"),
        ("Why not?", "principle", "Why not?"),
        (' say "so" ', "principle", 'say "so"'),
        ("a {}\x00 pirate", "answer_as", "Answer as a {} pirate."),
    ],
)
def test_principle_becomes_one_sentence(principle: str, framing: str, sentence: str):
    assert frame(principle, framing) == sentence


@pytest.mark.parametrize("framing", ["", "Answer_as", "speak_as", "{}"])
def test_unknown_framing_is_told_which_are_known(framing: str):
    with pytest.raises(InputError, match="answer_as, the_reader_is, principle") as caught:
        frame("a pirate", framing)
    assert repr(framing) in str(caught.value)


@pytest.mark.parametrize("framing", list(FRAMINGS))
def test_principle_that_is_empty_or_too_long_is_refused_in_every_framing(framing: str):
    for principle, told in (
        ("", "empty"),
        (" \x00\n", "empty"),
        ("p" * 50_000, f"50000 .* {MAX_PRINCIPLE_CHARACTERS}"),
    ):
        with pytest.raises(InputError, match=f"the principle is {told}"):
            frame(principle, framing)


def test_system_text_is_the_same_with_and_without_a_principle():
    plain, *others = contexts(QUESTION, ["Be brief.", "Answer as a pirate."])
    assert plain[0] == {"role": "system", "content": SYSTEM_TEXT}
    for context, principle in zip(others, ["Be brief.", "Answer as a pirate."], strict=True):
        assert context[0] == {"role": "system", "content": f"{SYSTEM_TEXT} {principle}"}
        assert context[1:] == plain[1:] == QUESTION


def test_no_principle_makes_one_context():
    assert contexts(QUESTION, []) == [chat(QUESTION)]


def test_own_system_message_is_kept_and_a_missing_one_is_ours():
    own = [{"role": "system", "content": "You are terse."}, *QUESTION]
    assert with_system(own) == own
    assert with_system(QUESTION) == chat(QUESTION)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a\x00b\x07c\x1b[31md\x7f", "abc[31md"),
        ("one\r\ntwo\n\tthree", "one\ntwo\n\tthree"),
        ("turned \u202eround\u2066 text\ufeff", "turned round text"),
        ("a\ud83d b\udc00", "a b"),
        ("👩\u200d👩\u200d👧 and 🏴\u200d☠️", "👩\u200d👩\u200d👧 and 🏴\u200d☠️"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("10\u00a0km, vraiment\u202f!\u3000ok", "10 km, vraiment ! ok"),
        ("  \n outer space \t ", "outer space"),
        ("<script>alert('x')</script>", "<script>alert('x')</script>"),
    ],
)
def test_cleaning_takes_away_what_nobody_sees_and_nothing_else(text: str, kept: str):
    assert clean(text, "the prompt", 100) == kept
    assert clean(kept, "the prompt", 100) == kept
    kept.encode()


@pytest.mark.parametrize("text", ["", " ", "\n\t \n", "\x00\x1b", "\ud800", "\u202e\ufeff", "\u200d\u200c", "\u00a0"])
def test_nothing_to_read_is_empty(text: str):
    with pytest.raises(InputError, match="the prompt is empty; please write"):
        clean(text, "the prompt", 100)


def test_too_long_is_told_with_both_numbers():
    assert clean("p" * 100, "the prompt", 100) == "p" * 100
    with pytest.raises(InputError, match="the prompt is 101 characters long; it may have 100 at most") as caught:
        clean("p" * 101, "the prompt", 100)
    assert len(str(caught.value)) < 200
