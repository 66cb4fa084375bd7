"""Links, downloads, history and conversations in a real browser, over a restart of the server."""

import json
from pathlib import Path

from storage.store import Store
from tests.browser.conftest import Server

PROMPT = "How do I make good coffee?"


def _rounds(server: Server) -> list:
    store = Store(server.data)
    with store.database.open() as db:
        ids = [row["id"] for row in db["rounds"].rows_where(order_by="rowid")]
    return [store.round(id_) for id_ in ids]


def test_a_round_is_shared_continued_and_still_there_after_a_restart(server: Server, open_page) -> None:
    page = open_page(server.url)
    page.shorten()
    page.compare(PROMPT)
    (first,) = _rounds(server)
    written = page.texts()
    with page.page.expect_download() as download:
        page.page.locator("#download-round").click()
    taken = json.loads(Path(download.value.path()).read_text())
    assert taken["id"] == first.id
    assert taken["answers"]["linear_aligned"]["text"] == first.answers["linear_aligned"].text
    assert first.rater not in json.dumps(taken)

    # The conversation goes on from what was picked.
    assert page.page.locator("#go-on").is_disabled()
    page.vote("second")
    page.page.locator("#go-on").click()
    page.page.locator("#talk dd").first.wait_for()
    assert page.page.locator("#talk dd").all_text_contents() == [PROMPT, first.answers["linear_aligned"].text]
    assert page.value("prompt") == ""
    page.compare("And without milk?")
    second = _rounds(server)[-1]
    assert [m["role"] for m in second.messages] == ["user", "assistant", "user"]
    assert second.messages[1]["content"] == first.answers["linear_aligned"].text

    # Again: the same question, another seed; then a new conversation.
    before = page.page.evaluate("window.joined")
    page.page.locator("#again").click()
    page.page.wait_for_function("before => window.joined > before", arg=before)
    page.wait_until_votable()
    third = _rounds(server)[-1]
    assert (third.messages, third.settings["seed"] == second.settings["seed"]) == (second.messages, False)
    page.page.locator("#fresh").click()
    page.page.wait_for_function("document.querySelector('#talk dd') === null")
    page.set_blind(True)
    page.compare(PROMPT)
    hidden = _rounds(server)[-1]
    assert len(hidden.messages) == 1
    assert page.page.locator("#download-round").count() == 0

    page.page.locator("#my-rounds button.label-wrap").click()
    page.page.locator("#history li").first.wait_for()
    assert page.page.locator("#history li").count() == 4
    links = page.page.locator("#history a").evaluate_all("all => all.map(a => a.getAttribute('href'))")
    assert links == [f"?r={round_.id}" for round_ in (third, second, first)]
    assert page.failures == []

    server.kill()
    server.start()
    other = open_page(f"{server.url}?r={first.id}")
    other.page.wait_for_function("document.querySelector('#status').textContent.includes('read only')")
    assert other.texts() == written
    assert other.value("prompt") == PROMPT
    assert other.page.locator("#vote-first").is_disabled()
    assert other.page.locator("#history li").count() == 0

    blind = open_page(f"{server.url}?r={hidden.id}")
    blind.page.locator("#status .pl-error").wait_for()
    assert "blind" in blind.status
    for answer in hidden.answers.values():
        assert answer.text not in blind.received()

    bard = open_page(f"{server.url}?persona=bard")
    bard.page.wait_for_function("document.querySelector('#persona input').value === 'The Bard'")
    assert bard.value("principle") == "a Shakespearean actor"
    nobody = open_page(f"{server.url}?persona=%3Cb%3Enobody")
    nobody.page.locator("#status .pl-error").wait_for()
    assert "<b>nobody" in nobody.status
    assert "Traceback" not in server.printed
