"""The product as people use it, in a real browser: the whole loop, two people at once, hostile texts, Stop, and a phone."""

from itertools import pairwise

import pytest

from app.decoding.arms import ARM_NAMES
from storage.store import Store
from tests.browser.conftest import PATIENCE_MS, Server
from tests.browser.pages import held_while_writing

PROMPTS = [
    "How do I pack a suitcase?",
    "How do I make good coffee?",
    "Why is the sky blue?",
    "How do I save money?",
    "What should I have for breakfast?",
    "How do I learn to swim?",
    "How do I keep a cat happy?",
    "Why do leaves fall in autumn?",
    "How do I sleep better?",
    "How do I clean a window?",
]
CLEAR_CHOICES = 8
HOSTILE = "<img src=x onerror=window.hacked=1> ${7*7} {{7*7}} <script>window.hacked=2</script>"
WATCH_PANES = """() => {
  window.seen = [];
  const note = () => window.seen.push([...document.querySelectorAll('#panes .pl-text')].map(e => e.textContent.length));
  window.watcher = new MutationObserver(note);
  window.watcher.observe(document.querySelector('#panes'), {childList: true, subtree: true, characterData: true});
}"""


def _rounds(server: Server) -> list:
    """Every stored round, oldest first."""
    store = Store(server.data)
    with store.database.open() as db:
        ids = [row["id"] for row in db["rounds"].rows_where(order_by="rowid")]
    return [store.round(id_) for id_ in ids]


def _vote_for_aligned(page, server: Server) -> str:
    """Votes for the aligned side, so that the choices are of one mind; the page does not know it, the database does."""
    round_ = _rounds(server)[-1]
    return page.vote("first" if round_.first_arm == "linear_aligned" else "second")


def _no_traceback(page, server: Server) -> None:
    assert "Traceback" not in server.printed, server.printed[-4000:]
    assert "Traceback" not in page.page.locator("body").inner_text()
    assert page.failures == []


def test_the_whole_loop(server: Server, open_page) -> None:
    page = open_page(server.url)
    page.shorten()
    page.choose_persona("The Bard")
    bard = page.value("principle")

    # Three panes stream and end.
    page.page.evaluate(WATCH_PANES)
    page.compare(PROMPTS[0])
    assert page.panes.count() == 3
    assert all(text.strip() for text in page.texts())
    assert page.page.locator("#panes .pl-caret").count() == 0
    growing = {tuple(lengths) for lengths in page.page.evaluate("window.seen")}
    assert len(growing) > 3, f"the panes did not stream, they changed {len(growing)} times"
    assert page.page.evaluate("window.watcher.disconnect()") is None
    stored = _rounds(server)[-1]
    assert page.texts() == [stored.answers[arm].text for arm in ARM_NAMES]
    assert (stored.persona, stored.principles[0]["text"]) == ("bard", f"Answer as {bard}.")
    assert "linear_aligned" in _vote_for_aligned(page, server)

    # Blind: nothing that the browser holds or was sent tells the arms apart before the vote.
    page.set_blind(True)
    clear, prompts, asked = 1, {PROMPTS[0]}, 1
    while clear < CLEAR_CHOICES:
        assert asked < 3 * CLEAR_CHOICES, f"only {clear} clear choices came of {asked} comparisons"
        prompt = PROMPTS[asked % len(PROMPTS)]
        page.write("prompt", prompt)
        page.forget_received()
        page.compare(prompt)
        markup, received = page.markup(), page.received()
        assert page.panes.count() == 2
        assert "process_completed" in received, "the stream of the queue was not seen, so it was not examined"
        for arm in ARM_NAMES:
            assert arm not in markup, f"{arm} stands in the page before the vote"
            assert arm not in received, f"{arm} was sent before the vote"
        round_ = _rounds(server)[-1]
        assert round_.blind
        assert page.texts() == [round_.answers[arm].text for arm in (round_.first_arm, round_.second_arm)]
        line = _vote_for_aligned(page, server)
        assert "linear_aligned" in line
        assert "linear_aligned" in page.page.locator("#panes").inner_html()
        assert "linear_aligned" in page.received(), "what was examined does not hold what is sent after the vote"
        asked += 1
        if len({answer.text for answer in round_.answers.values()}) == 2:
            clear, prompts = clear + 1, prompts | {prompt}
    assert len(prompts) >= 5

    # Learn.
    page.tab(1)
    page.page.locator("#learn").click()
    page.page.locator("#learn-result [role=progressbar]").wait_for()
    page.page.wait_for_function("!document.querySelector('#learn').disabled", timeout=3 * PATIENCE_MS)
    table = page.page.locator("#learn-result table").first
    rows = table.locator("tr").evaluate_all("all => all.slice(1).map(r => [...r.cells].map(c => c.textContent))")
    assert len(rows) == 2, rows
    for _, share, interval, n in rows:
        assert share.endswith("%")
        assert interval.count("%") == 2
        assert int(n) >= 1
    assert "v1" in page.page.locator("#versions").inner_text()
    version = Store(server.data).version("v1")
    assert version.pairs_train + version.pairs_heldout == clear
    if not version.published:
        page.choose("use-version", "v1")
        page.page.locator("#use").click()
        page.page.wait_for_function("document.querySelector('#versions').textContent.includes('v1 (in use for ')")
    assert Store(server.data).published("bard") == "v1"

    # The next comparison is written by what was learnt.
    page.tab(0)
    page.set_blind(False)
    page.compare(PROMPTS[-1])
    assert "v1" in page.status
    assert _rounds(server)[-1].adapter == "v1"
    _no_traceback(page, server)

    # Killed without warning and started again: nothing is lost.
    votes = len(Store(server.data).votes())
    server.kill()
    server.start()
    again = open_page(server.url)
    again.shorten()
    again.choose_persona("The Bard")
    again.compare(PROMPTS[1])
    assert "v1" in again.status
    assert _rounds(server)[-1].adapter == "v1"
    assert len(Store(server.data).votes()) == votes == asked
    again.tab(1)
    again.page.wait_for_function("document.querySelector('#versions').textContent.includes('v1')")
    assert "v1" in again.page.locator("#versions").inner_text()
    # What the choices teach comes by a call of its own.
    counted = f"/^\\s*{clear} clear choice/.test(document.querySelector('#pair-count').textContent)"
    again.page.wait_for_function(counted)
    _no_traceback(again, server)


