"""Somebody who opens the page for the first time: every press, tap and key stroke of theirs is counted."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.browser.conftest import PATIENCE_MS

if TYPE_CHECKING:
    from tests.browser.pages import Plumb

TOKEN = "#panes .pl-linear_aligned [data-told] .pl-t[data-s='4']"


class Visitor:
    """Acts on an open page; opening it was the first action.

    Args:
        page: just opened.
        taps: on a phone there is nothing to point with.
    """

    def __init__(self, page: Plumb, taps: bool):
        self.page, self.actions, self._taps = page, 1, taps

    def press(self, selector: str) -> None:
        """Presses what a selector finds first."""
        self.actions += 1
        target = self.page.page.locator(selector).first
        if self._taps:
            target.tap()
        else:
            target.click()

    def ask_about_a_word(self) -> str:
        """Points at a strongly coloured word, or taps it, and returns what it says of itself."""
        self.actions += 1
        token = self.page.page.locator(TOKEN).first
        if self._taps:
            token.tap()
        else:
            token.hover()
        self.page.page.locator("#pl-token").wait_for()
        return self.page.page.locator("#pl-token").inner_text()

    def try_example(self, number: int) -> None:
        """Presses an example card and reads until a choice is possible."""
        self.press(f".pl-tried >> nth={number}")
        self.page.page.wait_for_function("!document.querySelector('#vote-second').disabled")

    def vote(self, choice: str) -> str:
        """Chooses and returns what the page says to it."""
        self.press(f"#vote-{choice}")
        self.page.page.wait_for_function("/You preferred|Noted/.test(document.querySelector('#status').innerText)")
        return self.page.status

    def learn(self) -> str:
        """Opens the tab Learn, presses its button, and returns what came of it."""
        self.press("[role=tab] >> nth=1")
        self.press("#learn")
        self.page.page.wait_for_function(
            "document.querySelector('#learn-result table') && !document.querySelector('#learn').disabled",
            timeout=3 * PATIENCE_MS,
        )
        return self.page.page.locator("#learn-result").inner_text()

    def share(self) -> str:
        """Goes back to the answers, copies the round's link and returns it."""
        self.press("[role=tab] >> nth=0")
        self.press("#links [data-copy^='?r=']")
        self.page.page.wait_for_function("navigator.clipboard.readText().then(text => text.includes('?r='))")
        button = self.page.page.locator("#links [data-copy^='?r=']")
        button.filter(has_text="Copied").wait_for()
        button.dispatch_event("blur")
        assert button.inner_text() == "Copy link to this round"
        return self.page.page.evaluate("navigator.clipboard.readText()")
