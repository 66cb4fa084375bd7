"""The worked example that a first visitor finds answered, and what else a first visitor is offered to try.

The answers are the product's own, never written by hand: `python -m app.example` asks the bundled starter and writes the file.
Run it again whenever the starter's weights change; `tests/test_example.py` compares the file's revision with theirs.
"""

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from storage.records import Answer

FILE = Path(__file__).parent / "ui" / "assets" / "example.json"
PERSONA, PROMPT, SEED = "pirate", "How do I fall asleep faster?", 2
CARDS = (
    ("pirate", "How do I pack a suitcase?"),
    ("for_child", "Why is the sky blue?"),
    ("curt", "How do I start running?"),
)
INVITATION = "An example, answered earlier by the bundled model. Point at a coloured word to see why; press Compare to run it live."


@dataclass(frozen=True)
class Example:
    """One comparison as it once came out.

    answers: by arm.
    pieces, told: the aligned answer's tokens, and what every arm would have said at each, see `app.traces.described`.
    """

    persona: str
    prompt: str
    ratio: float
    model_revision: str
    answers: dict[str, Answer]
    pieces: list[str]
    told: list[dict[str, Any]]


def read() -> Example:
    """The example that is committed."""
    row = json.loads(FILE.read_text(encoding="utf-8"))
    return Example(**{**row, "answers": {arm: Answer(**answer) for arm, answer in row["answers"].items()}})


def made() -> Example:
    """The example as the starter answers it now, on a data folder that is thrown away."""
    from app.compare import Request
    from app.decoding.arms import DecodeSettings
    from app.decoding.streaming import pieces
    from app.services import build
    from app.settings import Settings
    from app.traces import described

    with tempfile.TemporaryDirectory() as folder:
        services = build(Settings(data=Path(folder)), "starter")
        settings = DecodeSettings(seed=SEED)
        request = Request(messages=(("user", PROMPT),), persona=PERSONA, settings=settings, adapter="none", traces=True)
        *_, last = services.compare.run(services.compare.start(request, rater="example"))
    written = {arm: answer.token_ids for arm, answer in last.answers.items()}
    return Example(
        persona=PERSONA,
        prompt=PROMPT,
        ratio=settings.ratio,
        model_revision=services.model.revision,
        answers=last.answers,
        pieces=pieces(last.answers["linear_aligned"].text, last.ends["linear_aligned"]),
        told=described(last.traces, written, services.model.decode)["linear_aligned"],
    )


if __name__ == "__main__":
    FILE.write_text(json.dumps(asdict(made()), ensure_ascii=False) + "\n", encoding="utf-8")
