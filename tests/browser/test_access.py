"""WCAG 2.2 AA: axe on all tabs, light and dark; the way from a persona to a vote by keys alone; what a screen reader is told; no motion."""

from axe_playwright_python.sync_playwright import Axe

from storage.store import Store
from tests.browser.conftest import Server

RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]},
    "resultTypes": ["violations"],
}
TABS = ["Compare", "Learn", "Label", "Insights", "Data"]
FOLDED = ["library", "mix", "keep", "sweep-section", "my-rounds"]
LONGEST_WAY = 80  # presses of Tab from one end of the page to the other
IDENTITY = """() => {
  const at = document.activeElement;
  return at.id || at.dataset.persona || at.closest('[id]:not([id^=component])')?.id || at.tagName;
}"""


def _found(page) -> list[tuple]:
    """What axe finds on the page as it is; it has to have looked at something."""
    response = Axe().run(page.page, options=RULES).response
    assert len(response["passes"]) > 10, [rule["id"] for rule in response["passes"]]
    return [
        (rule["impact"], rule["id"], [(node["target"], node["html"][:120]) for node in rule["nodes"]])
        for rule in response["violations"]
        if rule["impact"] in ("serious", "critical")
    ]


def _unfold(page, *ids: str) -> None:
    for id_ in ids:
        page.page.locator(f"#{id_} button.label-wrap").click()
    page.settle()


def _tab_to(page, *wanted: str) -> None:
    """Presses Tab until the focus is on one of these, and sees that it shows."""
    passed = []
    for _ in range(LONGEST_WAY):
        page.page.keyboard.press("Tab")
        passed.append(page.page.evaluate(IDENTITY))
        if passed[-1] in wanted:
            ring = "const s = getComputedStyle(document.activeElement), a = getComputedStyle(document.activeElement, '::after');"
            shown = "[s.outlineStyle !== 'none', s.boxShadow !== 'none', a.outlineStyle !== 'none'].some(Boolean)"
            assert page.page.evaluate(f"() => {{ {ring} return {shown}; }}"), f"the focus on {wanted} cannot be seen"
            return
    raise AssertionError(f"Tab leads to {passed}, never to {wanted}")


def test_axe_finds_nothing_serious_on_any_tab_in_light_and_dark(shared: Server, open_page) -> None:
    for theme in ("light", "dark"):
        page = open_page(f"{shared.url}?__theme={theme}")
        page.page.evaluate(
            "document.body.append(Object.assign(document.createElement('img'), {id: 'planted', src: 'data:,'}))"
        )
        assert [(rule, len(nodes)) for _, rule, nodes in _found(page)] == [("image-alt", 1)]
        page.page.evaluate("document.getElementById('planted').remove()")
        _unfold(page, *FOLDED)
        page.page.locator("#library-cards .pl-persona").first.wait_for()
        for number, name in enumerate(TABS):
            page.tab(number)
            page.settle()
            assert page.page.get_by_role("tab", selected=True).inner_text() == name
            assert _found(page) == [], f"{name}, {theme}"


def test_by_keys_alone_from_a_persona_to_a_vote_and_a_persona_of_ones_own(shared: Server, open_page) -> None:
    page = open_page(shared.url, reduced_motion="reduce")
    keys = page.page.keyboard
    page.page.locator(".pl-tried").last.focus()
    keys.press("Tab")
    keys.press("Enter")  # unfolds the library, which comes next
    page.page.locator("#library-cards .pl-persona").first.wait_for()
    _tab_to(page, "library-words")
    keys.type("zen")
    page.page.wait_for_function(
        "document.querySelectorAll('#library-cards [data-persona]')[0]?.dataset.persona === 'zen'"
    )
    page.settle()
    _tab_to(page, "zen")
    keys.press("Enter")
    page.page.wait_for_function("document.activeElement.id === 'compare'")
    page.settle()
    assert (page.value("principle"), page.value("persona")) == ("a zen monk", "The Zen Monk")
    assert not page.page.locator("#library-cards").is_visible()

    # Compare and vote; what is said aloud is one line, and the panes say nothing by themselves.
    page.page.evaluate("""() => {
        window.told = [];
        const note = () => {
            const line = document.querySelector('#status [role=status]')?.textContent;
            if (line && window.told.at(-1) !== line) window.told.push(line);
        };
        new MutationObserver(note).observe(document.querySelector('#status'), {childList: true, subtree: true, characterData: true});
    }""")
    keys.press("Enter")
    page.page.wait_for_function("!document.querySelector('#vote-second').disabled")
    assert page.page.locator("#panes").locator("[aria-live], [role=status], [role=log], [role=alert]").count() == 0
    assert page.page.locator("#status [role=status]").count() == 1
    assert 2 <= len(page.page.evaluate("window.told")) <= 4, page.page.evaluate("window.told")
    assert _found(page) == []
    _tab_to(page, "vote-second")
    keys.press("Enter")
    page.page.wait_for_function("/You preferred/.test(document.querySelector('#status').innerText)")

    # Nothing moves for those who asked for that.
    still = "[...document.querySelectorAll('#compare, .pl-persona, [role=tab]')].map(e => getComputedStyle(e).transitionDuration)"
    assert set(page.page.evaluate(still)) == {"0s"}

    # A persona of one's own: a mix, kept under a name, seen by nobody else, read by its link.
    _unfold(page, "mix", "keep")
    page.write("mix-1", "Be kind.")
    page.page.wait_for_function("document.querySelectorAll('#preview li').length === 2")
    page.write("persona-name", "Kind Monk")
    page.page.locator("#save-persona").focus()
    keys.press("Enter")
    page.page.locator("#persona-kept [data-copy]").wait_for()
    address = page.page.locator("#persona-kept [data-copy]").get_attribute("data-copy")
    (saved,) = [p for p in Store(shared.data).personas() if p.name == "Kind Monk"]
    assert address == f"?persona={saved.link}" and [one["text"] for one in saved.mix] == ["Be kind."]
    assert page.value("persona") == "Kind Monk"

    friend = open_page(f"{shared.url}{address}")
    friend.page.wait_for_function("document.querySelector('#principle textarea').value === 'a zen monk'")
    friend.page.wait_for_function("document.querySelectorAll('#preview li').length === 2")
    friend.page.locator("#persona input").click()
    friend.page.get_by_role("option").first.wait_for()
    names = friend.page.get_by_role("option").evaluate_all("all => all.map(e => e.getAttribute('aria-label'))")
    assert "Kind Monk" not in names and "The Zen Monk" in names
    friend.page.keyboard.press("Escape")
    _unfold(friend, "keep")
    assert friend.page.locator("#delete-persona").is_disabled()

    page.page.locator("#delete-persona").focus()
    keys.press("Enter")
    page.page.wait_for_function("document.querySelector('#delete-persona').disabled")
    assert [p for p in Store(shared.data).personas() if p.name == "Kind Monk"] == []
    assert page.value("principle") == "a zen monk"
    assert page.failures == friend.failures == []
