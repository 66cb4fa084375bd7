"""The work of an evaluation, in an order that hangs on nothing but its plan: answers, scores, judged pairs, each kept as it is done.

Whoever starts it again with the same plan goes on where it was killed. It knows no database, no page and no statistics.
"""

import hashlib
import itertools
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path

from app.annotators.preference import Annotator
from app.errors import InputError
from app.evaluation.answering import answer
from app.evaluation.contestants import BEST_OF_N, Contestant
from app.evaluation.journal import Journal
from app.evaluation.pairing import judge_pairs
from app.evaluation.plan import Outcome, Plan, Progress, Written
from app.evaluation.questions import Case
from app.evaluation.scoring import Score
from app.model import LanguageModel

PLAN = "plan.json"


class Folder:
    """Where an evaluation is kept.

    Args:
        path: made where it is not there.
        plan: what is to be done.

    Raises:
        InputError: the folder holds another evaluation, or cannot be written.
    """

    def __init__(self, path: Path, plan: Plan):
        text = json.dumps(plan.told(), ensure_ascii=False, indent=1)
        try:
            path.mkdir(parents=True, exist_ok=True)
            file = path / PLAN
            if file.exists() and file.read_text(encoding="utf-8") != text:
                raise InputError(
                    f"the folder {str(path)!r} holds an evaluation with another plan (model, arms, questions or settings); choose "
                    "another folder, or give the same options to go on with it"
                )
            file.write_text(text, encoding="utf-8")
            self.answers, self.scores, self.wins = (
                Journal(path / f"{name}.jsonl") for name in ("answers", "scores", "wins")
            )
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the folder {str(path)!r} cannot be used ({error}); choose another") from error


def evaluate(
    model: LanguageModel,
    plan: Plan,
    folder: Folder,
    load: Callable[[str], str | None],
    scorers: dict[str, Score],
    annotators: dict[str, Annotator],
) -> Iterator[Progress | Outcome | None]:
    """Does what is left to do; gives way often, tells how far it is, and yields the outcome last.

    Args:
        model: on the thread that owns it.
        plan, folder: what to do and where it is kept.
        load: makes a version available and returns what the model calls it, see `app.versions.Versions.load`.
        scorers: judges of single answers, by name.
        annotators: by name: those of best-of-n, and "endpoint" where it is among the plan's judges.

    Raises:
        InputError: a prompt is too long.
        ModelError: a judge cannot be asked, or a version cannot be loaded.
    """
    batches = {contestant.name: _batches(plan, contestant) for contestant in plan.contestants}
    judged = [(name, pair) for name in plan.judges if name == "endpoint" for pair in plan.pairs()]
    parts = list(_parts(plan.cases, plan.batch))
    count = sum(map(len, batches.values())) + len(parts) * (len(plan.contestants) * len(scorers) + len(judged))
    done = itertools.count(1)

    for contestant in plan.contestants:
        for batch in batches[contestant.name]:
            key = _key(contestant.name, *_asked(contestant, batch))
            if key not in folder.answers.done:
                annotator = annotators[contestant.annotator] if contestant.arm == BEST_OF_N else None
                adapter = load(contestant.adapter)
                written = yield from answer(model, contestant, batch, plan.settings, adapter, annotator)
                folder.answers.add(key, [asdict(one) for one in written])
            yield Progress(next(done), count, contestant.name)
    answers = {contestant.name: _of_cases(plan, contestant, folder.answers) for contestant in plan.contestants}

    scores: dict[str, dict[str, list[float | None]]] = {}
    for judge, score in scorers.items():
        for name, written in answers.items():
            for start, part in parts:
                key = _key(judge, name, str(start))
                if key not in folder.scores.done:
                    folder.scores.add(key, score(part, written[start : start + len(part)]))
                for row in folder.scores.done[key]:
                    for column, value in row.items():
                        scores.setdefault(column, {}).setdefault(name, []).append(value)
                yield Progress(next(done), count, f"{judge} of {name}")

    wins: dict[str, dict[tuple[str, str], list[float]]] = {}
    for judge, (one, other) in judged:
        for start, part in parts:
            key = _key(judge, one, other, str(start))
            if key not in folder.wins.done:
                texts = [[w.text for w in answers[name][start : start + len(part)]] for name in (one, other)]
                folder.wins.add(key, judge_pairs(annotators[judge], part, *texts))
            wins.setdefault(judge, {}).setdefault((one, other), []).extend(folder.wins.done[key])
            yield Progress(next(done), count, f"{judge}: {one} against {other}")
    yield Outcome(answers, scores, wins)


def _parts(cases: list[Case], size: int) -> Iterator[tuple[int, list[Case]]]:
    return ((start, cases[start : start + size]) for start in range(0, len(cases), size))


def _batches(plan: Plan, contestant: Contestant) -> list[list[Case]]:
    # Whoever is not told the principle answers each prompt once. The longest prompts come together, so that little is padded.
    asked = plan.cases if contestant.told else list({case.prompt: case for case in plan.cases}.values())
    ordered = sorted(asked, key=lambda case: len(case.prompt) + contestant.told * len(case.principle.text))
    return [part for _, part in _parts(ordered, plan.batch)]


def _asked(contestant: Contestant, batch: list[Case]) -> list[str]:
    return [text for case in batch for text in (case.prompt, case.principle.text if contestant.told else "")]


def _of_cases(plan: Plan, contestant: Contestant, journal: Journal) -> list[Written]:
    found: dict[tuple[str, ...], Written] = {}
    for batch in _batches(plan, contestant):
        kept = journal.done[_key(contestant.name, *_asked(contestant, batch))]
        for case, one in zip(batch, kept, strict=True):
            found[tuple(_asked(contestant, [case]))] = Written(**one)
    return [found[tuple(_asked(contestant, [case]))] for case in plan.cases]


def _key(*parts: str) -> str:
    # Readable at its beginning, and apart for all that it stands for.
    return f"{parts[0][:60]} {hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]}"
