"""The script that takes the README's pictures: every width and theme is in them, and what was not reached is no picture."""

import pytest
from PIL import ImageStat

from tests.browser.conftest import Server
from tests.screenshots import EMPTY, ERROR, THEMES, WIDTHS, NotReachedError, montage, pictures


def test_a_state_is_pictured_at_every_width_in_both_themes_or_refused(shared: Server, open_page) -> None:
    page = open_page(shared.url, reduced_motion="reduce")
    page.settle()
    rows = pictures(page, EMPTY)
    assert [[one.width for one in row] for row in rows] == [list(WIDTHS)] * len(THEMES)
    assert len({one.height for row in rows for one in row}) == 1
    for light, dark in zip(*rows, strict=True):
        assert ImageStat.Stat(light.convert("L")).mean[0] > 2 * ImageStat.Stat(dark.convert("L")).mean[0]
    sheet = montage(rows)
    assert sheet.width > sheet.height > 0

    with pytest.raises(NotReachedError, match="error: on the page this does not hold"):
        pictures(page, ERROR)
    wide = "Object.assign(document.createElement('div'), {style: 'position: absolute; top: 0; left: 0; width: 2000px; height: 1px'})"
    page.page.evaluate(f"document.body.append({wide})")
    with pytest.raises(NotReachedError, match="empty: the page is 2000 px wide in a window of 1440"):
        pictures(page, EMPTY)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_keeps_its_width_whatever_is_written_in_the_panes(shared: Server, open_page, width: int) -> None:
    page = open_page(shared.url, viewport={"width": width, "height": 900})
    widths = "[...document.querySelectorAll('main, #panes, #panes section')].map(e => e.getBoundingClientRect().width)"
    full = page.page.evaluate(widths)
    page.page.evaluate("document.querySelectorAll('#panes .pl-text').forEach(e => e.textContent = 'A')")
    page.page.evaluate("document.querySelectorAll('#panes .pl-spark').forEach(e => e.remove())")
    page.page.evaluate("document.querySelector('#status').textContent = 'Writing'")
    assert page.page.evaluate(widths) == full
