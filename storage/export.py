"""Votes as rows for training and for study: preferences, unpaired labels, demonstrations, and the votes as they were cast.

It knows records and TRL's formats; it does not know files, models or the page. What the columns say stands in `export_columns`.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from storage.records import AIVote, Round, Vote

Messages = list[dict[str, str]]
Row = dict[str, Any]
Rows = Iterator[Row]
Voted = Iterable[tuple[Vote, Round]]
# From the messages and the principles of a round to the prompt with the principle in it.
Prompted = Callable[[Messages, list[dict[str, Any]]], Messages]

# Answers that stop in mid-sentence would teach stopping in mid-sentence.
CUT_OFF = {"cancelled", "deadline"}
NO_STUDIES: Mapping[int, str] = MappingProxyType({})


def decisive(votes: Voted) -> Iterator[tuple[Vote, Round, str, str]]:
    """Votes that prefer one of two different answers, as (vote, round, chosen arm, rejected arm). Answers that were stopped do not count."""
    for vote, round_ in votes:
        if vote.choice not in ("first", "second"):
            continue
        arms = (round_.first_arm, round_.second_arm)
        chosen, rejected = arms if vote.choice == "first" else reversed(arms)
        better, other = round_.answers[chosen].text, round_.answers[rejected].text
        if _teaches(round_, chosen) and _teaches(round_, rejected) and better != other:
            yield vote, round_, chosen, rejected


def preference_rows(
    votes: Voted, prompted: Prompted | None = None, studies: Mapping[int, str] = NO_STUDIES
) -> Iterator[Row]:
    """Rows in TRL's conversational preference format, with an explicit prompt.

    Args:
        votes: each with its round.
        prompted: puts the principle into the prompt; without it the principle stands beside the prompt only.
        studies: the name of the study of each item.
    """
    for vote, round_, chosen, rejected in decisive(votes):
        yield {
            "prompt": _prompt(round_, prompted),
            "chosen": _said(round_.answers[chosen].text),
            "rejected": _said(round_.answers[rejected].text),
            "chosen_arm": chosen,
            "rejected_arm": rejected,
            "chosen_side": vote.choice,
            **_provenance(vote, round_, prompted, studies),
        }


def unpaired_rows(
    votes: Voted, prompted: Prompted | None = None, studies: Mapping[int, str] = NO_STUDIES
) -> Iterator[Row]:
    """Rows in TRL's unpaired (KTO) format: a choice gives a good and a bad one, both-bad two bad ones, a tie none, and an answer that
    the rater rewrote a good one. Arguments as `preference_rows`."""
    for vote, round_ in votes:
        judged: list[tuple[str, str, bool, bool]] = []
        if vote.choice == "both_bad":
            judged = [(side, _arm(round_, side), False, False) for side in ("first", "second")]
        elif clear := next(decisive([(vote, round_)]), None):
            other = {"first": "second", "second": "first"}[vote.choice]
            judged = [(vote.choice, clear[2], True, False), (other, clear[3], False, False)]
        if _edits(vote):
            judged.append((vote.edited_side, _arm(round_, vote.edited_side), True, True))
        for side, arm, label, edited in judged:
            if edited or _teaches(round_, arm):
                yield {
                    "prompt": _prompt(round_, prompted),
                    "completion": _said(vote.edited if edited else round_.answers[arm].text),
                    "label": label,
                    "arm": arm,
                    "side": side,
                    "edited": edited,
                    **_provenance(vote, round_, prompted, studies),
                }


def demonstration_rows(
    votes: Voted, prompted: Prompted | None = None, studies: Mapping[int, str] = NO_STUDIES
) -> Iterator[Row]:
    """Rows in TRL's prompt-completion format, of the answers that raters rewrote. Arguments as `preference_rows`."""
    for vote, round_ in votes:
        if _edits(vote):
            arm = _arm(round_, vote.edited_side)
            yield {
                "prompt": _prompt(round_, prompted),
                "completion": _said(vote.edited),
                "original": round_.answers[arm].text,
                "arm": arm,
                "side": vote.edited_side,
                **_provenance(vote, round_, prompted, studies),
            }


