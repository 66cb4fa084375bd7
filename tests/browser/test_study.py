"""A whole study in a real browser: thirty items, two people in two browsers, from the first task to the data set that `datasets` opens."""

import json
import zipfile
from collections import Counter
from pathlib import Path

import datasets
import httpx

from storage.store import Store
from storage.tallies import rater_names
from tests.browser.conftest import Server
from tests.browser.rooms import ARMS, Room, add_study, labelled

ITEMS, REPEAT = 30, 0.1
TASKS = ITEMS + int(ITEMS * REPEAT)
PLAIN, ALIGNED = ARMS
KEYS = {"first": "1", "second": "2", "tie": "0", "both_bad": "9"}
EDITED = "Arr, with water and a drop of rum, matey."
# What each means to choose, by the number of the item: an arm, a tie, or both bad. Ann takes the aligned answer in 20 of 30.
ANN = [ALIGNED] * 20 + [PLAIN] * 6 + ["tie"] * 3 + ["both_bad"]
BOB = [PLAIN] * 4 + [ALIGNED] * 21 + ["tie"] * 5


class Person:
    """Somebody who labels as they mean to and counts along.

    Args:
        room: of a page in a browser of their own.
        means: what they choose, by the number of the item.
    """

    def __init__(self, room: Room, means: list[str]):
        self.room, self._means = room, means
        self.chosen: list[str] = []  # an arm, "tie" or "both_bad"

    def side(self) -> str:
        """What they choose on the task that is shown. The arms are known by their words, as add_study gives them."""
        meant = self._means[int(self.room.prompt().split()[1])]
        if meant in KEYS:
            return meant
        first, second = self.room.texts()
        assert first.startswith("Arr") != second.startswith("Arr")
        return "first" if first.startswith("Arr") == (meant == ALIGNED) else "second"

    def label(self, times: int) -> None:
        """So many tasks, by the keyboard."""
        for _ in range(times):
            meant = self._means[int(self.room.prompt().split()[1])]
            self.room.press(KEYS[self.side()])
            self.chosen.append(meant)


def _exported(server: Server, **values: str | bool) -> list[dict]:
    """The rows of an export, by the endpoint and as plain HTTP serves it."""
    wanted = {
        "token": "",
        "with_ai_votes": False,
        "format": "votes",
        "file_type": "jsonl",
        "with_principle": False,
        "persona": "",
        "study": "",
        "license": "unknown",
        "with_card": False,
        **values,
    }
    with httpx.Client(base_url=server.url, trust_env=False, timeout=60) as http:
        event = http.post("gradio_api/call/export", json={"data": list(wanted.values())}).json()["event_id"]
        told = http.get(f"gradio_api/call/export/{event}").text
        assert "event: complete" in told, told
        (file,) = json.loads(told.rpartition("data: ")[2])
        return [json.loads(line) for line in http.get(file["url"]).text.splitlines()]


def _clear(*people: Person) -> Counter:
    return Counter(choice for person in people for choice in person.chosen if choice in ARMS)


def _in_words(counts: Counter) -> str:
    """What the tab Insights says of clear choices."""
    return f"preferred to the plain answer in {counts[ALIGNED] / counts.total():.0%} of {counts.total()} clear choices"