def test_two_people_at_once_see_their_own(shared: Server, open_page) -> None:
    asked = [("The Bard", PROMPTS[1]), ("The Robot", PROMPTS[2])]
    pages = [open_page(shared.url) for _ in asked]
    for page, (persona, prompt) in zip(pages, asked, strict=True):
        page.shorten()
        page.choose_persona(persona)
        page.write("prompt", prompt)
    for page in pages:
        page.start_comparing()
    for page in pages:
        page.wait_until_votable()
    rounds = {round_.messages[-1]["content"]: round_ for round_ in _rounds(shared)[-2:]}
    assert len(rounds) == len({round_.rater for round_ in rounds.values()}) == 2
    for page, (persona, prompt) in zip(pages, asked, strict=True):
        round_ = rounds[prompt]
        assert page.texts() == [round_.answers[arm].text for arm in ARM_NAMES]
        assert round_.persona == persona.removeprefix("The ").lower()
        assert page.value("prompt") == prompt
    for page, choice in zip(pages, ("first", "second"), strict=True):
        page.vote(choice)
    choices = {round_.messages[-1]["content"]: vote.choice for vote, round_ in Store(shared.data).votes()[-2:]}
    assert choices == {PROMPTS[1]: "first", PROMPTS[2]: "second"}
    for page in pages:
        _no_traceback(page, shared)


