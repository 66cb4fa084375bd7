"""How far the principle moved every token of an aligned answer, as escaped HTML. Knows no Gradio, no model and no round.

Two measures, of `app.decoding.trace`: *shift*, `log p_arm(token) - log p_base(token)`, and *KL*, `KL(arm || prompted)`, both in
nats. A token has its level of either as an attribute; which of the two is shown is the style sheet's business.
"""

import json
import math
from bisect import bisect_right
from dataclasses import dataclass, field
from html import escape
from typing import Any

SHIFT_TIMES = (2, 5, 20, 100)
SHIFT_STEPS = tuple(math.log(times) for times in SHIFT_TIMES)
KL_STEPS = (0.1, 0.5, 1.0, 2.0)
WIDTH, HEIGHT = 240, 34


@dataclass(frozen=True)
class Pull:
    """The tokens of one answer.

    pieces: the text of each; joined they are the answer.
    shifts, kls: of each, in nats.
    told: of each what every arm would have said there, as `app.traces.described` has it; empty while the answer is being written.
    """

    pieces: list[str]
    shifts: list[float]
    kls: list[float]
    told: list[dict[str, Any]] = field(default_factory=list)


def tokens(pull: Pull, titles: list[str]) -> str:
    """The answer token by token. With `told`, tokens can be asked about: by pointer, by tap, or by arrow keys.

    Args:
        pull: the tokens.
        titles: what a person calls the contexts of the arm, then the arm itself.
    """
    shown = [i for i, piece in enumerate(pull.pieces) if piece]
    spans = "".join(_token(pull, i, first=i == shown[0]) for i in shown)
    if not pull.told:
        return f'<span class="pl-tokens">{spans}</span>'
    facts = escape(json.dumps({"titles": titles, "tokens": [_fact(token) for token in pull.told]}, ensure_ascii=False))
    return f'<span class="pl-tokens" data-told="{facts}">{spans}</span>'


def _token(pull: Pull, i: int, first: bool) -> str:
    shift = -1 if pull.shifts[i] <= -SHIFT_STEPS[0] else bisect_right(SHIFT_STEPS, pull.shifts[i])
    asked = f' data-i="{i}" tabindex="{0 if first else -1}"' if pull.told else ""
    piece = pull.pieces[i]
    word = piece.lstrip(" ") or piece
    # A token's space before its word may end a line, and colour there would belong to nothing.
    space = piece[: len(piece) - len(word)]
    return f'{space}<span class="pl-t" data-s="{shift}" data-k="{bisect_right(KL_STEPS, pull.kls[i])}"{asked}>{escape(word)}</span>'


def _fact(token: dict[str, Any]) -> list[Any]:
    likely = [[[c["text"], c["probability"]] for c in said] for said in (*token["contexts"], token["chosen_from"])]
    return [token["text"], token["shift"], token["kl"], likely]


def sparkline(pull: Pull) -> str:
    """KL to the asked arm along the answer: a flat line hangs plumb, a peak is a word that was pulled. Its text says the same."""
    if not pull.kls:
        return '<figure class="pl-spark" aria-hidden="true"></figure>'
    highest = max(range(len(pull.kls)), key=pull.kls.__getitem__)
    top = max(KL_STEPS[-1], pull.kls[highest])
    step = WIDTH / max(1, len(pull.kls) - 1)
    line = " ".join(f"{i * step:.1f},{HEIGHT * (1 - kl / top):.1f}" for i, kl in enumerate(pull.kls))
    mean = sum(pull.kls) / len(pull.kls)
    told = f"KL to Asked along the answer, in nats a token: {mean:.2f} on average, at most {pull.kls[highest]:.2f}"
    if word := pull.pieces[highest].strip():
        told += f" at “{word}”"
    return (
        f'<figure class="pl-spark"><svg viewBox="0 0 {WIDTH} {HEIGHT}" preserveAspectRatio="none" role="img" aria-label="{escape(told)}">'
        f'<line x1="0" y1="{HEIGHT}" x2="{WIDTH}" y2="{HEIGHT}"/><polygon points="0,{HEIGHT} {line} {WIDTH},{HEIGHT}"/>'
        f'<polyline points="{line}"/></svg><figcaption aria-hidden="true">{escape(told)}</figcaption></figure>'
    )


def legend() -> str:
    """What the colours and underlines mean, for either measure."""
    times = "".join(
        f'<span class="pl-t" data-s="{i}" data-k="0">{n} times</span> ' for i, n in enumerate(SHIFT_TIMES, 1)
    )
    nats = "".join(f'<span class="pl-t" data-s="0" data-k="{i}">{n:g}</span> ' for i, n in enumerate(KL_STEPS, 1))
    return (
        f'<p class="pl-legend" data-of="shift">The principle made this word likelier, at least {times}'
        '<span class="pl-t" data-s="-1" data-k="0">less likely</span></p>'
        f'<p class="pl-legend" data-of="kl">At this word Aligned differs from Asked by at least {nats}nats</p>'
    )


def plumb(steps: float, towards: str = "the principle") -> str:
    """A plumb line that hangs where the arm stands on the way from plain to aligned, `l_0 + steps (l_p - l_0)`.

    Args:
        steps: 0 is the plain model, 1 the asked one, `1 + ratio` the aligned one.
        towards: what `l_p` follows.
    """
    angle = -6 * max(0.0, min(steps, 8.0))
    return (
        f'<svg class="pl-plumb" viewBox="0 0 72 60" role="img" aria-label="Pull: {steps:.3g} step{"" if steps == 1 else "s"} towards {escape(towards)}">'
        '<line class="pl-hang" x1="16" y1="0" x2="16" y2="58"/>'
        f'<g transform="rotate({angle:.1f} 16 0)"><line x1="16" y1="0" x2="16" y2="43"/><path d="M11 41h10l-1.5 7-3.5 10-3.5-10z"/></g></svg>'
    )
