"""The owner's console in a real browser: nothing of it before the address asks for it, what it tells, a ban and its end, on a phone."""

from app.label import rater_of
from storage.store import Store
from tests.browser.conftest import Server
from tests.rounds import add_choice

HOSTILE = "<img src=x onerror=window.hacked=1>"
MALLORY = rater_of("mallory")


def test_the_console_opens_for_the_owner_and_a_ban_takes_votes_away_until_it_is_lifted(shared: Server, open_page):
    store = Store(shared.data)
    before = store.count_decisive()
    for number in range(3):
        add_choice(store, number, "console", rater=MALLORY)
    with store.database.write() as db:
        db["raters"].insert(
            {"id": MALLORY, "name": HOSTILE, "kind": "browser", "consent_version": "1", "consented": "1"}
        )
    visitor = open_page(shared.url)
    visitor.settle()
    assert visitor.page.get_by_role("tab", name="Owner").count() == 0

    plumb = open_page(f"{shared.url}?owner", color_scheme="dark")
    page = plumb.page
    page.get_by_role("tab", name="Owner").click()
    page.locator("#owner-gauges .pl-gauges").wait_for()  # without a token everybody is the owner of their own machine
    page.set_viewport_size({"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.get_by_role("button", name="People and bans").click()
    row = page.locator("#owner-people tr", has_text=MALLORY[:12])
    row.get_by_text(HOSTILE).wait_for()
    plumb.write("owner-rater", MALLORY[:8])
    plumb.write("owner-reason", "turned choices round")
    page.locator("#owner-ban").click()
    row.get_by_text("banned: turned choices round").wait_for()
    assert store.count_decisive() == before
    page.locator("#owner-lift").click()
    row.get_by_text("banned").wait_for(state="detached")
    assert store.count_decisive() == before + 3
    assert plumb.failures == [] and page.evaluate("window.hacked") is None
