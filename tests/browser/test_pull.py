"""Seeing the pull in a real browser: the worked example, tokens under the pointer and under the keys, the two measures, and none where blind."""

from storage.store import Store
from tests.browser.conftest import Server

CARD = "#pl-token"
TOKENS = "#panes .pl-linear_aligned [data-told] .pl-t"


def _last_round(server: Server):
    store = Store(server.data)
    with store.database.open() as db:
        (newest,) = db["rounds"].rows_where(order_by="rowid desc", limit=1)
    return store.round(newest["id"])


def _asked_about(page) -> str:
    return page.page.locator(f"{CARD} strong").inner_text()


def _focused(page) -> str:
    return page.page.evaluate("document.activeElement.textContent")


def test_a_first_visitor_finds_an_example_and_asks_about_its_tokens(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    assert all(text.strip() for text in page.texts())
    assert page.page.locator("#vote-first").is_disabled()
    assert page.page.locator(f"{TOKENS}[tabindex='0']").count() == 1

    # By pointer.
    page.page.locator(f"{TOKENS}[data-s='4']").first.hover()
    page.page.locator(CARD).wait_for()
    assert page.page.locator(f"{CARD} h4").all_inner_texts() == ["Plain", "Asked", "Aligned"]
    assert page.page.locator(f"{CARD} ol").nth(0).locator("li").count() == 5
    assert "likelier" in page.page.locator(CARD).inner_text()
    page.page.keyboard.press("Escape")
    assert page.page.locator(CARD).is_hidden()

    # By keys: one stop for Tab, arrows within.
    tokens = page.page.locator(TOKENS)
    texts = tokens.all_text_contents()
    tokens.first.focus()
    assert page.page.locator(CARD).is_visible()
    page.page.keyboard.press("ArrowRight")
    page.page.keyboard.press("ArrowRight")
    assert _focused(page) == texts[2]
    page.page.keyboard.press("ArrowLeft")
    assert _focused(page) == texts[1]
    assert texts[1].strip() in _asked_about(page)
    described = page.page.evaluate("document.activeElement.getAttribute('aria-describedby')")
    assert described == "pl-token"
    page.page.keyboard.press("End")
    assert _focused(page) == texts[-1]
    assert page.page.locator(f"{TOKENS}[tabindex='0']").count() == 1
    page.page.keyboard.press("Escape")
    assert page.page.locator(CARD).is_hidden()
    assert _focused(page) == texts[-1]

    # The other measure, and none.
    line = tokens.nth(0)
    thickness = "e => getComputedStyle(e).textDecorationThickness + getComputedStyle(e).backgroundColor"
    by_level = {level: page.page.locator(f"{TOKENS}[data-s='{level}']").first.evaluate(thickness) for level in (0, 4)}
    assert by_level[0] != by_level[4]
    assert by_level[4].startswith("4px")
    page.page.locator("#pull input").nth(1).check()
    page.page.locator(".pl-legend[data-of=kl]").wait_for()
    assert page.page.locator(".pl-legend[data-of=shift]").is_hidden()
    page.page.locator("#pull input").nth(2).check()
    page.page.locator(".pl-legend[data-of=kl]").wait_for(state="hidden")
    assert line.evaluate("e => getComputedStyle(e).textDecorationLine") == "none"
    assert page.failures == []


def test_the_tokens_of_a_comparison_are_its_answer_and_stay_after_the_vote(shared: Server, open_page) -> None:
    page = open_page(shared.url, viewport={"width": 390, "height": 844}, has_touch=True)
    page.shorten()
    page.compare("Why is the sky blue?")
    stored = _last_round(shared).answers["linear_aligned"]
    assert page.page.locator("#panes .pl-linear_aligned .pl-text").evaluate("e => e.textContent") == stored.text
    assert page.page.locator("#panes .pl-t").count() == page.page.locator(TOKENS).count() > 0
    assert page.page.locator("#panes .pl-spark svg").get_attribute("aria-label").startswith("KL to Asked")
    page.page.locator(TOKENS).first.tap()
    page.page.locator(CARD).wait_for()
    box = page.page.locator(CARD).bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
    page.page.keyboard.press("Escape")
    page.vote("second")
    assert page.page.locator("#panes .pl-picked .pl-t").count() == page.page.locator(TOKENS).count() > 0

    # Switched off, nothing is traced; blind, nothing tells the arms apart.
    page.page.locator("#pull input").nth(2).check()
    page.compare("Why do leaves fall in autumn?")
    assert page.page.locator("#panes .pl-t").count() == 0
    page.page.locator("#pull input").nth(0).check()
    page.set_blind(True)
    page.compare("How do I save money?")
    assert page.panes.count() == 2
    for part in (".pl-t", ".pl-plumb", ".pl-spark", "[data-told]"):
        assert page.page.locator(f"#panes {part}").count() == 0
    assert page.failures == []


def test_a_sweep_shows_an_answer_at_every_strength(shared: Server, open_page) -> None:
    page = open_page(shared.url)
    page.shorten()
    page.page.locator("#sweep-section button.label-wrap").click()
    page.page.locator("#sweep").click()
    page.page.locator("#sweep-result svg").first.wait_for()
    rows = page.page.locator("#sweep-result table tr").evaluate_all(
        "all => all.slice(1).map(r => [...r.cells].map(c => c.textContent))"
    )
    assert [row[0] for row in rows] == ["0", "0.5", "1", "2", "3", "4", "5"]
    assert all(row[3].strip() for row in rows)
    page.page.wait_for_function("!document.querySelector('#sweep').disabled")
    assert page.failures == []
