"""The tab Insights in a real browser: figures at once, the slow ones by themselves, filters, hostile names, a dark phone, and nothing from outside."""

from tests.browser.conftest import Server

HOSTILE = "<img src=x onerror=window.hacked=1>"


def fill(server: Server) -> None:
    """40 votes on pirates, 26 for the aligned answer, by four raters one of whom chose a name; 5 on tea."""
    from storage.store import Store
    from tests.rounds import add_choice

    store = Store(server.data)
    for number in range(40):
        add_choice(store, number, "pirate", "first" if number < 26 else "second", f"rater{number % 4}")
    for number in range(5):
        add_choice(store, number, "tea", "first")
    with store.database.write() as db:
        db["raters"].insert(
            {"id": "rater0", "name": HOSTILE, "kind": "browser", "consent_version": "1", "consented": "1"}
        )


def test_figures_come_by_themselves_and_follow_the_filters(server: Server, open_page):
    fill(server)
    plumb = open_page(server.url, viewport={"width": 390, "height": 800}, color_scheme="dark")
    page = plumb.page
    page.get_by_role("tab", name="Insights").click()
    figures = page.locator("#insights")
    figures.get_by_text("preferred to the plain answer in 69% of 45 clear choices").wait_for()
    figures.get_by_text("Who is strongest?").wait_for()  # without a click: the page asks until it is computed
    figures.get_by_text("over 5 raters (cluster bootstrap)").wait_for()
    figures.get_by_text("By rater").click()
    assert figures.get_by_text(HOSTILE).is_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390

    plumb.choose("insights-persona", "tea")
    figures.get_by_text("Too early to say").wait_for()
    assert "778 more to find 55%, 189 more to find 60%, 42 more to find 70%" in figures.inner_text()
    assert plumb.failures == [] and page.evaluate("window.hacked") is None
    assert all(url.startswith((server.url, "data:", "blob:")) for url in plumb.requests)
    assert "Traceback" not in server.printed, server.printed[-3000:]
