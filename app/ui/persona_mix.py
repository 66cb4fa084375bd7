"""Several principles at once: their fields, and what stands in them. Knows no persona that is stored and no comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

from app.catalogue import LARGEST_WEIGHT, MOST_MIXED
from app.compare import Principle
from app.errors import checked

FRAMING_LABELS = {"answer_as": "Answer as …", "the_reader_is": "The reader is …", "principle": "As I wrote it"}
EMPTY = ("", "principle", 1.0)


@dataclass(frozen=True)
class Mix:
    """The fields: the weight of the principle above them, then text, framing and weight of each that is mixed in."""

    weight: gr.Slider
    rows: tuple[tuple[gr.Textbox, gr.Dropdown, gr.Number], ...]

    @property
    def fields(self) -> list[gr.components.Component]:
        return [self.weight, *(field for row in self.rows for field in row)]


def build_mix() -> Mix:
    """Lays the fields out, folded away."""
    with gr.Accordion("Several principles at once", open=False, elem_id="mix"):
        weight = gr.Slider(
            -LARGEST_WEIGHT,
            LARGEST_WEIGHT,
            value=1,
            step=0.25,
            label="Weight of the principle above",
            info="Negative pulls away from it",
        )
        rows = [_build_row(number) for number in range(1, MOST_MIXED + 1)]
    return Mix(weight, tuple(rows))


def _build_row(number: int) -> tuple[gr.Textbox, gr.Dropdown, gr.Number]:
    text, framing, weight = EMPTY
    framings = [(label, key) for key, label in FRAMING_LABELS.items()]
    with gr.Group(elem_classes="pl-mixed"):
        written = gr.Textbox(text, label=f"Another principle ({number})", max_length=2000, elem_id=f"mix-{number}")
        with gr.Row():
            entering = gr.Dropdown(
                framings, value=framing, label=f"Enters as ({number})", filterable=False, min_width=140, scale=3
            )
            weighted = gr.Number(
                weight,
                label=f"Weight ({number})",
                minimum=-LARGEST_WEIGHT,
                maximum=LARGEST_WEIGHT,
                step=0.25,
                min_width=80,
                scale=2,
                elem_id=f"mix-weight-{number}",
            )
    return written, entering, weighted


def principles_in(principle: str, framing: str, mixed: Sequence[Any]) -> tuple[Principle, ...]:
    """The principles that the fields ask for; a row without text asks for nothing.

    Args:
        mixed: values in the order of `Mix.fields`.

    Raises:
        InputError: a weight is out of bounds.
    """
    weight, *rest = mixed
    rows = [(principle, framing, weight), *zip(rest[::3], rest[1::3], rest[2::3], strict=True)]
    asked = [row for number, row in enumerate(rows) if number == 0 or row[0].strip()]
    return tuple(checked(Principle, text=t.strip(), framing=f, weight=w) for t, f, w in asked)


def mix_filling(principles: Sequence[Principle]) -> list[Any]:
    """What the fields show for these principles, the first of which stands above them."""
    rows = [(p.text, p.framing, p.weight) for p in principles[1:]]
    shown = [*rows, *[EMPTY] * (MOST_MIXED - len(rows))][:MOST_MIXED]
    return [principles[0].weight, *(value for row in shown for value in row)]
