"""The first visit: understand, compare, vote, learn and share in under 25 actions, on a desk and on a phone; nothing shrinks while text streams."""

from app.decoding.arms import ARM_NAMES
from app.refresh.pairs import FEWEST_PAIRS
from app.ui.render import ARM_EXPLANATIONS
from storage.store import Store
from tests.browser.conftest import Server
from tests.browser.visitor import Visitor

MOST_ACTIONS = 24
CLIPBOARD = ["clipboard-read", "clipboard-write"]
# Of the panes while something is being written, as the page shows it; the caret stands in them then.
WATCH_HEIGHT = """() => {
  window.heights = [];
  const panes = document.querySelector('#panes');
  const note = () => panes.querySelector('.pl-caret') && window.heights.push(Math.round(panes.getBoundingClientRect().height));
  new MutationObserver(note).observe(panes, {childList: true, subtree: true, characterData: true});
}"""


def test_a_first_visitor_understands_compares_votes_learns_and_shares(server: Server, open_page) -> None:
    desk = open_page(server.url, permissions=CLIPBOARD)
    seen = _visited(desk, server, taps=False)
    heights = desk.page.evaluate("window.heights")
    assert len(heights) > 3 and heights == sorted(heights)

    # The choices of the first one count for the next.
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True}
    pocket = open_page(server.url, permissions=CLIPBOARD, **phone)
    assert _visited(pocket, server, taps=True) < seen
    assert pocket.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert desk.failures == pocket.failures == []


def _visited(page, server: Server, taps: bool) -> int:
    """Walks the whole way and returns how many actions it took."""
    visitor, store = Visitor(page, taps), Store(server.data)

    # Understand: an example stands there answered, each pane says what it is, and a word why it was chosen.
    assert all(text.strip() for text in page.texts())
    assert page.panes.locator(".pl-what").all_inner_texts() == [ARM_EXPLANATIONS[arm] for arm in ARM_NAMES]
    assert "likelier" in visitor.ask_about_a_word()

    compared = 0
    while compared == 0 or store.count_decisive() < FEWEST_PAIRS:
        page.page.evaluate(WATCH_HEIGHT)
        visitor.try_example(compared % 3)
        compared += 1
        assert compared <= FEWEST_PAIRS + 2
        assert "Aligned" in visitor.vote("second")

    assert "choices learnt" in visitor.learn()
    link = visitor.share()
    round_ = store.round(link.split("?r=")[1])
    assert round_.answers["linear_aligned"].text in page.texts()
    assert visitor.actions <= MOST_ACTIONS
    return visitor.actions
