"""Rows of the tables of rounds, votes and versions to records. Knows how they are written down; asks no database."""

import json
from typing import Any

from storage.database import record
from storage.records import Answer, Round, Version, Vote


def vote_of(row: dict[str, Any]) -> Vote:
    """A vote from its row."""
    return record(Vote, {**row, "chips": tuple(json.loads(row["chips"]))})


def round_of(row: dict[str, Any], answers: list[dict[str, Any]]) -> Round:
    """A round from its row and those of its answers."""
    decoded = {key: json.loads(row[key]) for key in ("principles", "messages", "settings")}
    parsed = {a["arm"]: record(Answer, {**a, "token_ids": json.loads(a["token_ids"])}) for a in answers}
    return record(Round, {**row, **decoded, "blind": bool(row["blind"]), "answers": parsed})


def version_of(row: dict[str, Any]) -> Version:
    """A version from its row."""
    decoded = {key: json.loads(row[key]) for key in ("settings", "metrics")}
    return record(Version, {**row, **decoded, "published": bool(row["published"])})