def vote_rows(votes: Voted, prompted: Prompted | None = None, studies: Mapping[int, str] = NO_STUDIES) -> Iterator[Row]:
    """Every vote as it was cast, ties and both-bad and stopped answers among them. Arguments as `preference_rows`."""
    for vote, round_ in votes:
        first, second = (round_.answers[arm] for arm in (round_.first_arm, round_.second_arm))
        clear = vote.choice in ("first", "second")
        yield {
            "prompt": _prompt(round_, prompted),
            "first": first.text,
            "second": second.text,
            "first_arm": first.arm,
            "second_arm": second.arm,
            "first_finish": first.finish_reason,
            "second_finish": second.finish_reason,
            "choice": vote.choice,
            "chosen_arm": _arm(round_, vote.choice) if clear else "",
            "edited_side": vote.edited_side,
            "edited": vote.edited,
            "dwell_seconds": vote.dwell_seconds,
            "session": vote.session,
            **_provenance(vote, round_, prompted, studies),
        }


def decisive_ai(votes: Iterable[AIVote]) -> Iterator[tuple[AIVote, str, str]]:
    """Annotators' votes that prefer one answer, as (vote, chosen text, rejected text)."""
    for vote in votes:
        if vote.choice:
            first, second = vote.first, vote.second
            yield (vote, first, second) if vote.choice == "first" else (vote, second, first)


def ai_preference_rows(votes: Iterable[AIVote], prompted: Prompted | None = None) -> Iterator[Row]:
    """Preference rows of annotators, with what only theirs have; `beside_annotators` gives people's rows the same columns."""
    for vote, chosen, rejected in decisive_ai(votes):
        principles = [{"text": vote.principle, "weight": 1.0}]
        yield {
            "prompt": prompted(vote.messages, principles) if prompted else vote.messages,
            "chosen": _said(chosen),
            "rejected": _said(rejected),
            "chosen_arm": "",
            "rejected_arm": "",
            "chosen_side": vote.choice,
            "persona": vote.persona,
            "study": "",
            "principles": principles,
            "with_principle": prompted is not None,
            "reason": "",
            "chips": [],
            "blind": True,
            "settings": "{}",
            "seed": -1,
            "model": vote.model,
            "model_revision": vote.model_revision,
            "adapter": "",
            "rater": "",
            "round": "",
            "created": vote.created,
            "consent_version": "",
            "app_version": "",
            "annotator": vote.annotator,
            "annotator_model": vote.annotator_model,
            "margin": vote.margin,
            "run": vote.run,
            "step": vote.step,
        }


def beside_annotators(rows: Iterable[Row]) -> Iterator[Row]:
    """People's preference rows with the columns of annotators' ones, empty: in one file all rows have the same."""
    for row in rows:
        yield {**row, "annotator": "", "annotator_model": "", "margin": None, "run": "", "step": 0}


def _provenance(vote: Vote, round_: Round, prompted: Prompted | None, studies: Mapping[int, str]) -> Row:
    return {
        "persona": round_.persona,
        "study": studies.get(round_.item, "") if round_.item is not None else "",
        "principles": round_.principles,
        "with_principle": prompted is not None,
        "reason": vote.reason,
        "chips": list(vote.chips),
        "blind": round_.blind,
        # As text: which settings there are has changed from version to version, and a table wants one type.
        "settings": json.dumps(round_.settings, ensure_ascii=False),
        "seed": round_.settings.get("seed", -1),
        "model": round_.model,
        "model_revision": round_.model_revision,
        "adapter": round_.adapter,
        "rater": vote.rater,
        "round": round_.id,
        "created": vote.created,
        "consent_version": vote.consent_version,
        "app_version": round_.app_version,
    }


def _prompt(round_: Round, prompted: Prompted | None) -> Messages:
    return prompted(round_.messages, round_.principles) if prompted else round_.messages


def _said(text: str) -> Messages:
    return [{"role": "assistant", "content": text}]


def _arm(round_: Round, side: str) -> str:
    return round_.first_arm if side == "first" else round_.second_arm


def _teaches(round_: Round, arm: str) -> bool:
    answer = round_.answers[arm]
    return bool(answer.text.strip()) and answer.finish_reason not in CUT_OFF


def _edits(vote: Vote) -> bool:
    return bool(vote.edited_side and vote.edited.strip())
