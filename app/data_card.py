"""The card that stands beside an export: where the labels come from, what they hold, and how far they can be trusted.

It knows numbers and columns; it counts nothing itself and opens no database.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import yaml

from app.insights import Share, share
from storage.export_columns import Column
from storage.records import CHOICES, Round, Vote
from storage.tallies import entity

if TYPE_CHECKING:
    from app.insights.agreement import Coefficient

WHAT = {
    "preference": "pairs of answers of which one was preferred, in TRL's preference format (explicit conversational prompt)",
    "unpaired": "single answers with a good or bad label, in TRL's unpaired format (KTO)",
    "demonstrations": "answers as raters rewrote them, in TRL's prompt-completion format (SFT)",
    "votes": "every vote as it was cast, ties and both-bad among them",
}
READ_AS = {
    "csv": "Lists stand in the cells as JSON. A text that begins with a sign that a spreadsheet would compute (`=`, `+`, `-`, `@`, their "
    "full-width forms, a tab or a line break), or with an apostrophe, has one apostrophe in front: take away one apostrophe "
    "in front of a text cell, and it is as it was. An empty cell is an empty text.",
}


@dataclass
class Tally:
    """What is counted while votes pass by. `wins` counts (winner, loser), each an arm with its adapter version."""

    choices: Counter = field(default_factory=Counter)
    sides: Counter = field(default_factory=Counter)  # of blind and clear votes only: an open side is no side by lot
    wins: Counter = field(default_factory=Counter)
    seen: dict[str, Counter] = field(default_factory=lambda: {name: Counter() for name in SEEN})
    first: str = ""
    last: str = ""

    def over(self, votes: Iterable[tuple[Vote, Round]]) -> Iterator[tuple[Vote, Round]]:
        """The votes as they come, counted."""
        for vote, round_ in votes:
            self._count(vote, round_)
            yield vote, round_

    def _count(self, vote: Vote, round_: Round) -> None:
        self.choices[vote.choice] += 1
        values = (vote.rater, round_.persona, f"{round_.model} ({round_.model_revision[:12] or 'no revision'})")
        for name, value in zip(SEEN, (*values, vote.consent_version, round_.app_version), strict=True):
            self.seen[name][value] += 1
        self.first, self.last = min(self.first or vote.created, vote.created), max(self.last, vote.created)
        if vote.choice in ("first", "second"):
            sides = [entity(arm, round_.adapter) for arm in (round_.first_arm, round_.second_arm)]
            self.wins[tuple(sides if vote.choice == "first" else reversed(sides))] += 1
            if round_.blind:
                self.sides[vote.choice] += 1


SEEN = ("raters", "personas", "models", "consent", "app")


def card(
    tally: Tally,
    columns: tuple[Column, ...],
    file: str,
    format_: str,
    rows: int,
    told: dict[str, str],
    license_: str,
    measured: dict[str, str],
) -> str:
    """The card as Markdown under a head in YAML, as the Hugging Face hub reads it.

    Args:
        tally: of the votes that the rows are from.
        columns: of the file.
        file: its name, beside the card.
        format_: of `WHAT`.
        rows: how many the file has.
        told: what was asked for, by name.
        license_: an identifier of the hub's, by the owner.
        measured: further measures, such as agreement between raters, each as a sentence by its name.
    """
    file_type = file.rpartition(".")[2]
    head = {
        "license": license_,
        "task_categories": ["text-generation"],
        "tags": ["preference", "human-feedback", "plumbline", "trl"],
        "configs": [{"config_name": format_, "data_files": [{"split": "train", "path": file}]}],
        "dataset_info": [{"config_name": format_, "features": [_feature(c, file_type) for c in columns]}],
    }
    total = tally.choices.total()
    people = tally.seen["raters"]
    sections = [
        f"# Labels from Plumbline: {WHAT[format_]}",
        f"`{file}` has {_many(rows, 'row')}, from {_many(total, 'vote')} of {_many(len(people), 'rater')}"
        + (f" between {tally.first[:10]} and {tally.last[:10]} (UTC)." if total else "."),
        "## How it was collected",
        "A person gives a prompt and says what a good answer is. One language model answers in several ways (*arms*): `baseline`, without the "
        "principle; `principle_prompted`, with the principle in the prompt; `linear_aligned`, with the difference that the principle makes taken "
        "further at every token. A person then compares two of the answers: one is better, both are as good, or both are bad. "
        "In a blind comparison the sides are drawn by lot, and the arms are shown only after the vote.",
        _table(("What was asked for", ""), told.items()),
        "## Counts",
        _table(("Choice", "Votes"), [(choice, tally.choices[choice]) for choice in CHOICES]),
        f"Models: {_listed(tally.seen['models'])}. Personas: {_listed(tally.seen['personas'], 'own words')}. "
        f"Versions of Plumbline: {_listed(tally.seen['app'])}. "
        f"Versions of the consent text: {_listed(tally.seen['consent'], 'none was asked for')}.",
        "## Biases and agreement, as measured",
        'Shares with 95 % Wilson intervals, in which votes of one rater count as if they were independent of each other, unless "over raters" '
        "stands beside them; coefficients with 95 % intervals.",
        _table(("Measure", "Value"), [*_measures(tally), *measured.items()]),
        "## Columns",
        *([READ_AS[file_type]] if file_type in READ_AS else []),
        _table(("Column", "Type", "What it holds"), [(c.name, str(c.type), c.what) for c in columns]),
        "## Licence and care",
        f"Licence: {license_}. The prompts and reasons are people's own words and may hold what they should not have told; "
        "the answers are a model's and may be wrong.",
    ]
    return f"---\n{yaml.safe_dump(head, sort_keys=False, allow_unicode=True)}---\n\n" + "\n\n".join(sections) + "\n"


def shown(found: "Share | Coefficient | None", over: str = "") -> str:
    """A measure with its 95 % interval and its n, as every value of the card is written; None is one that has no value.

    Args:
        found: the measure.
        over: what the interval holds for, where that is not single votes.
    """
    if found is None or not found.n:
        return "not measured" if found is None else "not measured (n = 0)"
    low, high = found.interval
    return f"{found.value:.3f} ({low:.3f} to {high:.3f}{f', {over}' if over else ''}), n = {found.n}"


def _measures(tally: Tally) -> Iterator[tuple[str, str]]:
    clear = tally.sides.total()
    yield "The first side wins, of clear blind votes (0.5: no side bias)", shown(share(tally.sides["first"], clear))
    for one, other in sorted({tuple(sorted(pair)) for pair in tally.wins if len(set(pair)) == 2}):
        won, lost = tally.wins[one, other], tally.wins[other, one]
        yield f"{one} wins against {other}, of clear votes", shown(share(won, won + lost))


def _many(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _listed(found: Counter, empty: str = "unknown") -> str:
    return ", ".join(f"{_cell(name or empty)} ({count})" for name, count in found.most_common(20)) or "none"


def _table(head: tuple[str, ...], rows: Iterable[tuple[Any, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(str(value)) for value in line)} |" for line in lines)


def _cell(text: str) -> str:
    # Names are people's words: none of them may end the cell, begin a line or become a link or markup.
    flat = " ".join(text.split())
    for sign in "\\`*[]<>|":
        flat = flat.replace(sign, f"\\{sign}")
    return flat


def _feature(column: Column, file_type: str) -> dict[str, Any]:
    if file_type == "csv" and pa.types.is_list(column.type):
        return {"name": column.name, "dtype": "string"}
    return {"name": column.name, **_described(column.type)}


def _described(type_: pa.DataType) -> dict[str, Any]:
    if pa.types.is_list(type_):
        inside = _described(type_.value_type)
        return {"list": inside.get("struct") or inside["dtype"]}
    if pa.types.is_struct(type_):
        return {"struct": [{"name": part.name, **_described(part.type)} for part in type_]}
    return {"dtype": {"double": "float64"}.get(str(type_), str(type_))}
