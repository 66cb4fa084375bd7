"""Reading pairs in TRL's format, line by line, and the held-out split."""

import json
from itertools import pairwise

import pytest

from app.errors import InputError, NotFoundError
from app.refresh.pair_files import read_rows
from app.refresh.pairs import FEWEST_PAIRS, HELD_OUT_SHARE, Pair, make_pair, split


def read_pairs(path):
    pairs, rated = read_rows(path)
    assert rated == []
    return pairs


GOOD = {"prompt": "Why?", "chosen": "Because.", "rejected": "No."}
USER, ASSISTANT = {"role": "user", "content": "Why?"}, {"role": "assistant", "content": "Because."}


def written(tmp_path, *lines):
    """A file of these lines: dicts as JSON, bytes as they are."""
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(
        b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines) + b"\n"
    )
    return path


def some(*prompts):
    return [make_pair([{"role": "user", "content": p}], f"yes {i}", f"no {i}") for i, p in enumerate(prompts)]


def test_strings_become_a_message_of_the_user(tmp_path):
    (pair,) = read_pairs(written(tmp_path, GOOD))
    assert pair == Pair((("user", "Why?"),), "Because.", "No.")
    assert pair.messages == [USER]


def test_messages_keep_their_roles(tmp_path):
    prompt = [
        {"role": "system", "content": "Be kind."},
        USER,
        ASSISTANT,
        {"role": "user", "content": "Really?", "name": "x"},
    ]
    row = {"prompt": prompt, "chosen": [{"role": "assistant", "content": "Yes."}], "rejected": "No.", "score": 3}
    (pair,) = read_pairs(written(tmp_path, row))
    assert pair.prompt == (("system", "Be kind."), ("user", "Why?"), ("assistant", "Because."), ("user", "Really?"))
    assert (pair.chosen, pair.rejected) == ("Yes.", "No.")


def test_the_last_message_of_an_answer_is_the_answer(tmp_path):
    row = {"prompt": [USER], "chosen": [USER, ASSISTANT], "rejected": [{"role": "assistant", "content": "No."}]}
    (pair,) = read_pairs(written(tmp_path, row))
    assert (pair.chosen, pair.rejected) == ("Because.", "No.")


def test_order_is_kept_and_blank_lines_are_passed_over(tmp_path):
    rows = [{**GOOD, "prompt": f"Question {i}?"} for i in range(5)]
    path = written(tmp_path, rows[0], b"", b"  \r", *rows[1:], b"")
    assert [p.prompt[0][1] for p in read_pairs(path)] == [f"Question {i}?" for i in range(5)]


def test_lines_end_where_json_lines_end(tmp_path):
    """A line separator, a next-line sign or a form feed inside a string is part of it: only CR and LF end a line."""
    odd = "one\u2028two\u2029three\u0085four"
    rows = [
        json.dumps({**GOOD, "prompt": odd}, ensure_ascii=False).encode(),
        json.dumps({**GOOD, "chosen": odd}, ensure_ascii=False).encode(),
    ]
    path = tmp_path / "pairs.jsonl"
    path.write_bytes(b"\r\n".join(rows))
    first, second = read_pairs(path)
    assert first.prompt == (("user", odd),) and second.chosen == odd
    path.write_bytes(b"\n".join([*rows, b"not json"]))
    with pytest.raises(InputError, match="line 3: not JSON"):
        read_pairs(path)


