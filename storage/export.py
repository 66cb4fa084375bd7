"""Votes as preference pairs, in TRL's conversational format with provenance, and files that are whole or not there.

It knows records; it does not know models or the page.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from storage.files import whole_file
from storage.records import AIVote, Round, Vote

# Answers that stop in mid-sentence would teach stopping in mid-sentence.
CUT_OFF = {"cancelled", "deadline"}


def decisive(votes: Iterable[tuple[Vote, Round]]) -> Iterator[tuple[Vote, Round, str, str]]:
    """Votes that prefer one of two different answers, as (vote, round, chosen arm, rejected arm). Answers that were stopped do not count."""
    for vote, round_ in votes:
        if vote.choice not in ("first", "second"):
            continue
        arms = (round_.first_arm, round_.second_arm)
        chosen, rejected = arms if vote.choice == "first" else reversed(arms)
        better, other = round_.answers[chosen], round_.answers[rejected]
        whole = not {better.finish_reason, other.finish_reason} & CUT_OFF
        if whole and better.text.strip() and other.text.strip() and better.text != other.text:
            yield vote, round_, chosen, rejected


def preference_rows(votes: Iterable[tuple[Vote, Round]]) -> Iterator[dict[str, Any]]:
    """Rows in TRL's conversational preference format. The prompt is without the principle, which stands beside it."""
    for vote, round_, chosen, rejected in decisive(votes):
        yield {
            "prompt": round_.messages,
            "chosen": [{"role": "assistant", "content": round_.answers[chosen].text}],
            "rejected": [{"role": "assistant", "content": round_.answers[rejected].text}],
            "persona": round_.persona,
            "principles": round_.principles,
            "chosen_arm": chosen,
            "rejected_arm": rejected,
            "chosen_side": vote.choice,
            "blind": round_.blind,
            "reason": vote.reason,
            "settings": round_.settings,
            "model": round_.model,
            "model_revision": round_.model_revision,
            "adapter": round_.adapter or None,
            "rater": vote.rater,
            "round": round_.id,
            "created": vote.created,
            "consent_version": vote.consent_version,
            "app_version": round_.app_version,
        }


def decisive_ai(votes: Iterable[AIVote]) -> Iterator[tuple[AIVote, str, str]]:
    """Annotators' votes that prefer one answer, as (vote, chosen text, rejected text)."""
    for vote in votes:
        if vote.choice:
            first, second = vote.first, vote.second
            yield (vote, first, second) if vote.choice == "first" else (vote, second, first)


def ai_preference_rows(votes: Iterable[AIVote]) -> Iterator[dict[str, Any]]:
    """Rows as those of people, with `annotator`, which no person's row has."""
    for vote, chosen, rejected in decisive_ai(votes):
        yield {
            "prompt": vote.messages,
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
            "persona": vote.persona,
            "principles": [{"text": vote.principle, "weight": 1.0}],
            "annotator": vote.annotator,
            "annotator_model": vote.annotator_model,
            "margin": vote.margin,
            "model": vote.model,
            "model_revision": vote.model_revision,
            "run": vote.run,
            "step": vote.step,
            "created": vote.created,
        }


def write_jsonl(rows: Iterable[dict[str, Any]], path: Path) -> int:
    """Writes JSON lines beside `path` and moves them into place; returns the number of rows.

    Raises:
        StorageError: the file cannot be written; what stood there before still does.
    """
    count = 0
    with whole_file(path) as file:
        for row in rows:
            file.write(f"{json.dumps(row, ensure_ascii=False)}\n".encode())
            count += 1
    return count
