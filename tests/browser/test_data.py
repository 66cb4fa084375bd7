"""The tab *Data* in a real browser: rounds are looked through and opened, choices are taken along, and pairs are brought."""

import json
import zipfile
from pathlib import Path

from storage.imported import sources
from storage.records import Vote
from storage.store import Store
from tests.browser.conftest import Server
from tests.rounds import a_round

HOSTILE = "<img src=x onerror=window.hacked=1>"


def test_rounds_are_looked_through_taken_along_and_brought(server: Server, open_page, tmp_path: Path) -> None:
    store = Store(server.data)
    for number in range(23):
        store.add_round(a_round(f"r{number}", f"Question {number}? {HOSTILE}"))
        store.vote(Vote(f"r{number}", "ann", "first", "it sings" if number == 5 else ""))
    page = open_page(server.url).page
    page.get_by_role("tab", name="Data").click()
    rounds = page.locator("#data-rounds")
    rounds.get_by_text("23 rounds; page 1 of 2").wait_for()
    assert rounds.locator("tr").count() == 21 and "Question 22?" in rounds.inner_text()
    page.locator("#data-older").click()
    rounds.get_by_text("page 2 of 2").wait_for()
    assert rounds.locator("tr").count() == 4

    page.locator("#find input, #find textarea").first.fill("sings")
    page.locator("#data-show").click()
    rounds.get_by_text("1 round; page 1 of 1").wait_for()
    page.locator("#data-open input").click()
    page.get_by_role("option").first.click()
    opened = page.locator("#data-round")
    opened.get_by_text("What made it").wait_for()
    assert "it sings" in opened.inner_text() and HOSTILE in opened.inner_text()
    assert page.evaluate("window.hacked") is None

    page.get_by_role("button", name="Take the choices along").click()
    page.locator("#export").click()
    page.locator("#export-result").get_by_text("Ready: 23 rows").wait_for()
    with page.expect_download() as got:
        page.locator("#export-file a").first.click()
    got.value.save_as(tmp_path / "export.zip")
    with zipfile.ZipFile(tmp_path / "export.zip") as archive:
        assert len(archive.read("preference.jsonl").splitlines()) == 23

    pairs = tmp_path / "theirs.jsonl"
    pairs.write_text(json.dumps({"prompt": "Why?", "chosen": "Yes.", "rejected": "No."}) + "\n")
    page.get_by_role("button", name="Bring choices from elsewhere").click()
    page.locator("#import-file input[type=file]").set_input_files(pairs)
    page.locator("#import-file").get_by_text("theirs").first.wait_for()
    page.locator("#import").click()
    page.locator("#import-result").get_by_text("1 pair of theirs.jsonl brought").wait_for()
    assert [(source.source, source.pairs) for source in sources(store.database)] == [("theirs.jsonl", 1)]
    assert "Traceback" not in server.printed