def test_thirty_items_two_raters_and_the_data_that_comes_of_them(server: Server, open_page, tmp_path: Path) -> None:
    study = add_study(server.data, "Thirty", [f"Question {n} of thirty?" for n in range(ITEMS)], 2, REPEAT)
    rooms = [Room(open_page(server.url)) for _ in range(2)]
    ann, bob = Person(rooms[0], ANN), Person(rooms[1], BOB)
    ann.room.enter(study, "Ann")
    bob.room.enter(study, "Bob")

    # Both at once, in turns; one takes a choice back, reloads, and rewrites an answer.
    ann.label(6)
    bob.label(6)
    task = ann.room.round
    before = ann.room.prompt()
    ann.label(1)
    ann.room.press("u")
    ann.chosen.pop()
    assert (ann.room.round, ann.room.prompt()) == (task, before)
    assert len(labelled(server.data, study)) == 12
    ann.label(4)
    task, texts = ann.room.round, ann.room.texts()
    ann.room.page.reload()
    ann.room.page.locator("#label-task [data-round]").wait_for()
    ann.room.wait_until_fresh()
    assert (ann.room.round, ann.room.texts()) == (task, texts)
    assert f"10 of {TASKS}" in ann.room.page.locator("#label-progress").inner_text()
    ann.room.unfold("label-edit")
    ann.room.page.locator("#label-side input").nth(1).check()
    ann.room.page.wait_for_function(
        "text => document.querySelector('#label-edited textarea').value === text", arg=texts[0]
    )
    ann.room.plumb.write("label-edited", EDITED)
    ann.label(1)
    bob.label(TASKS - len(bob.chosen))
    ann.label(TASKS - len(ann.chosen))
    for person in (ann, bob):
        assert "That was all" in person.room.page.locator("#label-task").inner_text()
        assert len(person.chosen) == TASKS
    votes = [vote for vote, _ in labelled(server.data, study)]
    assert len(votes) == 2 * TASKS
    assert [vote.edited for vote in votes if vote.edited] == [EDITED]
    who = {name: id_ for id_, name in rater_names(Store(server.data).database).items()}
    assert set(who) == {"Ann", "Bob"}
    rows = _exported(server)
    assert Counter(row["rater"] for row in rows) == {who["Ann"]: TASKS, who["Bob"]: TASKS}
    assert EDITED in str(rows)

    # What the page says of both, and after one has gone.
    page = bob.room.page
    page.get_by_role("tab", name="Insights").click()
    figures = page.locator("#insights")
    both = _clear(ann, bob)
    figures.get_by_text(_in_words(both)).wait_for()
    chosen = [*ann.chosen, *bob.chosen]
    assert (
        f"Besides: {chosen.count('tie')} ties, {chosen.count('both_bad')} times both were bad" in figures.inner_text()
    )
    figures.get_by_text("over 2 raters (cluster bootstrap)").wait_for()
    text = figures.inner_text()
    assert f"100% of {2 * (TASKS - ITEMS)}" in text.split("(self-agreement)")[1][:80], (
        "both chose the same on every repeat"
    )
    assert f"on {ITEMS} items" in text

    you = ann.room
    you.unfold("label-you")
    you.plumb.write("label-confirm", "DELETE")
    you.page.locator("#label-delete").click()
    you.page.locator("#label-agree").wait_for()
    assert f"{TASKS} labels" in you.page.locator("#label-you-status").inner_text()
    page.locator("#insights-again").click()
    figures.get_by_text(_in_words(_clear(bob))).wait_for()
    assert f"Besides: {bob.chosen.count('tie')} ties, 0 times both were bad" in figures.inner_text()

    # Taken along from the tab Data, with its card, and opened by the library that people would open it with.
    page.get_by_role("tab", name="Data").click()
    page.get_by_role("button", name="Take the choices along").click()
    page.locator("#export").click()
    page.locator("#export-result").get_by_text(f"Ready: {_clear(bob).total()} rows").wait_for()
    with page.expect_download() as got:
        page.locator("#export-file a").first.click()
    got.value.save_as(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        archive.extractall(tmp_path / "preference")
    pairs = datasets.load_dataset(str(tmp_path / "preference"), split="train", cache_dir=str(tmp_path / "cache"))
    assert Counter(pairs["rater"]) == {who["Bob"]: _clear(bob).total()}
    assert sum(row[-1]["content"].startswith("Arr") for row in pairs["chosen"]) == _clear(bob)[ALIGNED]
    assert set(pairs["study"]) == {"Thirty"}
    rows = _exported(server)
    assert Counter(row["rater"] for row in rows) == {who["Bob"]: TASKS}
    told = " ".join(
        [str(rows), *((tmp_path / "preference" / name).read_text() for name in ("preference.jsonl", "README.md"))]
    )
    for gone in (who["Ann"], EDITED):
        assert gone not in told
    assert "Traceback" not in server.printed, server.printed[-3000:]
    for person in (ann, bob):
        assert person.room.plumb.failures == []