MALFORMED = {
    "not JSON": (b"{prompt: 'Why?'}", "not JSON"),
    "half a line": (json.dumps(GOOD).encode()[:-5], "not JSON"),
    "two objects": (json.dumps(GOOD).encode() * 2, "not JSON"),
    "not UTF-8": (b'{"prompt": "caf\xe9", "chosen": "a", "rejected": "b"}', "not JSON"),
    "deep nesting": (b'{"prompt": ' + b"[" * 100_000, "not JSON"),
    "deep nesting that ends": (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not JSON"),
    "a number of 5000 digits": (b'{"prompt": ' + b"1" * 5000 + b"}", "digits"),
    "no object but a list": (b"[1, 2]", "object"),
    "no object but a string": (b'"prompt"', "object"),
    "no object but null": (b"null", "object"),
    "no prompt": ({"chosen": "a", "rejected": "b"}, "'prompt' is missing"),
    "no chosen": ({"prompt": "a", "rejected": "b"}, "'chosen' is missing"),
    "no rejected": ({"prompt": "a", "chosen": "b"}, "'rejected' is missing"),
    "prompt a number": ({**GOOD, "prompt": 7}, "prompt is '7'"),
    "prompt null": ({**GOOD, "prompt": None}, "prompt is 'None'"),
    "prompt empty": ({**GOOD, "prompt": " "}, "prompt is"),
    "prompt no messages": ({**GOOD, "prompt": []}, "prompt is"),
    "prompt a message": ({**GOOD, "prompt": USER}, "prompt is"),
    "chosen a number": ({**GOOD, "chosen": 1.5}, "chosen is '1.5'"),
    "rejected an object": ({**GOOD, "rejected": {"text": "x"}}, "rejected is"),
    "chosen empty": ({**GOOD, "chosen": ""}, "chosen is empty"),
    "rejected blank": ({**GOOD, "rejected": " \n\t"}, "rejected is empty"),
    "chosen an empty message": ({**GOOD, "chosen": [{"role": "assistant", "content": ""}]}, "chosen is empty"),
    "chosen said by the user": ({**GOOD, "chosen": [ASSISTANT, USER]}, "last message of chosen is of 'user'"),
    "prompt said by the assistant": ({**GOOD, "prompt": [USER, ASSISTANT]}, "last message of prompt is of 'assistant'"),
    "only a system message": (
        {**GOOD, "prompt": [{"role": "system", "content": "x"}]},
        "last message of prompt is of 'system'",
    ),
    "a message without a role": ({**GOOD, "prompt": [{"content": "x"}]}, "no message with role and content"),
    "a message without content": ({**GOOD, "prompt": [{"role": "user"}]}, "no message with role and content"),
    "content of parts": (
        {**GOOD, "prompt": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        "no message with role and content",
    ),
    "a role of its own": ({**GOOD, "prompt": [{"role": "tool", "content": "x"}]}, "no message with role and content"),
    "a role that is a list": (
        {**GOOD, "prompt": [{"role": ["user"], "content": "x"}]},
        "no message with role and content",
    ),
    "a message that is a string": ({**GOOD, "prompt": ["Why?"]}, "no message with role and content"),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_line_is_named_by_its_number(tmp_path, name):
    line, words = MALFORMED[name]
    path = written(tmp_path, GOOD, b"", line, GOOD)
    with pytest.raises(InputError) as caught:
        read_pairs(path)
    message = str(caught.value)
    assert f"{path}, line 3: " in message and words in message
    assert len(message) < len(str(path)) + 300


def test_half_a_character_is_refused_and_a_whole_one_kept(tmp_path, llama):
    """JSON can write half of a surrogate pair, which is no text: no tokenizer takes it."""
    with pytest.raises(InputError, match=r"line 2: .*chosen"):
        read_pairs(written(tmp_path, GOOD, b'{"prompt": "a", "chosen": "x\\ud83d", "rejected": "b"}'))
    with pytest.raises(InputError, match=r"line 1: .*prompt"):
        read_pairs(
            written(tmp_path, b'{"prompt": [{"role": "user", "content": "\\udc00"}], "chosen": "x", "rejected": "b"}')
        )
    (pair,) = read_pairs(written(tmp_path, b'{"prompt": "a", "chosen": "x\\ud83d\\ude00", "rejected": "b"}'))
    assert pair.chosen == "x\N{GRINNING FACE}" and llama.answer_ids(pair.chosen)


def test_missing_and_empty_files_are_named(tmp_path):
    with pytest.raises(NotFoundError, match="does not exist") as caught:
        read_pairs(tmp_path / "nothing.jsonl")
    assert str(tmp_path / "nothing.jsonl") in str(caught.value)
    with pytest.raises(NotFoundError, match="does not exist"):
        read_pairs(tmp_path)
    for content in (b"", b"\n \r\n\n"):
        (tmp_path / "empty.jsonl").write_bytes(content)
        with pytest.raises(InputError, match="holds no pairs") as caught:
            read_pairs(tmp_path / "empty.jsonl")
        assert str(tmp_path / "empty.jsonl") in str(caught.value)


# --- split


@pytest.mark.parametrize("seed", range(20))
def test_no_prompt_is_on_both_sides_and_nothing_is_lost(seed):
    pairs = some(*(f"prompt {i % 10}" for i in range(37)))
    training, held_out = split(pairs, seed)
    assert not {p.prompt for p in training} & {p.prompt for p in held_out}
    assert sorted(training + held_out, key=pairs.index) == pairs
    assert training == [p for p in pairs if p in training] and held_out == [p for p in pairs if p in held_out]
    assert training and held_out


def test_about_a_fifth_is_held_out_and_what_was_trained_on_never_becomes_held_out():
    """The next refresh knows more prompts; a version in use would otherwise be measured on what it was trained on."""
    pairs = some(*(f"prompt {i}" for i in range(400)))
    sides = [split(pairs[:n], 7) for n in (30, 60, 400)]
    for (training, _), (_, later_held_out) in pairwise(sides):
        assert not {p.prompt for p in training} & {p.prompt for p in later_held_out}
    assert len(sides[-1][1]) / 400 == pytest.approx(HELD_OUT_SHARE, abs=0.06)


def test_the_same_seed_splits_alike_whatever_the_order():
    pairs = some(*(f"prompt {i}" for i in range(30)))
    held_out = [frozenset(p.chosen for p in split(pairs, seed)[1]) for seed in range(10)]
    assert held_out == [frozenset(p.chosen for p in split(pairs[::-1], seed)[1]) for seed in range(10)]
    assert len(set(held_out)) > 5


def test_a_different_system_message_is_a_different_prompt():
    same = [{"role": "user", "content": "Why?"}]
    pairs = [make_pair([{"role": "system", "content": s}, *same], f"{s}{i}", "no") for s in "abc" for i in range(2)]
    training, held_out = split(pairs, 0)
    assert (len(training), len(held_out)) == (4, 2)


@pytest.mark.parametrize(
    ("prompts", "missing"),
    [("", 6), ("a", 5), ("abc", 3), ("abcde", 1), ("aaaaa", 2), ("aaaaaaaa", 2), ("aaaaaaab", 1), ("ab", 4)],
)
def test_too_few_pairs_say_how_many_are_missing(prompts, missing):
    with pytest.raises(
        InputError, match=rf"there are {len(prompts)} clear choices on {len(set(prompts))} .*: {missing} more to go"
    ):
        split(some(*prompts), 0)
    more = some(*prompts, *(f"new {i}" for i in range(missing)))
    training, held_out = split(more, 0)
    assert training and held_out and len(more) >= FEWEST_PAIRS
