"""The pull of a token as HTML: the joined text is the answer, whatever it holds, and levels are those of the measures."""

import html
import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.decoding.amulet import step_size
from app.decoding.arms import OFFERED_ARMS, DecodeSettings
from app.decoding.streaming import TextStream, pieces
from app.ui import render
from app.ui.compare_panes import open_panes
from app.ui.pull_render import KL_STEPS, SHIFT_TIMES, Pull, plumb, sparkline, tokens

HOSTILE = '<img src=x onerror="hacked()"> & \'"</span>'


def bare(markup: str) -> str:
    return html.unescape(re.sub(r"<[^>]*>", "", markup))


def fact(text: str, shift: float = 0.0, kl: float = 0.0) -> dict:
    likely = [{"text": text, "probability": 0.5}]
    return {"text": text, "chosen_from": likely, "contexts": [likely, likely], "shift": shift, "kl": kl}


def levels(markup: str, name: str) -> list[int]:
    return [int(found) for found in re.findall(rf'data-{name}="(-?\d)"', markup)]


@given(st.text(max_size=40), st.data())
def test_joined_pieces_are_the_text(text: str, data: st.DataObject):
    ends = data.draw(st.lists(st.integers(0, 60), min_size=1, max_size=20))
    parts = pieces(text, ends)
    assert "".join(parts) == text
    assert len(parts) == len(ends)


def test_an_answer_without_a_token_has_no_pieces():
    assert pieces("", []) == []


def test_half_a_character_has_an_empty_piece_and_its_end_has_the_character():
    raw = "aé€".encode()
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"))
    for byte in raw:
        stream.push(byte)
    stream.close()
    assert pieces(stream.text, stream.ends) == ["a", "", "é", "", "", "€"]


def test_a_character_that_never_becomes_whole_stands_with_the_last_token():
    stream = TextStream(lambda ids: bytes(ids).decode(errors="replace"))
    for byte in b"a" + "€".encode()[:2]:
        stream.push(byte)
    stream.close()
    assert "".join(pieces(stream.text, stream.ends)) == stream.text != "a"


@given(st.lists(st.text(max_size=8), min_size=1, max_size=8))
def test_shown_tokens_read_as_the_answer(parts: list[str]):
    pull = Pull(parts, [0.0] * len(parts), [0.0] * len(parts))
    assert bare(tokens(pull, [])) == "".join(parts)


def test_hostile_text_is_text_in_tokens_and_in_what_is_told():
    pull = Pull([HOSTILE], [0.0], [3.0], [fact(HOSTILE)])
    markup = tokens(pull, ["Plain", "Asked", "Aligned"])
    assert "<img" not in markup
    assert bare(markup) == HOSTILE
    (told,) = re.findall(r'data-told="([^"]*)"', markup)
    read = json.loads(html.unescape(told))
    assert read["titles"] == ["Plain", "Asked", "Aligned"]
    assert read["tokens"] == [[HOSTILE, 0.0, 0.0, [[[HOSTILE, 0.5]]] * 3]]
    assert "<img" not in sparkline(pull) and "at most 3.00" in sparkline(pull)


def test_levels_rise_at_their_bounds_and_unlikelier_tokens_are_marked():
    bounds = [math.log(times) for times in SHIFT_TIMES]
    shifts = [-math.log(2), -0.1, 0.0, *(b + d for b in bounds for d in (-1e-9, 0.0))]
    pull = Pull(["x"] * len(shifts), shifts, [0.0] * len(shifts))
    assert levels(tokens(pull, []), "s") == [-1, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4]
    pull = Pull(["x"] * 5, [0.0] * 5, [0.0, *KL_STEPS])
    assert levels(tokens(pull, []), "k") == [0, 1, 2, 3, 4]


def test_the_space_before_a_word_has_no_colour():
    pull = Pull(["All", "  hands", " ", "\n"], [9.0] * 4, [0.0] * 4)
    assert re.findall(r"([^<>]*)<span class=\"pl-t\"[^>]*>([^<]*)", tokens(pull, [])) == [
        ("", "All"),
        ("  ", "hands"),
        ("", " "),
        ("", "\n"),
    ]


def test_one_token_is_a_stop_for_the_tab_key_and_none_while_the_answer_is_written():
    pull = Pull(["", "a", "b"], [0.0] * 3, [0.0] * 3, [fact(t) for t in "?ab"])
    assert re.findall(r'data-i="(\d)" tabindex="(-?\d)"', tokens(pull, [])) == [("1", "0"), ("2", "-1")]
    assert "tabindex" not in tokens(Pull(["a"], [0.0], [0.0]), [])


def test_the_line_has_a_point_a_token_and_says_where_it_is_highest():
    markup = sparkline(Pull(["Ahoy", " there"], [0.0, 0.0], [4.0, 1.0]))
    (points,) = re.findall(r'<polyline points="([^"]*)"', markup)
    assert points.split() == ["0.0,0.0", "240.0,25.5"]  # 1 of 4 nats is a quarter of the height of 34
    assert "2.50 on average, at most 4.00 at “Ahoy”" in markup


@pytest.mark.parametrize(
    ("steps", "degrees"), [(0.0, "-0.0"), (1.0, "-6.0"), (3.0, "-18.0"), (99.0, "-48.0"), (-1.0, "-0.0")]
)
def test_the_plumb_hangs_straight_for_the_plain_answer_and_leans_with_the_steps(steps: float, degrees: str):
    assert f"rotate({degrees} 16 0)" in plumb(steps)


def test_every_arm_has_its_plumb_line_and_what_it_leads_to():
    panes = open_panes({}, OFFERED_ARMS, {"ratio": 1.5, "guide_weight": 0.5, "amulet_steps": 1, "amulet_eta": 0.5})
    # Amulet with one round by hand: (alpha 2 + 0) / (lambda 2 + 1 / 0.5) = 0.5, one step beyond asked.
    assert {pane.arm: pane.steps for pane in panes} == {
        "baseline": 0, "principle_prompted": 1, "linear_aligned": 2.5, "amulet": 1.5, "adapter_guided": 0.5, "best_of_n": 1
    }  # fmt: skip
    shown = render.panes(panes)
    assert shown.count('class="pl-plumb"') == len(OFFERED_ARMS)
    assert shown.count("towards what was learnt") == 1 and "Pull: 1 step towards the principle" in shown
    (older,) = open_panes({}, ("amulet",), {"ratio": 2.0})
    assert older.steps == pytest.approx(1 + step_size(2.0, 2.0, 10.0, 60))


def test_a_real_comparison_tells_one_piece_a_trace(llama):
    import torch

    from app.decoding.arms import build_arms
    from app.decoding.engine import decode

    settings = DecodeSettings(max_new_tokens=24, seed=3)
    contexts = [llama.text_ids("Why is the sky blue?"), llama.text_ids("Answer as a captain. Why is the sky blue?")]
    stream, traces = TextStream(llama.decode), []
    for events in decode(
        llama.forward,
        contexts,
        build_arms(["linear_aligned"], torch.ones(1), settings),
        settings,
        frozenset(),
        traces=True,
    ):
        for event in events:
            stream.push(event.token)
            traces.append(event.trace)
    stream.close()
    parts = pieces(stream.text, stream.ends)
    assert len(parts) == len(traces) == 24
    assert "".join(parts) == stream.text == llama.decode(stream.token_ids)
