"""The labelling room as a person uses it, and studies whose answers are written by hand: no model has to answer."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

from app.decoding.arms import ARM_NAMES
from storage.records import Round, Study
from storage.store import Store
from storage.studies import StudyTable
from tests.browser.pages import Plumb
from tests.rounds import a_round, answers

if TYPE_CHECKING:
    from pathlib import Path

ARMS = ("baseline", "linear_aligned")


def add_study(
    data: Path,
    name: str,
    prompts: list[str],
    overlap: int = 1,
    repeat: float = 0.0,
    texts: dict[str, str] | None = None,
) -> Study:
    """An open study that is answered already.

    Args:
        texts: by arm, with `{}` for the prompt; a side can be known by them in a test, and by nothing else.
    """
    store = Store(data)
    table = StudyTable(store.database)
    study = Study(
        secrets.token_urlsafe(9),
        name,
        ARMS,
        overlap,
        repeat,
        {"seed": 1},
        adapter="",
        model="by hand",
        model_revision="by hand",
    )
    table.add(study, [("pirate", [{"role": "user", "content": prompt}]) for prompt in prompts])
    texts = texts or {ARMS[0]: "It is made with water. ({})", ARMS[1]: "Arr, it be made with water, matey. ({})"}
    while item := table.unanswered("by hand", study.id):
        prompt = item.messages[-1]["content"]
        one = a_round(
            secrets.token_urlsafe(12),
            prompt,
            rater="",
            item=item.id,
            first_arm=ARMS[0],
            second_arm=ARMS[1],
            answers=answers(**{arm: text.format(prompt) for arm, text in texts.items()}),
        )
        other = replace(one, id=secrets.token_urlsafe(12), first_arm=ARMS[1], second_arm=ARMS[0])
        table.answer(item, (one, other))
    return study


def labelled(data: Path, study: Study) -> list[tuple]:
    """Every vote of a study with its round, oldest first."""
    with Store(data).database.open() as db:
        items = {row["id"] for row in db["study_items"].rows_where("study = ?", [study.id])}
    return [(vote, round_) for vote, round_ in Store(data).votes() if round_.item in items]


def arm_chosen(choice: str, round_: Round) -> str:
    """The arm behind a choice of a side."""
    return {"first": round_.first_arm, "second": round_.second_arm}.get(choice, "")


class Room:
    """The tab Label of an open page.

    Args:
        plumb: the page; the tab is opened.
    """

    def __init__(self, plumb: Plumb):
        self.plumb, self.page = plumb, plumb.page
        self.open()

    def open(self) -> None:
        """Opens the tab and waits until it has told which studies there are."""
        self.page.locator("#label-tab-button").click()
        self.page.wait_for_function("document.querySelector('#label-study input')?.value")

    def choose(self, study: Study) -> None:
        """Chooses a study and waits until its room, or the way into it, is there."""
        if self.plumb.value("label-study") != study.name:
            before = self.round
            self.plumb.choose("label-study", study.name)
            changed = """([before, name]) => {
              const round = document.querySelector('#label-task [data-round]')?.dataset.round || '';
              const chosen = document.querySelector('#label-overview .pl-chosen')?.textContent || '';
              return round !== before || chosen.includes(name);
            }"""
            self.page.wait_for_function(changed, arg=[before, study.name])

    def enter(self, study: Study, name: str = "") -> None:
        """Chooses a study, agrees, and waits for the first task."""
        self.choose(study)
        if self.page.locator("#label-agree").is_visible():
            self.plumb.write("label-name", name)
            self.page.locator("#label-agree").click()
        self.page.locator("#label-task [data-round]").wait_for()
        self.wait_until_fresh()

    @property
    def round(self) -> str:
        """The round that is shown; empty where there is none."""
        return self.page.evaluate("document.querySelector('#label-task [data-round]')?.dataset.round || ''")

    @property
    def status(self) -> str:
        """The line that says what happened."""
        return self.page.locator("#label-status [role=status]").inner_text()

    def texts(self) -> list[str]:
        """First and second."""
        return self.page.locator("#label-task .pl-two .pl-text").evaluate_all("all => all.map(e => e.textContent)")

    def prompt(self) -> str:
        """What was asked."""
        return self.page.locator("#label-task .pl-prompt .pl-text").inner_text()

    def press(self, key: str) -> None:
        """Presses a key and waits until another task, or none, is shown, long enough for the next press to count."""
        before = self.round
        self.page.keyboard.press(key)
        self.page.wait_for_function(
            "before => (document.querySelector('#label-task [data-round]')?.dataset.round || '') !== before", arg=before
        )
        self.wait_until_fresh()

    def wait_until_fresh(self) -> None:
        """A press within the first moments of a task is taken for one that was meant for the task before."""
        self.page.wait_for_timeout(500)

    def wait_for_status(self, words: str) -> None:
        """Waits until the line says these words."""
        self.page.wait_for_function(
            "words => document.querySelector('#label-status')?.textContent.includes(words)", arg=words
        )

    def unfold(self, section: str) -> None:
        """Opens an accordion."""
        self.page.locator(f"#{section} button.label-wrap").first.click()


def assert_no_arm(text: str, where: str) -> None:
    """No arm is named."""
    for arm in ARM_NAMES:
        assert arm not in text, f"{arm} stands in {where}"