def test_hostile_texts_are_shown_as_text(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    page.choose("persona", "Write my own")
    page.write("principle", HOSTILE)
    page.page.wait_for_function("text => document.body.innerText.includes(text)", arg=HOSTILE)  # the preview
    page.shorten()
    names = ["A <img src=x onerror=window.hacked=1>", "B ${7*7} {{7*7}}", "C <script>window.hacked=2</script>"]
    for name in names:
        assert "is saved" in page.keep(name)
        assert page.value("persona") == name
    page.compare(HOSTILE)
    page.vote("second")
    assert page.value("prompt") == HOSTILE
    # Everywhere else where a persona's name goes: both menus, after reloading, too.
    page.open()
    page.page.wait_for_function("window.joined > 1")
    page.settle()  # one's own personas come once the page knows whose they are
    page.choose("persona", names[0])
    page.page.wait_for_function("text => document.querySelector('#principle textarea').value === text", arg=HOSTILE)
    page.page.wait_for_function("text => document.body.innerText.includes(text)", arg=HOSTILE)
    page.tab(1)
    page.settle()  # a tab that opens asks for its menus anew
    for name in names:
        page.choose("scope", name)
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator("img[src='x']").count() == 0
    assert not any("49" in text for text in page.texts())
    for spot in ("#status", "#persona", "#scope"):
        assert "49" not in page.page.locator(spot).evaluate("e => e.textContent")
    assert _rounds(shared)[-1].messages[-1]["content"] == HOSTILE
    _no_traceback(page, shared)


def test_prompts_in_the_table_of_samples_are_text(shared: Server, open_page) -> None:
    """Learning shows prompts again, beside what the model said."""
    page = open_page(shared.url)
    page.shorten()
    for number in range(6):
        page.compare(f"{HOSTILE} {PROMPTS[number]}")
        _vote_for_aligned(page, shared)
    page.tab(1)
    page.page.locator("#learn").click()
    page.page.locator("#learn-result table").last.wait_for(timeout=3 * PATIENCE_MS)
    page.page.wait_for_function("!document.querySelector('#learn').disabled")
    assert HOSTILE in page.page.locator("#learn-result").inner_text()
    assert page.page.evaluate("window.hacked") is None
    assert page.page.locator("img[src='x']").count() == 0
    _no_traceback(page, shared)


def test_errors_are_sentences_in_the_status_line(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    page.shorten()

    page.write("prompt", "   ")
    assert "empty" in page.refuse("compare")
    page.wait_until_ended()

    page.compare(PROMPTS[0])  # nothing is stuck after an error
    page.page.locator("#principle textarea").evaluate("e => e.removeAttribute('maxlength')")
    page.write("principle", "be kind " * 400)
    line = page.refuse("compare")
    assert "2000" in line
    assert "shorten" in line
    page.wait_until_ended()
    assert page.page.locator("#vote-first").is_disabled()

    page.write("principle", "Be kind.")
    line = page.keep("Pirate")
    assert "belongs to a persona of the library" in line
    assert line.endswith(".")
    assert page.page.locator("#persona-result .pl-error").count() == 1
    assert "is saved" in page.keep("Grumpy uncle")
    other = open_page(shared.url)
    assert "is saved" in other.keep("Grumpy uncle")  # each has one of their own
    _no_traceback(page, shared)
    _no_traceback(other, shared)


def test_stop_ends_a_long_answer(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    page.show_settings()
    page.set_number("400", "400")
    page.set_number("2", "0")
    page.write("prompt", "Tell me everything about the sea, slowly and at great length.")
    page.start_comparing()
    can_stop = "document.querySelector('#panes .pl-caret') && !document.querySelector('#stop').disabled"
    # The model may be through with it before a hand is at the button.
    with held_while_writing(page, shared, can_stop) as writing:
        assert writing, "the answer was through before the page showed a word of it"
        page.page.locator("#stop").click()
    page.wait_until_ended()
    assert page.page.locator("#panes .pl-caret").count() == 0
    assert page.page.locator("#stop").is_disabled()
    stored = _rounds(shared)[-1]
    assert stored.settings["max_new_tokens"] == 400
    assert stored.settings["temperature"] == 0
    assert "cancelled" in {answer.finish_reason for answer in stored.answers.values()}
    assert page.texts() == [stored.answers[arm].text for arm in ARM_NAMES]
    votable = page.page.locator("#vote-first").is_enabled()
    assert votable or page.status != "Writing …"
    page.shorten()
    page.compare(PROMPTS[0])  # the model is free again
    assert all(text.strip() for text in page.texts())
    _no_traceback(page, shared)


def test_pasted_text_reaches_the_preview(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    page.page.locator("#principle textarea").click()
    page.page.keyboard.press("Control+A")
    page.page.keyboard.insert_text("a pasted lighthouse keeper")  # as a paste does: one input event, no keys
    page.page.wait_for_function(
        "document.querySelector('.pl-preview').textContent.includes('a pasted lighthouse keeper')"
    )


def test_the_seed_is_drawn_anew_also_with_open_settings(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    page.shorten()
    for _ in range(2):
        page.compare(PROMPTS[0])
    first, second = _rounds(shared)[-2:]
    assert first.settings["seed"] != second.settings["seed"]


@pytest.mark.parametrize("scheme", ["dark", "light"])
def test_a_phone(shared: Server, open_page, scheme: str) -> None:
    page = open_page(f"{shared.url}?__theme={scheme}", viewport={"width": 390, "height": 844}, has_touch=True)
    fits = "document.scrollingElement.scrollWidth <= window.innerWidth"
    assert page.page.evaluate(fits)
    assert page.page.evaluate("document.body.classList.contains('dark')") is (scheme == "dark")
    page.shorten()
    assert page.page.evaluate(fits)
    page.write("prompt", "Say this: " + "a" * 300)  # a word that cannot be broken
    page.compare("Say this: " + "a" * 300)
    assert page.page.evaluate(fits)
    boxes = [page.panes.nth(number).bounding_box() for number in range(3)]
    assert all(page.panes.nth(number).is_visible() for number in range(3))
    for upper, lower in pairwise(boxes):
        assert lower["y"] >= upper["y"] + upper["height"]
    for box in boxes:
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= 390
        assert box["width"] > 250
    page.vote("first")
    assert page.page.evaluate(fits)
    page.tab(1)
    page.page.locator("#learn").wait_for()
    page.settle()  # the table of versions, which an earlier test has filled
    assert page.page.evaluate(fits)
    elsewhere = [url for url in page.requests if not url.startswith((shared.url, "data:", "blob:"))]
    assert elsewhere == []
    _no_traceback(page, shared)
